"""What dies in mid-sweep (the driver, a worker, a machine) costs nothing that was finished."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from object_storage import ObjectStorage
from running import Ended, Place, assert_same_figures, begin_of, opened, records, wait, write_space

import mnist_ray

SPACE = {
    "name": "digits-small",
    "dataset": "digits",
    "architectures": {
        "feed_forward": {"hidden_units": [64]},
        "cnn": {"filters": [8, 8], "dense_units": 32},
    },
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"epochs": 3},
    "trials": 30,
}
TRIALS = 4 * 30
SEED = 20261122


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder with a search space of about a minute."""
    folder = tmp_path_factory.mktemp("work")
    write_space(folder / "space.yaml", SPACE)
    with opened(folder) as place:
        yield place


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Path:
    """A sweep that nothing happened to."""
    return finished(place, place.run("space.yaml", "--results", "undisturbed"), "undisturbed")


@pytest.fixture(autouse=True)
def _nothing_goes_on_running(place: Place) -> Iterator[None]:
    yield
    assert place.orphans() == []


class Watched:
    """A ledger that is looked at again and again: no record in it may ever change or go."""

    def __init__(self, place: Place, results: str) -> None:
        self._folder = place.folder / results / "digits-small"
        self._seen: dict[str, bytes] = {}

    def look(self) -> int:
        """The number of records; a trial that ran twice would have left another one."""
        now = records(self._folder)
        assert self._seen.items() <= now.items(), "a finished trial ran again, or was lost"
        self._seen = now
        return len(now)

    def follow(self, process: "subprocess.Popen[str]", seconds: float) -> bool:
        """Look for a while; whether the command is still running then."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            self.look()
            time.sleep(0.05)
        return process.poll() is None

    def follow_until(self, process: "subprocess.Popen[str]", count: int) -> None:
        """Look until so many trials are recorded."""
        while self.look() < count:
            assert self.follow(process, 0.1), wait(process)


def finished(place: Place, ended: Ended, results: str) -> Path:
    """The folder of a sweep, after checking that it is whole."""
    assert ended.code == 0, ended
    assert "Traceback" not in ended.errors
    folder = place.folder / results / "digits-small"
    assert len(records(folder)) == TRIALS
    return folder


def test_the_driver_killed_at_ten_random_moments(place: Place, undisturbed: Path) -> None:
    moments = random.Random(SEED)
    watched = Watched(place, "killed")
    survived = 0
    for _ in range(10):
        process = place.start("space.yaml", "--results", "killed")
        # Start-up takes most of ten seconds: some moments are in it, most are in the trials.
        if watched.follow(process, moments.uniform(1, 16)):
            process.send_signal(signal.SIGKILL)
            survived += 1
        wait(process)
        # Ray's agents, if they are just starting, wait a minute for the rest of Ray to answer.
        assert place.orphans(patience=120) == []
        watched.look()
    assert survived >= 5  # else it was too short for the test to mean anything
    folder = finished(place, place.run("space.yaml", "--results", "killed"), "killed")
    watched.look()
    assert_same_figures(folder, undisturbed)


def test_workers_killed_at_random(place: Place, undisturbed: Path) -> None:
    moments = random.Random(SEED)
    watched = Watched(place, "workers")
    process = place.start("space.yaml", "--results", "workers")
    watched.follow_until(process, 1)
    killed = 0
    while killed < 5 and watched.follow(process, moments.uniform(0.5, 3)):
        workers = [each for each in place.processes() if is_worker(each)]
        if workers:
            moments.choice(workers).kill()
            killed += 1
    assert killed >= 3
    ended = wait(process)
    assert_same_figures(finished(place, ended, "workers"), undisturbed)
    watched.look()
    assert len(ended.recorded) == TRIALS
    assert "process lost" in ended.output


def is_worker(process: psutil.Process) -> bool:
    try:
        return ".train" in " ".join(process.cmdline())  # as Ray calls one that runs a trial
    except psutil.Error:
        return False


@dataclass
class Machines:
    """A Ray cluster on this machine, of a head that runs no trials and of others that do."""

    cluster: Any
    nodes: list[Any]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def remove_one(self) -> None:
        """As if its plug were pulled."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture
def machines(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Three machines, of which two run trials."""
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    # As many cores as here: they decide how many threads a trial has, and these its last bits.
    memory = {"memory": 8_000_000_000, "object_store_memory": 200_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**memory, "num_cpus": 0})
    try:
        nodes = [cluster.add_node(**memory, num_cpus=os.cpu_count()) for _ in range(2)]
        yield Machines(cluster, nodes)
    finally:
        cluster.shutdown()


def test_a_machine_that_goes_in_mid_sweep(
    place: Place, undisturbed: Path, machines: Machines
) -> None:
    watched = Watched(place, "machines")
    process = place.start("space.yaml", "--results", "machines", "--address", machines.address)
    watched.follow_until(process, 3)
    machines.remove_one()
    ended = wait(process)
    assert_same_figures(finished(place, ended, "machines"), undisturbed)
    watched.look()
    assert len(ended.recorded) == TRIALS


def test_a_machine_that_goes_with_results_that_were_not_fetched(
    place: Place, undisturbed: Path, machines: Machines, object_storage: ObjectStorage
) -> None:
    """While the driver waits for its storage, trials end, and then a machine is gone."""
    uri = object_storage.uri("machines")
    with place.start("space.yaml", "--results", uri, "--address", machines.address) as process:
        begin = begin_of(process, 4)  # the plan, and three trials
        object_storage.stop()
        time.sleep(10)
        machines.remove_one()
        time.sleep(2)
        object_storage.start()
        ended = wait(process)
    assert ended.code == 0, ended
    assert_same_figures(object_storage.uri("machines/digits-small"), undisturbed)
    assert len(Ended(0, begin + ended.output, "").recorded) == TRIALS


DEADLY = """
import os
import keras

class Deadly(keras.layers.Layer):
    def call(self, inputs, training=False):
        if training:
            os._exit(1)
        return inputs

def build(input_shape, classes):
    head = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(input_shape), Deadly(), *head])
"""


def test_a_trial_that_always_takes_its_process_along_fails_and_stops_no_other(
    place: Place,
) -> None:
    (place.folder / "deadly.py").write_text(DEADLY)
    architectures = {"deadly": {"build": "deadly:build"}, "feed_forward": {"hidden_units": [8]}}
    space = {**SPACE, "name": "deadly", "architectures": architectures, "trials": 1}
    write_space(place.folder / "deadly.yaml", {**space, "variants": {"centered": {}}})
    ended = place.run("deadly.yaml")
    assert ended.code == 1, ended
    assert ended.errors == ""
    assert ended.output.count("process lost") == 3 + 2  # reported at each loss, twice at the end
    assert "deadly centered trial 0: failed: process lost 4 times" in ended.output
    trials = mnist_ray.load_trials(place.folder / "results" / "deadly")
    status = dict(zip(trials.architecture, trials.status, strict=True))
    assert status == {"deadly": "failed", "feed_forward": "finished"}
    failed = trials[trials.status == "failed"].iloc[0]
    assert failed.traceback.count("Failure #") == 4
