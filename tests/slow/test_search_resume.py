"""A search that is killed in the middle, again and again, against one that is left alone."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pandas.testing import assert_frame_equal

sys.path.insert(0, str(Path(__file__).parent.parent))
from running import assert_same_figures, opened, records, wait, write_space

import mnist_ray

SPACE: dict[str, Any] = {
    "name": "resumed",
    "dataset": "digits",
    "architectures": {"feed_forward": {"hidden_units": [16], "dropout": {"uniform": [0, 0.5]}}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"epochs": 2, "learning_rate": {"loguniform": [1e-4, 1e-1]}},
    "race": True,
    "confirm": 3,
}
PATIENCE_SECONDS = 300.0


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_a_search_that_is_killed_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, algorithm: str
) -> None:
    search = {"algorithm": algorithm, "configurations": 6, "trials_each": 4}
    write_space(tmp_path / "resumed.yaml", {**SPACE, "search": search})
    alone, broken = tmp_path / "alone" / "resumed", tmp_path / "broken" / "resumed"
    with opened(tmp_path) as place:
        whole = place.run("resumed.yaml", "--results", "alone", "--max-concurrent", "1")
        assert whole.code == 0, whole
        for enough in (5, 15, 25):
            process = place.start("resumed.yaml", "--results", "broken")
            wait_for_records(broken, enough)
            process.kill()
            wait(process)
            before = records(broken)
        ended = place.run("resumed.yaml", "--results", "broken")
        assert ended.code == 0, ended
    after = records(broken)
    assert {name: after[name] for name in before} == before
    assert len(ended.recorded) <= len(whole.recorded) - 25
    assert_same_figures(broken, alone)
    times = ["mean_train_seconds"]
    assert_frame_equal(
        mnist_ray.load_report(broken).drop(columns=times),
        mnist_ray.load_report(alone).drop(columns=times),
        check_exact=True,
    )


def wait_for_records(folder: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(records(folder)) < count:
        assert time.monotonic() < deadline, f"{len(records(folder))} of {count} records"
        time.sleep(0.1)
