"""A thousand trials in one sweep: none is lost, and neither the driver nor the workers swell."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from running import Place, opened, wait, write_images, write_space

import mnist_ray

TRIALS = 1000
DRIVER_BYTES_A_TRIAL = 100_000
WORKER_BYTES = 300_000_000
SPACE = {
    "name": "many",
    "dataset": "tiny.npz",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}},
    "trials": TRIALS,
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of a thousand trials, each over in an instant."""
    write_space(tmp_path / "many.yaml", SPACE)
    write_images(tmp_path / "tiny.npz", train=100, test=50)
    with opened(tmp_path) as place:
        yield place


def test_a_thousand_trials(place: Place) -> None:
    driver: dict[int, int] = {}
    workers: dict[int, dict[int, int]] = {}
    with place.start("many.yaml") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("["):
                done = int(line[1:].partition("/")[0])
                if done % 20 == 0:
                    driver[done] = resident(psutil.Process(process.pid))
                    workers[done] = worker_sizes(place)
            if line.startswith(f"[{TRIALS}/"):
                break
        ended = wait(process)
    assert ended.code == 0, ended
    trials = mnist_ray.load_trials(place.folder / "results" / "many")
    assert sorted(trials.trial) == list(range(TRIALS))
    assert set(trials.status) == {"finished"}
    # From the hundredth on: what is imported and set up once is no growth.
    last = max(driver)
    assert driver[last] - driver[100] <= DRIVER_BYTES_A_TRIAL * (last - 100)
    # Each of two workers has had its tenth trial when twenty are done.
    for process_id, size in workers[last].items():
        start = min(sizes[process_id] for sizes in workers.values() if process_id in sizes)
        assert size - start <= WORKER_BYTES
    assert len(list((place.folder / "results" / "many" / "ledger").glob("*.parquet"))) <= 200


def worker_sizes(place: Place) -> dict[int, int]:
    """Resident bytes of the workers that run trials, by process."""
    found = {}
    for process in place.processes():
        try:
            if ".train" in " ".join(process.cmdline()):
                found[process.pid] = resident(process)
        except psutil.Error:
            continue
    return found


def resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)
