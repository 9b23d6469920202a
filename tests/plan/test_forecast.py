"""What a dry run reports."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from made_up import made_up_space
from walking import DATASET_INFO, finished, noise, walk

from mnist_ray.ledger.record import Costs, Record
from mnist_ray.plan.costs import memory_bytes
from mnist_ray.plan.forecast import (
    START_UP_SECONDS,
    Forecast,
    forecast,
    seconds_beyond_budget,
)
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell, Space

SECONDS = {"feed_forward": 3.0, "cnn": 20.0}


def timed(trial: Trial) -> Record:
    """A finished trial that took what its architecture takes."""
    costs = Costs(0.5, SECONDS[trial.cell.architecture] - 1, 0.5)
    return replace(finished(trial, 0.9), costs=costs)


def expected(
    space: Space,
    records: Mapping[str, Record],
    *,
    concurrency: int = 2,
    hourly_cost: float | None = None,
) -> Forecast:
    return forecast(
        plan(space, DATASET_INFO, records),
        space=space,
        dataset_info=DATASET_INFO,
        records=records,
        concurrency=concurrency,
        hourly_cost=hourly_cost,
        calibrate=never,
    )


def never(cells: Mapping[str, Cell]) -> dict[str, float]:
    raise AssertionError("what is recorded says how long trials take")


RUN_ONCE = walk(made_up_space({"trials": 1}), timed).records
WANTED = made_up_space({"trials": 3})


def test_trials_done_and_to_do_are_reported_by_cell() -> None:
    cells = expected(WANTED, RUN_ONCE).cells
    found = [(c.cell.architecture, c.cell.variant, c.recorded, c.to_run, c.seconds) for c in cells]
    assert found == [
        (architecture, variant, 1, 2, SECONDS[architecture])
        for architecture in ("feed_forward", "cnn")
        for variant in ("centered", "shifted")
    ]


def test_wall_time_is_that_of_workers_that_share_the_trials_out() -> None:
    """Four of 20 s and four of 3 s: 2 · 20 + 2 · 3 on each of two workers."""
    assert expected(WANTED, RUN_ONCE).wall_seconds == START_UP_SECONDS + 46
    assert expected(WANTED, RUN_ONCE, concurrency=1).wall_seconds == START_UP_SECONDS + 92


def test_a_space_that_has_run_is_reckoned_from_its_records() -> None:
    found = expected(WANTED, RUN_ONCE)
    assert found.basis == "recorded trials"
    assert not found.is_open


def test_peak_memory_is_that_of_the_largest_trials_side_by_side() -> None:
    cells = [c.cell for c in expected(WANTED, RUN_ONCE).cells]
    sizes = sorted((memory_bytes(cell, DATASET_INFO.classes) for cell in cells), reverse=True)
    assert expected(WANTED, RUN_ONCE).peak_memory_bytes == 2 * sizes[0]
    assert expected(WANTED, RUN_ONCE, concurrency=1).peak_memory_bytes == sizes[0]


def test_no_more_run_at_a_time_than_there_are() -> None:
    assert expected(WANTED, RUN_ONCE, concurrency=100).concurrency == 8


def test_the_price_is_that_of_the_wall_time() -> None:
    priced = expected(WANTED, RUN_ONCE, hourly_cost=2.0)
    assert priced.price == pytest.approx(2.0 * priced.wall_seconds / 3600)
    assert expected(WANTED, RUN_ONCE).price is None


def test_where_nothing_is_missing_nothing_is_to_be_paid() -> None:
    found = expected(made_up_space({"trials": 1}), RUN_ONCE, hourly_cost=2.0)
    assert (found.wall_seconds, found.concurrency, found.peak_memory_bytes) == (0.0, 0, 0)
    assert found.price == 0.0


SEARCH: dict[str, Any] = {
    "architectures": {"feed_forward": {}},
    "variants": {"centered": {}},
    "training": {"epochs": 2, "learning_rate": {"loguniform": [1e-4, 1e-2]}},
    "search": {"algorithm": "random", "configurations": 5, "trials_each": 2},
    "confirm": 4,
}


def test_a_search_is_one_row_with_what_will_confirm_its_winner() -> None:
    """5 configurations of 2 trials, then 4 trials each of the winner and of the default."""
    space = made_up_space(SEARCH)
    found = expected(space, RUN_ONCE)
    [row] = found.cells
    assert (row.recorded, row.to_run, row.seconds) == (0, 10 + 8, 3.0)
    assert row.cell.training.learning_rate == 0.001
    assert found.wall_seconds == START_UP_SECONDS + 9 * 3


@pytest.mark.parametrize(
    "changes", [{"race": True}, {"search": {**SEARCH["search"], "algorithm": "optuna"}}]
)
def test_what_a_search_will_yet_ask_for_is_reckoned_too(changes: dict[str, Any]) -> None:
    """At first a race asks for one trial of each, and Optuna proposes four configurations."""
    found = expected(made_up_space({**SEARCH, **changes}), RUN_ONCE)
    assert [row.to_run for row in found.cells] == [10 + 8]


def test_replication_to_a_precision_may_take_longer() -> None:
    space = made_up_space({"trials": {"at_least": 3, "at_most": 9, "until_ci95": 0.01}})
    found = expected(space, RUN_ONCE)
    assert found.is_open
    assert [row.to_run for row in found.cells] == [2, 2, 2, 2]


def test_configurations_of_a_search_are_a_measure_for_its_others() -> None:
    """Without a calibration, although no two have the same dropout."""
    architectures = {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}}
    space = made_up_space({**SEARCH, "architectures": architectures})
    found = expected(space, walk(space, timed, stop_after=2).records)
    assert found.basis == "recorded trials"
    [row] = found.cells
    assert (row.recorded, row.to_run) == (2, 16)
    assert row.seconds == pytest.approx(3.0)


def test_a_search_that_has_ended_knows_what_it_confirms() -> None:
    space = made_up_space(SEARCH)
    records = walk(space, timed, stop_after=12).records
    found = expected(space, records)
    [row] = found.cells
    assert (row.recorded, row.to_run) == (12, 6)
    assert not found.is_open


def test_cells_of_equal_settings_have_a_row_each_and_their_trials_run_once() -> None:
    space = made_up_space(
        {
            "architectures": {
                "first": {"build": "feed_forward"},
                "second": {"build": "feed_forward"},
            },
            "variants": {"centered": {}},
            "trials": 2,
        }
    )
    found = expected(space, walk(made_up_space({"trials": 1}), timed).records, concurrency=1)
    assert [(c.cell.architecture, c.recorded, c.to_run) for c in found.cells] == [
        ("first", 1, 1),
        ("second", 1, 1),
    ]
    assert found.wall_seconds == START_UP_SECONDS + SECONDS["feed_forward"]
    planned = plan(space, DATASET_INFO, {})
    assert (len(planned.all_cells), len(planned.missing)) == (2, 2)


# --- A budget of working time --------------------------------------------------------------------


def budgeted(within: str, **more: Any) -> Space:
    trials = {"at_least": 3, "at_most": 500, "within": within}
    return made_up_space({"trials": trials, **more})


def varied(trial: Trial) -> Record:
    return replace(finished(trial, 0.9 + noise(trial, 0.01)), costs=timed(trial).costs)


RECORDED = walk(made_up_space({"trials": 3}), varied).records
"""Of 3 · (3 + 3 + 20 + 20) = 138 seconds."""


def test_a_budget_says_how_many_trials_and_which_half_widths_it_should_buy() -> None:
    found = expected(budgeted("10 min"), RECORDED)
    work = sum(cell.to_run * cell.seconds for cell in found.cells)
    assert 600 - 138 - 20 < work <= 600 - 138
    for cell in found.cells:
        assert cell.half_width is not None
        assert 0.001 < cell.half_width < 0.1
    more = expected(budgeted("2 h"), RECORDED)
    pairs = zip(more.cells, found.cells, strict=True)
    assert all((a.half_width or 1) < (b.half_width or 0) for a, b in pairs)
    assert found.budget is not None
    assert (found.budget.given, found.budget.is_too_small) == ("10 min", False)


def test_a_budget_says_the_half_width_of_a_difference() -> None:
    until = {"difference": ["feed_forward", "cnn"], "ci95": 0.0001}
    found = expected(budgeted("10 min", until=until), RECORDED).budget
    assert found is not None
    assert [(a.variant, b.variant) for a, b, _ in found.differences] == [
        ("centered", "centered"),
        ("shifted", "shifted"),
    ]
    assert all(width and 0.001 < width < 0.1 for _, _, width in found.differences)


def test_before_the_first_trials_all_cells_are_taken_to_vary_alike() -> None:
    only_seconds = {key: replace(record, test=None) for key, record in RUN_ONCE.items()}
    found = expected(budgeted("10 min"), only_seconds)
    assert found.budget is not None
    assert not found.budget.is_spread_known
    assert [cell.half_width for cell in found.cells] == [None] * 4
    # One trial of each is recorded: 46 s. 13 of each take 598 s, and 2 s are too little for more.
    assert [cell.recorded + cell.to_run for cell in found.cells] == [13] * 4


def test_a_budget_too_small_for_the_least_number_says_what_that_takes() -> None:
    space = budgeted("1 min")
    assert beyond(space, RUN_ONCE) == pytest.approx(138)
    assert beyond(budgeted("139 s"), RUN_ONCE) is None
    assert beyond(space, RECORDED) is None  # Nothing is left to run.


def beyond(space: Space, records: Mapping[str, Record]) -> float | None:
    return seconds_beyond_budget(
        plan(space, DATASET_INFO, records), DATASET_INFO, records, lambda _: {}
    )
