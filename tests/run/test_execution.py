import logging
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from driven_sweep import Heard
from made_up import folder_at, made_up_space, made_up_sweep
from object_storage import ObjectStorage
from ray import tune

from mnist_ray.data.dataset import load_dataset
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.block import Block
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.trial import trials_of
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import execution
from mnist_ray.run.exchange import SharedInputs
from mnist_ray.run.setup import SweepSetup
from mnist_ray.space.space import Space

GIB = 1 << 30
HEAD = Node(cpus=0, gpus=0, memory_bytes=8 * GIB)
CPU_NODE = Node(cpus=8, gpus=0, memory_bytes=32 * GIB)
SMALL_CPU_NODE = Node(cpus=2, gpus=0, memory_bytes=16 * GIB)
LARGE_GPU_NODE = Node(cpus=64, gpus=4, memory_bytes=256 * GIB, gpu_memory_bytes=80 * GIB)
DATASET_INFO = made_up_sweep().dataset_info
IMAGES = load_dataset("digits")


@dataclass(frozen=True)
class Begun:
    """What `execute` gives Ray Tune."""

    inputs: SharedInputs
    max_pending: int
    scheduler: Any


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Begun]:
    """Executes a space on nodes that are said to be there; no trial is run."""

    def begin(
        space: Space,
        folder: ResultsFolder,
        nodes: Sequence[Node],
        *,
        dataset_info: DatasetInfo = DATASET_INFO,
        is_cluster: bool = False,
    ) -> Begun:
        given: dict[str, Any] = {}
        monkeypatch.setattr("mnist_ray.run.connection.nodes", lambda: [*nodes])
        monkeypatch.setattr(
            tune, "with_parameters", lambda _, context: given.update(inputs=context)
        )
        monkeypatch.setattr("mnist_ray.run.runner.run", lambda *_, **rest: given.update(rest))
        setup = SweepSetup(
            space=space,
            code=space.user_code(),
            dataset=IMAGES,
            dataset_info=dataset_info,
            folder=folder,
            ledger=Ledger(folder),
            limits=Limits(),
            address="auto" if is_cluster else None,
        )
        setup.ledger.read()
        queue = TrialQueue(lambda records: plan(space, dataset_info, records), {})
        execution.execute(queue, setup, listener=Heard())
        return Begun(given["inputs"], given["max_pending"], given["scheduler"])

    return begin


# How many wait

FIXED = made_up_space()
OPEN = made_up_space({"trials": {"at_least": 2, "at_most": 9, "until_ci95": 0.001}})


@pytest.mark.parametrize(
    ("nodes", "space", "is_cluster", "expected"),
    [
        ([CPU_NODE], FIXED, False, 16),
        # What to run next is chosen as late as can be, where nothing must be asked of a cluster.
        ([CPU_NODE], OPEN, False, 1),
        ([CPU_NODE], OPEN, True, 8),
        ([HEAD, CPU_NODE, SMALL_CPU_NODE], FIXED, True, 20),
        ([LARGE_GPU_NODE] * 4, FIXED, True, 200),
    ],
)
def test_more_wait_where_a_cluster_should_grow(
    begun: Callable[..., Begun],
    tmp_path: Path,
    nodes: list[Node],
    space: Space,
    is_cluster: bool,
    expected: int,
) -> None:
    found = begun(space, folder_at(tmp_path), nodes, is_cluster=is_cluster)
    assert found.max_pending == expected


# Early stopping


def test_the_longest_trials_of_a_search_are_compared_to_their_end(
    begun: Callable[..., Begun], tmp_path: Path
) -> None:
    """ASHA compares after 1, 3, 9 ... epochs, the last time before the longest trial ends."""
    space = made_up_space(
        {
            "architectures": {"feed_forward": {}},
            "training": {"epochs": {"choice": [3, 5000]}},
            "search": {"configurations": 4, "trials_each": 2},
            "early_stopping": "asha",
        }
    )
    scheduler = begun(space, folder_at(tmp_path), [CPU_NODE]).scheduler
    cell = space.bind("feed_forward", "centered", {"epochs": 5000}, DATASET_INFO.image_shape)

    def goes_on(number: int, *, epochs: int, accuracy: float) -> bool:
        trial = SimpleNamespace(config={"block": blocks[number]})
        result = {"epochs": epochs, "validation_accuracy": accuracy}
        return bool(scheduler.on_trial_result(None, trial, result) == "CONTINUE")

    blocks = [
        Block((trial,), Request(1, 0.0, 0), reports_epochs=True)
        for trial in trials_of(space, cell, DATASET_INFO, 4)
    ]
    for block in blocks:
        scheduler.on_trial_add(None, SimpleNamespace(config={"block": block}))
    for number in range(4):
        assert goes_on(number, epochs=729, accuracy=0.9)
    assert all(goes_on(number, epochs=2187, accuracy=0.9) for number in range(3))
    assert not goes_on(3, epochs=2187, accuracy=0.1)


# Checkpoints


def test_one_machine_and_object_storage_always_allow_checkpoints(
    begun: Callable[..., Begun], tmp_path: Path, object_storage: ObjectStorage
) -> None:
    space = made_up_space({"checkpoint_every": 0.5})
    shared = ResultsFolder.open(object_storage.uri("results"))
    assert begun(space, folder_at(tmp_path), [CPU_NODE]).inputs.checkpoint_seconds == 30
    several = begun(space, shared, [CPU_NODE, SMALL_CPU_NODE])
    assert several.inputs.checkpoint_seconds == 30


def test_nodes_without_common_storage_have_none_which_is_reported_of_long_trials_alone(
    begun: Callable[..., Begun], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [CPU_NODE, SMALL_CPU_NODE]
    long = made_up_space({"training": {"epochs": 10_000}})
    with caplog.at_level(logging.WARNING):
        assert begun(FIXED, folder_at(tmp_path), nodes).inputs.checkpoint_seconds == math.inf
        assert caplog.text == ""
        large = replace(DATASET_INFO, train_images=60_000)
        found = begun(long, folder_at(tmp_path), nodes, dataset_info=large)
        assert found.inputs.checkpoint_seconds == math.inf
    assert "Long trials are not checkpointed" in caplog.text
    assert "--results (s3://...)" in caplog.text


def test_the_commit_is_that_of_the_folder_that_the_command_is_given_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert execution.git_commit() is None
    author = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], check=True)
    head = (tmp_path / ".git" / "HEAD").read_text().removeprefix("ref: ").strip()
    assert execution.git_commit() == (tmp_path / ".git" / head).read_text().strip()
