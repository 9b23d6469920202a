"""Sweeps on a real cluster: token authentication, nodes that come and go, results on S3.

The nodes have none of the project's code, nor the user's: what they run, the sweep has sent them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from object_storage import ObjectStorage
from ray_head import free_port, running_head, running_node
from running import PROJECT, Place, assert_same_figures, opened, wait, write_images, write_space

import mnist_ray
from mnist_ray.ledger.results_folder import ResultsFolder

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
BUCKET = {
    "AWS_ACCESS_KEY_ID": "anyone",
    "AWS_SECRET_ACCESS_KEY": "anything",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PATIENCE_SECONDS = 300.0
TRIALS = 8
EPOCHS = 10

SPACE: dict[str, Any] = {
    "name": "small",
    "dataset": "images.npz",
    "architectures": {
        "feed_forward": {"hidden_units": [16]},
        "mine": {"build": "own:build"},
        "packed": {"build": "package.inner:build"},
    },
    "variants": {"shifted": {"shift": 4}},
    "training": {"epochs": 2},
    "trials": TRIALS,
}
# On a node it says that it has begun, and waits there until it may go on.
OWN = """
import os, time
import keras
from beside import WIDTH

def build(input_shape, classes):
    if "GATE" in os.environ:
        with open(os.environ["BEGUN_LOG"], "a") as log:
            log.write("begun\\n")
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.1)
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(WIDTH, activation="relu"),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""
# Each epoch is one batch, which is counted in a file and takes its time.
LONG: dict[str, Any] = {
    "name": "long",
    "dataset": "images.npz",
    "architectures": {"counted": {"build": "counted:build"}},
    "variants": {"centered": {}},
    "training": {"epochs": EPOCHS, "batch_size": 1000, "validation_split": 0},
    "trials": 1,
    "checkpoint_every": 0.01,
}
ON_GPUS: dict[str, Any] = {
    "name": "on-gpus",
    "dataset": "images.npz",
    "architectures": {"given": {"build": "given:build"}},
    "variants": {"centered": {}},
    "trials": 3,
}
COUNTED = """
import os
import keras, tensorflow as tf

@keras.saving.register_keras_serializable()
class Counted(keras.layers.Layer):
    def call(self, inputs, training=False):
        if not training:
            return inputs
        # Not by Python functions, whose state no checkpoint holds.
        tf.print("epoch", output_stream="file://" + os.environ["EPOCHS_LOG"])
        busy = tf.fill((1000, 1000), inputs[0, 0, 0, 0])
        for _ in range(20):
            busy = tf.tanh(busy @ busy)
        return inputs + 0 * busy[0, 0]

def build(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape),
        Counted(),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""
GIVEN = """
import os
import keras

def build(input_shape, classes):
    if "GIVEN_LOG" in os.environ:
        with open(os.environ["GIVEN_LOG"], "a") as log:
            log.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + "\\n")
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


@pytest.fixture(scope="module")
def dashboard_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def head(dashboard_port: int) -> Iterator[str]:
    """`host:port` of a head that takes jobs, asks for a token and runs no trials."""
    # The project is installed on the head alone.
    variables = {**TOKEN, **BUCKET, "PYTHONPATH": str(PROJECT)}
    with running_head(variables, dashboard_port=dashboard_port) as address:
        yield address


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, str]:
    """Files for what the user's own architectures tell, by the variables that name them."""
    names = ("BEGUN", "EPOCHS", "GIVEN")
    return {f"{name}_LOG": str(tmp_path / f"{name}.log") for name in names}


@pytest.fixture
def node_variables(logs: dict[str, str]) -> dict[str, str]:
    """Of the processes of a node: what opens the cluster and the bucket, and no code."""
    return {**TOKEN, **BUCKET, **logs, "PYTHONPATH": ""}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with search spaces, images and architectures of the user's own."""
    folder = tmp_path / "work"
    folder.mkdir()
    for space in (SPACE, LONG, ON_GPUS):
        write_space(folder / f"{space['name']}.yaml", space)
    write_images(folder / "images.npz", train=600, test=200)
    (folder / "own.py").write_text(OWN)
    (folder / "beside.py").write_text("WIDTH = 12\n")
    (folder / "counted.py").write_text(COUNTED)
    (folder / "given.py").write_text(GIVEN)
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    (folder / "package" / "inner.py").write_text(OWN.replace("beside", "package.width"))
    (folder / "package" / "width.py").write_text("WIDTH = 8\n")
    with opened(folder) as place:
        yield place


def test_a_submitted_sweep_ends_as_on_one_machine_though_nodes_come_and_go(
    head: str,
    dashboard_port: int,
    node_variables: dict[str, str],
    logs: dict[str, str],
    place: Place,
    object_storage: ObjectStorage,
    tmp_path: Path,
) -> None:
    uri = object_storage.uri("results")
    begun, gate = Path(logs["BEGUN_LOG"]), tmp_path / "gate"
    variables = {**node_variables, "GATE": str(gate)}
    with running_node(head, variables) as first, running_node(head, variables) as second:
        job = submit(place, dashboard_port, "small.yaml", "--results", uri, "--cpus-per-trial", "1")
        until(lambda: lines_in(begun) == 2, job)
        with running_node(head, variables):
            # It has work at once, while all else waits at the gate.
            until(lambda: lines_in(begun) == 3, job)
            first.kill()
            second.kill()
            gate.touch()
            ended = wait(job, limit=PATIENCE_SECONDS)
    assert ended.code == 0, ended.output
    assert "process lost" in ended.output
    alone = place.run("small.yaml", "--cpus-per-trial", "1")
    assert alone.code == 0, alone
    assert_same_figures(place.folder / "results" / "small", ResultsFolder.open(uri, "small").uri)


