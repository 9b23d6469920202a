"""Ten thousand trials: what they cost driver, ledger and report is small and grows evenly."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from made_up import folder_at, made_up_sweep, made_up_test_set
from running import PROJECT, Place, opened, wait, write_space

import mnist_ray

REPORT_SECONDS = 30.0
REPORT_BYTES = 1_000_000_000
SWEPT = 5000
DRIVER_BYTES = 700_000_000
DRIVER_BYTES_A_TRIAL = 100_000

INSTANT = {
    "name": "instant",
    "dataset": "tiny.npz",
    "architectures": {"feed_forward": {"hidden_units": []}},
    "variants": {"centered": {}},
    "trials": SWEPT,
}
# Prints what the report cost: its processor time is the same on a machine that has more to do.
REPORT = """
import resource, sys
from mnist_ray.report import main
code = main(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
print("COST", usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
sys.exit(code)
"""


@pytest.fixture
def _careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made up need not survive a power loss."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.usefixtures("_careless")
def test_a_report_of_ten_thousand_trials_takes_half_a_minute_and_a_gigabyte(
    tmp_path: Path,
) -> None:
    folder = folder_at(tmp_path)
    made_up_sweep({"trials": 2500}, test_set=made_up_test_set(10_000, side=28)).write(folder)
    ended = subprocess.run(
        [sys.executable, "-c", REPORT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended
    cost = next(line for line in ended.stdout.splitlines() if line.startswith("COST"))
    seconds, peak = map(float, cost.split()[1:])
    assert seconds < REPORT_SECONDS
    assert peak < REPORT_BYTES
    assert list(mnist_ray.load_report(tmp_path).trials) == [2500] * 4


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of trials that are over in an instant."""
    write_space(tmp_path / "instant.yaml", INSTANT)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 4, 4), np.uint8), np.arange(64) % 4
    np.savez(tmp_path / "tiny.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with opened(tmp_path) as place:
        yield place


def test_the_driver_of_five_thousand_trials_stays_small_and_grows_evenly(place: Place) -> None:
    sizes: dict[int, int] = {}
    with place.start("instant.yaml") as process:
        assert process.stdout
        driver = psutil.Process(process.pid)
        for line in process.stdout:
            done = int(line[1:].partition("/")[0]) if line.startswith("[") else 0
            if done and done % (SWEPT // 4) == 0:
                sizes[done] = driver.memory_info().rss
            if done == SWEPT:
                break
        ended = wait(process)
    assert ended.code == 0, ended
    quarters = [sizes[SWEPT * quarter // 4] for quarter in (1, 2, 3, 4)]
    assert quarters[-1] < DRIVER_BYTES
    for before, after in itertools.pairwise(quarters):
        assert after - before <= DRIVER_BYTES_A_TRIAL * SWEPT / 4
    results = place.folder / "results" / "instant"
    assert sorted(mnist_ray.load_trials(results).trial) == list(range(SWEPT))
    # A file holds the records of half a second, not one alone.
    assert len(list((results / "ledger").glob("*.parquet"))) < SWEPT / 4
