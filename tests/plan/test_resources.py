import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_ray.plan.resources import (
    CellWorkload,
    Node,
    Request,
    concurrency,
    gpu_fraction,
    gpu_share,
    memory_classes,
    side_by_side,
    threads,
)

GIB = 1 << 30
WORK = st.dictionaries(
    st.text("abcd", min_size=1, max_size=2),
    st.builds(
        CellWorkload,
        trials=st.integers(0, 12),
        operations=st.floats(0, 1e15),
        memory_bytes=st.integers(1, 64 * GIB),
    ),
    max_size=5,
)


def work(trials: int, *, operations: float = 1e12, memory: float = 1.0) -> CellWorkload:
    return CellWorkload(trials, operations, int(memory * GIB))


def test_one_thread_a_trial_where_there_are_as_many_trials_as_cores() -> None:
    assert threads({"short": work(3), "long": work(3, operations=1e15)}, cores=6) == {
        "short": 1,
        "long": 1,
    }


@pytest.mark.parametrize(
    ("short", "long", "cores", "expected"),
    [
        # 2 trials leave 6 cores. The long one is nine times as long: it takes them all.
        (work(1, operations=1.0), work(1, operations=9.0), 8, (1, 7)),
        # 4 spare cores for two cells of 2: the long gets one each (9 -> 4.5), and once more.
        (work(2, operations=1.0), work(2, operations=9.0), 8, (1, 3)),
        # Alike: each in turn.
        (work(1), work(1), 8, (4, 4)),
        # One spare core for a long cell of two trials is none: it goes to the single short one.
        (work(1, operations=1.0), work(2, operations=9.0), 4, (2, 1)),
        # All that is left over where no whole cell can be given more.
        (work(2), work(2), 5, (1, 1)),
    ],
)
def test_spare_cores_go_to_the_cells_that_would_be_done_last(
    short: CellWorkload, long: CellWorkload, cores: int, expected: tuple[int, int]
) -> None:
    given_threads = threads({"short": short, "long": long}, cores)
    assert (given_threads["short"], given_threads["long"]) == expected


@given(WORK, st.integers(1, 64))
def test_threads_never_add_up_to_more_than_the_cores(
    work: dict[str, CellWorkload], cores: int
) -> None:
    given_threads = threads(work, cores)
    assert given_threads.keys() == work.keys()
    assert min(given_threads.values(), default=1) >= 1
    trials = sum(cell.trials for cell in work.values())
    busy = sum(cell.trials * given_threads[key] for key, cell in work.items())
    assert busy <= max(cores, trials)


@given(WORK, st.integers(1, 64))
def test_no_core_is_left_idle_that_a_whole_cell_could_use(
    work: dict[str, CellWorkload], cores: int
) -> None:
    given_threads = threads(work, cores)
    idle = cores - sum(cell.trials * given_threads[key] for key, cell in work.items())
    assert all(cell.trials > idle for cell in work.values() if cell.trials)


def test_one_amount_of_memory_for_all_where_that_leaves_no_core_idle() -> None:
    cells = {"small": work(3, memory=0.8), "large": work(3, memory=1.5)}
    asked = memory_classes(cells, Node(cpus=4, gpus=0, memory_bytes=6 * GIB))
    assert asked == {"small": 1.5 * GIB, "large": 1.5 * GIB}


def test_powers_of_two_where_memory_is_scarce() -> None:
    cells = {
        "small": work(3, memory=0.4),
        "middle": work(3, memory=1.5),
        "large": work(3, memory=3),
    }
    asked = memory_classes(cells, Node(cpus=16, gpus=0, memory_bytes=16 * GIB))
    assert asked == {"small": GIB, "middle": 2 * GIB, "large": 4 * GIB}


def test_what_fits_is_not_rounded_up_to_what_does_not() -> None:
    node = Node(cpus=4, gpus=0, memory_bytes=3.5 * GIB)
    asked = memory_classes({"large": work(3, memory=3)}, node)
    assert asked == {"large": 3.5 * GIB}
    assert Request(1, 0, asked["large"]).fits(node)


@given(WORK, st.integers(1, 64), st.integers(1, 128))
def test_no_cell_is_promised_less_memory_than_it_needs(
    work: dict[str, CellWorkload], cpus: int, gigabytes: int
) -> None:
    node = Node(cpus=cpus, gpus=0, memory_bytes=gigabytes * GIB)
    asked = memory_classes(work, node)
    for key, cell in work.items():
        assert asked[key] >= cell.memory_bytes
        assert asked[key] <= node.memory_bytes or cell.memory_bytes > node.memory_bytes


@pytest.mark.parametrize(
    ("memory", "cpus_per_gpu", "trials"),
    [
        (2 * GIB, 16, 8),  # 40 would fit and 16 be fed, but beyond 8 they only wait
        (2 * GIB, 3, 3),  # cores are scarce
        (20 * GIB, 16, 4),  # memory is scarce
        (64 * GIB, 16, 1),
        (100 * GIB, 16, 1),  # it will not fit, but a whole card is all there is
        (2 * GIB, 0.5, 1),
    ],
)
def test_several_small_trials_share_a_card(memory: int, cpus_per_gpu: float, trials: int) -> None:
    share = gpu_fraction(memory, gpu_memory_bytes=80 * GIB, cpus_per_gpu=cpus_per_gpu)
    assert math.floor(1 / share) == trials


@pytest.mark.parametrize("trials", range(1, 9))
def test_as_many_shares_as_were_meant_fit_on_a_card_in_rays_own_steps(trials: int) -> None:
    share = gpu_fraction(1, gpu_memory_bytes=80 * GIB, cpus_per_gpu=trials)
    assert trials * round(share * 10_000) <= 10_000


@pytest.mark.parametrize("trials", range(1, 9))
def test_a_share_says_how_many_trials_it_is_for(trials: int) -> None:
    assert side_by_side(gpu_share(trials)) == trials
    assert side_by_side(float(trials)) == 1  # whole cards


def test_a_request_becomes_rays_resources_without_what_it_does_not_ask_for() -> None:
    assert Request(2, 0.0, 3 * GIB).to_ray() == {"CPU": 2.0, "memory": 3.0 * GIB}
    assert Request(1, 0.25, 0).to_ray() == {"CPU": 1.0, "GPU": 0.25}


@pytest.mark.parametrize(
    ("request_", "fits"),
    [
        (Request(4, 1, 8 * GIB), True),
        (Request(5, 0, GIB), False),
        (Request(1, 2, GIB), False),
        (Request(1, 0, 9 * GIB), False),
    ],
)
def test_a_request_fits_a_node_that_has_all_it_asks_for(request_: Request, fits: bool) -> None:
    assert request_.fits(Node(cpus=4, gpus=1, memory_bytes=8 * GIB)) is fits


def test_trials_side_by_side_are_limited_by_the_scarcest_resource_of_each_node() -> None:
    nodes = [
        Node(cpus=8, gpus=0, memory_bytes=4 * GIB),  # memory for 2
        Node(cpus=3, gpus=0, memory_bytes=64 * GIB),  # cores for 3
        Node(cpus=0, gpus=0, memory_bytes=64 * GIB),  # a head without cores for trials
    ]
    assert concurrency([Request(1, 0, GIB), Request(1, 0, 2 * GIB)], nodes) == 5


def test_ten_tenths_of_a_card_make_ten_trials() -> None:
    node = Node(cpus=64, gpus=1, memory_bytes=64 * GIB)
    assert concurrency([Request(1, 0.1, GIB)], [node]) == 10
