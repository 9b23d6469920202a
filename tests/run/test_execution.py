import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import folder_at, made_up_space, made_up_sweep
from object_storage import ObjectStorage

from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import execution
from mnist_ray.run.execution import ResourceAllocator
from mnist_ray.space.space import Space

GIB = 1 << 30
HEAD = Node(cpus=0, gpus=0, memory_bytes=8 * GIB)
CPU_NODE = Node(cpus=8, gpus=0, memory_bytes=32 * GIB)
SMALL_CPU_NODE = Node(cpus=2, gpus=0, memory_bytes=16 * GIB)
GPU_NODE = Node(cpus=8, gpus=1, memory_bytes=32 * GIB, gpu_memory_bytes=16 * GIB)
LARGE_GPU_NODE = Node(cpus=64, gpus=4, memory_bytes=256 * GIB, gpu_memory_bytes=80 * GIB)
DATASET_INFO = made_up_sweep().dataset_info
FOUR_TRIALS = {"architectures": {"cnn": {}}, "variants": {"centered": {}}, "trials": 4}
OWN = {"architectures": {"mine": {"build": "mine:build"}}}


def requests(
    nodes: Sequence[Node],
    *,
    limits: Limits | None = None,
    changes: Mapping[str, object] | None = None,
) -> set[Request]:
    space = made_up_space({"trials": 1, **(changes or {})})
    return ResourceAllocator(space, DATASET_INFO, nodes, limits or Limits()).requests()


# What a trial asks for where nodes differ


def test_without_gpus_trials_ask_for_none() -> None:
    assert {request.gpus for request in requests([HEAD, CPU_NODE])} == {0.0}


def test_where_there_are_gpus_all_trials_share_them_whatever_else_there_is() -> None:
    asked = requests([HEAD, CPU_NODE, GPU_NODE])
    assert {request.gpus for request in asked} == {1 / 8}  # 16 GB would hold more: eight at most
    assert not any(request.fits(CPU_NODE) for request in asked)


def test_the_share_is_what_the_smallest_card_can_give() -> None:
    tight = replace(GPU_NODE, gpu_memory_bytes=4 * GIB)
    shares = {request.gpus for request in requests([LARGE_GPU_NODE, tight])}
    assert len(shares) == 1
    assert shares.pop() > 1 / 8


def test_gpus_of_a_head_that_runs_no_trials_count_for_nothing() -> None:
    head = replace(HEAD, gpus=1.0, gpu_memory_bytes=16.0 * GIB)
    assert {request.gpus for request in requests([head, CPU_NODE])} == {0.0}


def test_who_asks_for_no_gpus_runs_on_all_nodes() -> None:
    asked = requests([CPU_NODE, GPU_NODE], limits=Limits(gpus_per_trial=0.0))
    assert all(request.fits(node) for request in asked for node in (CPU_NODE, GPU_NODE))


def test_threads_are_those_of_the_smallest_node_so_that_every_node_takes_part() -> None:
    asked = requests([HEAD, CPU_NODE], changes=FOUR_TRIALS)
    assert {request.cpus for request in asked} == {2}  # 8 cores for 4 trials
    asked = requests([HEAD, CPU_NODE, SMALL_CPU_NODE], changes=FOUR_TRIALS)
    assert {request.cpus for request in asked} == {1}


def test_nodes_without_a_gpu_decide_nothing_where_trials_have_one() -> None:
    asked = requests([SMALL_CPU_NODE, GPU_NODE], changes=FOUR_TRIALS)
    assert {request.cpus for request in asked} == {2}


def test_a_guess_at_the_memory_of_an_own_architecture_keeps_it_from_no_machine() -> None:
    large = {**OWN, "training": {"batch_size": 5000}}
    asked = requests([CPU_NODE, SMALL_CPU_NODE], changes=large)
    assert all(request.fits(SMALL_CPU_NODE) for request in asked)


def test_a_search_asks_for_no_more_memory_than_there_is() -> None:
    search = {
        "architectures": {"feed_forward": {"hidden_units": {"choice": [[8], [60_000, 60_000]]}}},
        "variants": {"centered": {}},
        "search": {"configurations": 8},
    }
    space = made_up_space(search)
    allocator = ResourceAllocator(space, DATASET_INFO, [SMALL_CPU_NODE], Limits())
    trials = plan(space, DATASET_INFO, {}).missing
    asked = {allocator.request(trial) for trial in trials}
    assert len(asked) == 2
    assert all(request.fits(SMALL_CPU_NODE) for request in asked)


# What no machine can hold


def test_what_this_machine_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match=r"asks for 64 CPUs.* there are: 8 CPUs.*--cpus-per-trial"):
        execution._check_fit([Request(64, 0.0, GIB)], [CPU_NODE], is_cluster=False)


def test_a_cluster_may_yet_grow_so_there_it_is_only_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    execution._check_fit([Request(64, 0.0, GIB)], [HEAD, CPU_NODE], is_cluster=True)
    assert "no machine can hold a trial that asks for 64 CPUs" in caplog.text


def test_what_one_node_can_hold_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    execution._check_fit([Request(8, 0.0, GIB)], [HEAD, CPU_NODE], is_cluster=True)
    assert caplog.text == ""


# How many wait


@pytest.mark.parametrize(
    ("nodes", "is_open", "is_cluster", "expected"),
    [
        ([CPU_NODE], False, False, 16),
        # What to run next is chosen as late as can be, where nothing must be asked of a cluster.
        ([CPU_NODE], True, False, 1),
        ([CPU_NODE], True, True, 8),
        ([HEAD, CPU_NODE, SMALL_CPU_NODE], False, True, 20),
        ([LARGE_GPU_NODE] * 4, False, True, 200),
    ],
)
def test_more_wait_where_a_cluster_should_grow(
    nodes: list[Node], is_open: bool, is_cluster: bool, expected: int
) -> None:
    found = execution._max_pending(nodes, is_open=is_open, is_cluster=is_cluster)
    assert found == expected


# Checkpoints


def seconds_between_checkpoints(
    space: Space,
    folder: ResultsFolder,
    nodes: Sequence[Node],
    dataset_info: DatasetInfo = DATASET_INFO,
) -> float | None:
    queue = TrialQueue(lambda records: plan(space, dataset_info, records), {})
    return execution._checkpoint_seconds(space, dataset_info, queue, folder, nodes)


def test_one_machine_and_object_storage_always_allow_checkpoints(
    tmp_path: Path, object_storage: ObjectStorage
) -> None:
    space = made_up_space({"checkpoint_every": 0.5})
    shared = ResultsFolder.open(object_storage.uri("results"))
    assert seconds_between_checkpoints(space, folder_at(tmp_path), [CPU_NODE]) == 30
    assert seconds_between_checkpoints(space, shared, [CPU_NODE, SMALL_CPU_NODE]) == 30


def test_nodes_without_common_storage_have_none_which_is_told_of_long_trials_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [CPU_NODE, SMALL_CPU_NODE]
    short = made_up_space()
    long = made_up_space({"training": {"epochs": 10_000}})
    with caplog.at_level(logging.WARNING):
        assert seconds_between_checkpoints(short, folder_at(tmp_path), nodes) is None
        assert caplog.text == ""
        dataset_info = replace(DATASET_INFO, train_images=60_000)
        assert seconds_between_checkpoints(long, folder_at(tmp_path), nodes, dataset_info) is None
    assert "Long trials are not checkpointed" in caplog.text
    assert "--results (s3://...)" in caplog.text