def test_a_long_trial_goes_on_from_its_last_epoch_on_another_node(
    head: str,
    node_variables: dict[str, str],
    logs: dict[str, str],
    place: Place,
    object_storage: ObjectStorage,
    tmp_path: Path,
) -> None:
    uri = object_storage.uri("results")
    results = ResultsFolder.open(uri, "long")
    epochs_log = Path(logs["EPOCHS_LOG"])
    with running_node(head, node_variables) as first:
        sweep = place.start(
            *["long.yaml", "--address", head, "--results", uri, "--cpus-per-trial", "1"],
            environment=TOKEN,
        )
        until(lambda: lines_in(epochs_log) >= 4, sweep)
        with running_node(head, node_variables):
            first.kill()
            ended = wait(sweep, limit=PATIENCE_SECONDS)
    assert ended.code == 0, ended
    # One epoch more than there are: the one that was under way.
    assert EPOCHS <= lines_in(epochs_log) <= EPOCHS + 1
    assert not results.exists("checkpoints")
    alone = place.run(
        *["long.yaml", "--cpus-per-trial", "1"],
        environment={"EPOCHS_LOG": str(tmp_path / "alone.log")},
    )
    assert alone.code == 0, alone
    assert lines_in(tmp_path / "alone.log") == EPOCHS
    assert_same_figures(place.folder / "results" / "long", results.uri)


def test_a_sweep_waits_for_its_first_node_says_so_and_leaves_nothing_running(
    head: str, node_variables: dict[str, str], logs: dict[str, str], place: Place
) -> None:
    sweep = place.start("on-gpus.yaml", "--address", head, environment=TOKEN)
    assert sweep.stdout is not None
    lines = iter(sweep.stdout.readline, "")
    assert any("Waiting for a machine with 1 CPUs" in line for line in lines)
    with running_node(head, node_variables, cpus=2):
        ended = wait(sweep, limit=PATIENCE_SECONDS)
        assert ended.code == 0, ended
        # The cluster lives on, and all of it is free again.
        until(lambda: free_resources(head) == {"CPU": 2.0, "GPU": 0.0})
    trials = mnist_ray.load_trials(place.folder / "results" / "on-gpus")
    assert set(trials.device) == {"CPU"}


def test_a_gpu_that_only_ray_has_is_refused_before_the_first_trial_and_unused_without_it(
    head: str, node_variables: dict[str, str], logs: dict[str, str], place: Place
) -> None:
    on_gpus = ("on-gpus.yaml", "--address", head)
    with running_node(head, node_variables, cpus=2, gpus=1):
        refused = place.run(*on_gpus, environment=TOKEN)
        assert refused.code == 2, refused
        assert "TensorFlow" in refused.errors
        assert "sees no GPU" in refused.errors
        assert "CUDA_VISIBLE_DEVICES: 0" in refused.errors
        assert "Traceback" not in refused.errors
        assert refused.recorded == []
        assert not Path(logs["GIVEN_LOG"]).exists()
        without = place.run(*on_gpus, "--gpus-per-trial", "0", environment=TOKEN)
        assert without.code == 0, without
        until(lambda: free_resources(head) == {"CPU": 2.0, "GPU": 1.0})
    given = Path(logs["GIVEN_LOG"]).read_text().splitlines()
    assert set(given) == {""}  # No trial saw the card that it had not asked for.


def test_a_trial_that_no_node_can_hold_is_reported_rather_than_waited_for_in_silence(
    head: str, node_variables: dict[str, str], place: Place
) -> None:
    with running_node(head, node_variables):
        sweep = place.start(
            "small.yaml", "--address", head, "--cpus-per-trial", "64", environment=TOKEN
        )
        assert sweep.stdout is not None
        lines = iter(sweep.stdout.readline, "")
        assert any("Waiting for a machine with 64 CPUs" in line for line in lines)
        sweep.send_signal(signal.SIGINT)
        ended = wait(sweep, limit=60)
    assert ended.code == 130
    assert "no machine can hold a trial that asks for 64 CPUs" in ended.errors


def test_without_the_token_nobody_runs_anything(
    head: str, dashboard_port: int, place: Place
) -> None:
    sweep = place.run("small.yaml", "--address", head)
    assert sweep.code == 2
    assert "refuses this machine's token" in sweep.errors
    job = wait(submit(place, dashboard_port, "small.yaml", environment={}), limit=60)
    assert job.code != 0
    assert "authentication is enabled" in job.output + job.errors


def submit(
    place: Place,
    dashboard_port: int,
    *arguments: str,
    environment: dict[str, str] = TOKEN,
) -> "subprocess.Popen[str]":
    """`ray job submit`, with all that lies in the place's folder."""
    return place.start(
        *["job", "submit", "--address", f"http://127.0.0.1:{dashboard_port}"],
        *["--working-dir", str(place.folder), "--", sys.executable, "-m", "mnist_ray.sweep"],
        *arguments,
        module="ray.scripts.scripts",
        environment=environment,
    )


def lines_in(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def free_resources(address: str) -> dict[str, float]:
    """The CPUs and GPUs of the cluster that nobody uses, asked by a process of its own."""
    program = (
        "import json, sys, ray;"
        "ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False);"
        "free = ray.available_resources();"
        "print(json.dumps({name: free.get(name, 0) for name in ('CPU', 'GPU')}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, address],
        env={**os.environ, **TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def until(reached: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait for something to happen, as long as `process` runs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, wait(process)
        time.sleep(0.2)
