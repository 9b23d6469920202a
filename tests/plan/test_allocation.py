"""What trials ask of the machines that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from made_up import made_up_space, made_up_sweep

from mnist_ray.errors import InputError
from mnist_ray.plan.allocation import ResourceAllocator, check_fit
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node, Request

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
        check_fit([Request(64, 0.0, GIB)], [CPU_NODE], is_cluster=False)


def test_a_cluster_may_yet_grow_so_there_it_is_only_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_fit([Request(64, 0.0, GIB)], [HEAD, CPU_NODE], is_cluster=True)
    assert "no machine can hold a trial that asks for 64 CPUs" in caplog.text


def test_what_one_node_can_hold_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    check_fit([Request(8, 0.0, GIB)], [HEAD, CPU_NODE], is_cluster=True)
    assert caplog.text == ""
