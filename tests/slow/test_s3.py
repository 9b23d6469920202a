"""A whole sweep on object storage, which is out of reach for a while in the middle."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_storage import ObjectStorage
from running import Place, assert_same_figures, begin_of, opened, wait, write_images, write_space

SECONDS_AWAY = 20.0
SPACE = {
    "name": "small",
    "dataset": "small.npz",
    "architectures": {"feed_forward": {"hidden_units": [32]}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"epochs": 4},
    "trials": 8,
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of sixteen trials."""
    write_space(tmp_path / "small.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=1000, test=300)
    with opened(tmp_path) as place:
        yield place


def test_storage_out_of_reach_in_mid_sweep_costs_nothing(
    place: Place, object_storage: ObjectStorage
) -> None:
    uri = object_storage.uri("sweeps")
    with place.start("small.yaml", "--results", uri) as process:
        begin = begin_of(process, 4)  # the plan, and three trials
        object_storage.go_away(process, SECONDS_AWAY)
        ended = wait(process)
    assert ended.code == 0, ended
    assert ended.errors == ""
    shown = re.findall(r"^\[(\d+)/16\]", begin + ended.output, re.MULTILINE)
    assert [int(number) for number in shown] == list(range(1, 17))

    again = place.run("small.yaml", "--results", uri)
    assert again.code == 0, again
    assert "16 already recorded, 0 to run" in again.output

    undisturbed = place.run("small.yaml")
    assert undisturbed.code == 0, undisturbed
    on_storage = object_storage.uri("sweeps/small")
    assert_same_figures(on_storage, place.folder / "results" / "small")
    assert not (place.folder / "s3:").exists()
