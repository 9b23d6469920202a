"""Blocks of short trials: what dies in the middle of one costs no more than the last moment."""

import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from running import Place, assert_same_figures, opened, records, wait, write_images, write_space

import mnist_ray
from mnist_ray.plan.seeds import trial_seeds

TRIALS = 400
SPACE = {
    "name": "short",
    "dataset": "small.npz",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}},
    "trials": TRIALS,
}
# Notes when each trial begins: what began earlier in the same process has ended by then.
NOTING = """
import os
import time
import keras

def build(input_shape, classes):
    with open(os.environ["NOTED"], "a") as noted:
        noted.write(f"{os.getpid()} {time.time()}\\n")
    head = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(input_shape), *head])
"""
# One of them takes down its process whenever it runs; which one follows from its seed.
DEADLY = """
import os
import random
import keras

drawn = random.random()

class Deadly(keras.layers.Layer):
    def call(self, inputs, training=False):
        if training and abs(drawn - {drawn}) < 1e-12:
            os._exit(1)
        return inputs

def build(input_shape, classes):
    head = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(input_shape), Deadly(), *head])
"""
DEADLY_TRIAL = 13


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of short trials and its images."""
    write_space(tmp_path / "space.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=500, test=100)
    with opened(tmp_path) as place:
        yield place


def ended_before(noted: Path, moment: float) -> int:
    """How many trials had ended by then, for sure."""
    begins: dict[str, int] = {}
    for line in noted.read_text().splitlines():
        process, begin = line.split()
        if float(begin) < moment:
            begins[process] = begins.get(process, 0) + 1
    return sum(count - 1 for count in begins.values())


def test_a_killed_driver_loses_what_ended_in_the_last_seconds_and_no_more(place: Place) -> None:
    (place.folder / "noting.py").write_text(NOTING)
    own = {**SPACE, "architectures": {"noting": {"build": "noting:build"}}, "trials": 100}
    write_space(place.folder / "space.yaml", own)
    environment = {"NOTED": str(place.folder / "noted.txt")}
    place.run("space.yaml", "--results", "undisturbed", environment=environment)
    moments = random.Random(20261124)
    folder = place.folder / "killed" / "short"
    survived = 0
    for _ in range(4):
        noted = place.folder / f"noted-{survived}.txt"
        noted.write_text("")
        before = len(records(folder)) if folder.is_dir() else 0
        process = place.start(
            "space.yaml", "--results", "killed", environment={"NOTED": str(noted)}
        )
        while ended_before(noted, time.time()) < 10 and process.poll() is None:
            time.sleep(0.05)
        time.sleep(moments.uniform(1, 5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed_at = time.time()
            survived += 1
            # Half a second in the worker, as long again in the driver, and a loaded machine.
            assert len(records(folder)) >= before + ended_before(noted, killed_at - 2)
        wait(process)
        assert place.orphans(patience=120) == []
    assert survived >= 2  # else it was too short for the test to mean anything
    ended = place.run("space.yaml", "--results", "killed", environment=environment)
    assert ended.code == 0, ended
    assert_same_figures(folder, place.folder / "undisturbed" / "short")


def test_a_worker_killed_in_the_middle_of_a_block_costs_no_finished_trial(place: Place) -> None:
    process = place.start("space.yaml")
    folder = place.folder / "results" / "short"
    while not folder.is_dir() or len(records(folder)) < 40:
        assert process.poll() is None, wait(process)
        time.sleep(0.05)
    before = records(folder)
    workers = [each for each in place.processes() if ".train" in " ".join(each.cmdline())]
    psutil.Process(workers[0].pid).kill()
    ended = wait(process)
    assert ended.code == 0, ended
    assert "process lost" in ended.output
    assert before.items() <= records(folder).items()
    assert len(ended.recorded) == len(set(ended.recorded)) == TRIALS
    assert set(mnist_ray.load_trials(folder).status) == {"finished"}


def test_a_trial_that_always_takes_down_its_process_fails_alone_in_its_block(
    place: Place,
) -> None:
    seed = trial_seeds(0, DEADLY_TRIAL).weights
    (place.folder / "deadly.py").write_text(DEADLY.format(drawn=random.Random(seed).random()))
    own = {**SPACE, "architectures": {"deadly": {"build": "deadly:build"}}, "trials": 20}
    write_space(place.folder / "space.yaml", own)
    ended = place.run("space.yaml", "--max-concurrent", "1")
    assert ended.code == 1, ended
    trials = mnist_ray.load_trials(place.folder / "results" / "short").set_index("trial")
    failed = trials[trials.status == "failed"]
    assert list(failed.index) == [DEADLY_TRIAL]
    assert "process lost 4 times" in failed.error.iloc[0]
    assert (trials.status == "finished").sum() == 19
    losses = re.findall(r"deadly centered trial (\d+): process lost", ended.output)
    assert 3 <= losses.count(str(DEADLY_TRIAL)) <= 4
