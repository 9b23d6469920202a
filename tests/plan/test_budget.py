"""How a budget of working time is spent, on made-up accuracies and seconds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from budget_draws import bell, spend
from made_up import made_up_space
from walking import DATASET_INFO, chosen, failed, finished, noise, run_at_once, walk

from mnist_ray.ledger.record import Costs, Record
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Space

STDS = {
    ("feed_forward", "centered"): 0.001,
    ("feed_forward", "shifted"): 0.004,
    ("cnn", "centered"): 0.001,
    ("cnn", "shifted"): 0.002,
}
SECONDS = {"feed_forward": 1.0, "cnn": 40.0}


def space_within(within: str, **more: Any) -> Space:
    return made_up_space({"trials": {"at_least": 5, "at_most": 500, "within": within}, **more})


def ended(trial: Trial) -> Record:
    std = STDS[trial.cell.architecture, trial.cell.variant]
    record = finished(trial, 0.9 + noise(trial, std))
    return replace(record, costs=Costs(0.0, SECONDS[trial.cell.architecture], 0.0, 1))


def spent(records: dict[str, Record]) -> float:
    return sum(record.costs.seconds for record in records.values())


def numbers(of: Plan) -> list[int]:
    return [len(cell.trials) for cell in of.cells]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_budget_is_spent_and_no_more_than_the_trials_that_ran_at_its_end(workers: int) -> None:
    done = walk(space_within("30 min"), ended, workers=workers, seed=workers)
    assert 1800 - 40 < spent(done.records) <= 1800 + 40 * (workers - 1)
    assert not done.plan.is_open
    assert not done.plan.unrequested(done.records)
    assert sum(numbers(done.plan)) == len(done.records)


def test_trials_go_where_the_interval_is_widest_whatever_they_cost() -> None:
    done = walk(space_within("60 min"), ended, workers=1)
    ff_centered, ff_shifted, cnn_centered, cnn_shifted = numbers(done.plan)
    assert ff_shifted > cnn_shifted > cnn_centered
    assert ff_shifted > 3 * ff_centered
    assert done.plan.budget is not None
    widths = done.plan.budget.half_widths(np.array(numbers(done.plan)))
    # The cells that vary most are about equally wide in the end.
    assert widths[1,] == pytest.approx(widths[3,], rel=0.2)


def test_resuming_and_extending_plan_as_the_records_say() -> None:
    short, long = space_within("30 min"), space_within("1 h")
    part = walk(short, ended, workers=2, stop_after=40)
    done = walk(short, ended, workers=2, records=part.records)
    assert 1800 - 40 < spent(done.records) <= 1840
    assert not plan(short, DATASET_INFO, done.records).missing
    extended = walk(long, ended, workers=2, records=done.records)
    assert 3600 - 40 < spent(extended.records) <= 3640
    assert all(a >= b for a, b in zip(numbers(extended.plan), numbers(done.plan), strict=True))
    # Less than what is spent: nothing runs, and all that is recorded counts.
    back = plan(short, DATASET_INFO, extended.records)
    assert not back.missing
    assert numbers(back) == numbers(extended.plan)


def test_a_gap_below_a_recorded_trial_is_filled() -> None:
    space = space_within("30 min")
    records = walk(space, ended, workers=2).records
    lost = next(t for t in plan(space, DATASET_INFO, records).cells[1].trials if t.index == 10)
    del records[lost.key]
    again = plan(space, DATASET_INFO, records)
    assert lost.key in {trial.key for trial in again.missing}


def test_a_budget_smaller_than_the_least_trials_take_runs_these_and_no_more() -> None:
    done = walk(space_within("1 min"), ended, workers=2)
    assert numbers(done.plan) == [5, 5, 5, 5]
    assert spent(done.records) == 5 * (1 + 1 + 40 + 40)


def test_no_cell_gets_more_than_at_most() -> None:
    space = made_up_space({"trials": {"at_least": 5, "at_most": 9, "within": "9 h"}})
    assert numbers(run_at_once(space, ended).plan) == [9, 9, 9, 9]


def test_where_a_precision_is_reached_no_more_is_spent() -> None:
    goal = {"at_least": 5, "at_most": 500, "until_ci95": 0.001}
    without = walk(made_up_space({"trials": goal}), ended, workers=1)
    within = walk(made_up_space({"trials": {**goal, "within": "9 h"}}), ended, workers=1)
    assert numbers(within.plan) == numbers(without.plan)
    assert spent(within.records) < 9 * 3600
    scarce = walk(made_up_space({"trials": {**goal, "within": "10 min"}}), ended, workers=1)
    assert 600 - 40 < spent(scarce.records) <= 600
    assert sum(numbers(scarce.plan)) < sum(numbers(without.plan))


def test_cells_that_are_compared_stay_paired() -> None:
    until = {"difference": ["feed_forward", "cnn"], "ci95": 0.0002}
    done = walk(space_within("30 min", until=until), ended, workers=1)
    ff_centered, ff_shifted, cnn_centered, cnn_shifted = numbers(done.plan)
    assert ff_centered == cnn_centered
    assert ff_shifted == cnn_shifted > ff_centered
    assert 1800 - 41 < spent(done.records) <= 1800


def test_a_cell_whose_first_trials_all_fail_gets_no_more() -> None:
    def fails_on_shifted(trial: Trial) -> Record:
        return failed(trial) if trial.cell.variant == "shifted" else ended(trial)

    done = walk(space_within("20 min"), fails_on_shifted, workers=2)
    assert numbers(done.plan)[1] == numbers(done.plan)[3] == 5
    assert spent(done.records) > 1200 - 40


def test_some_failures_do_not_stop_it() -> None:
    def fails_at_times(trial: Trial) -> Record:
        return failed(trial) if chosen(trial, 0.2) else ended(trial)

    assert spent(walk(space_within("20 min"), fails_at_times, workers=2).records) > 1200 - 40


def test_accuracies_without_any_spread_share_the_budget_in_equal_numbers() -> None:
    def equal(trial: Trial) -> Record:
        return replace(finished(trial, 0.9), costs=Costs(0.0, 10.0, 0.0, 1))

    done = walk(space_within("10 min"), equal, workers=1)
    assert numbers(done.plan) == [15, 15, 15, 15]


def test_the_widest_interval_is_narrower_than_with_equal_numbers() -> None:
    spent = spend(bell, draws=25, seed=0, spread=0.5)
    assert spent.ratios.mean() < 0.95
    assert spent.covered.mean() > 0.9
