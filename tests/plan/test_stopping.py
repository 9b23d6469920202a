"""How many trials a cell gets, worked out on made-up accuracies."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import made_up_space
from walking import DATASET_INFO, Walk, chosen, cut_short, failed, finished, noise, walk

from mnist_ray.ledger.record import Record
from mnist_ray.plan.planner import plan
from mnist_ray.plan.stopping import (
    Series,
    known_accuracies,
    look,
    recorded_accuracies,
    to_precision,
)
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Space, StoppingRule
from mnist_ray.stats.comparison import differences
from mnist_ray.stats.sequential import precision_interval

GOAL = StoppingRule(at_least=3, at_most=12, until_ci95=0.01)


# --- One cell, or a difference of two --------------------------------------------------------


def test_before_the_first_look_the_least_number_is_wanted_and_most_urgent() -> None:
    demand = to_precision(GOAL, 0.01, ((0.9, 0.91),))
    assert (demand.counted, demand.started, demand.is_open, demand.priority) == (
        3,
        3,
        True,
        math.inf,
    )


def test_equal_accuracies_are_precise_enough_from_the_fifth_on() -> None:
    assert to_precision(GOAL, 0.01, ((0.9,) * 4,)).is_open
    demand = to_precision(GOAL, 0.01, ((0.9,) * 7,))
    assert (demand.counted, demand.started, demand.is_open) == (5, 5, False)


def test_the_first_prefix_that_is_precise_enough_counts_whatever_comes_later() -> None:
    series = tuple(0.9 + 0.004 * (-1) ** index for index in range(12))
    stop = precision_interval(series, half_width=0.01, at_least=3, at_most=12).n
    assert 3 < stop < 12
    for recorded in range(stop, 13):
        demand = to_precision(GOAL, 0.01, (series[:recorded],))
        assert (demand.counted, demand.is_open) == (stop, False)


def test_it_ends_at_the_most_that_is_allowed() -> None:
    series = tuple(0.5 + 0.4 * (-1) ** index for index in range(20))
    demand = to_precision(GOAL, 0.01, (series,))
    assert (demand.counted, demand.started, demand.is_open) == (12, 12, False)


def test_half_of_what_will_be_needed_is_started_at_once() -> None:
    """A standard deviation of 0.01 for ± 0.002 asks for 99 trials: 3 are there, 48 more start."""
    goal = StoppingRule(at_least=3, at_most=1000, until_ci95=0.002)
    demand = to_precision(goal, 0.002, ((0.89, 0.9, 0.91),))
    assert (demand.counted, demand.started, demand.is_open) == (4, 3 + 48, True)
    # Student's half-width is 4.303 · 0.01 / √3 = 0.02484.
    assert demand.priority == pytest.approx(0.02484 / 0.002, rel=1e-3)


def test_what_has_farther_to_go_is_more_urgent() -> None:
    narrow, wide = ((0.9, 0.91, 0.92, 0.9),), ((0.8, 0.91, 0.99, 0.9),)
    assert to_precision(GOAL, 0.001, wide).priority > to_precision(GOAL, 0.001, narrow).priority


def test_a_failed_trial_is_left_out_and_another_takes_its_place() -> None:
    whole = to_precision(GOAL, 0.01, ((0.9,) * 5,))
    with_failure = to_precision(GOAL, 0.01, ((0.9, None, 0.9, 0.9, 0.9, 0.9),))
    assert whole.counted == 5
    assert (with_failure.counted, with_failure.is_open) == (6, False)


def test_a_cell_of_which_all_first_trials_failed_is_given_up() -> None:
    for later in ((), (0.9,), (None, None)):
        demand = to_precision(GOAL, 0.01, ((None, None, None, *later),))
        assert (demand.counted, demand.started, demand.is_open) == (3, 3, False)


def test_failures_count_towards_the_most_that_is_allowed() -> None:
    series: Series = tuple(None if index % 2 else 0.5 + 0.03 * index for index in range(12))
    demand = to_precision(GOAL, 0.01, (series,))
    assert (demand.counted, demand.is_open) == (12, False)


def test_a_difference_is_of_the_trials_that_both_have_finished() -> None:
    """Far apart and scattered, but always by the same: the paired difference has no spread."""
    first: Series = (0.90, 0.70, None, 0.95, 0.60, 0.93, 0.99)
    second: Series = tuple(None if value is None else value - 0.25 for value in first)
    assert differences([0.90], [0.65]) == pytest.approx([0.25])
    demand = to_precision(GOAL, 0.01, (first, second))
    assert (demand.counted, demand.is_open) == (6, False)
    assert to_precision(GOAL, 0.01, (first,)).is_open


def test_the_shorter_of_two_series_decides() -> None:
    demand = to_precision(GOAL, 0.01, ((0.9, 0.8, 0.7, 0.9), (0.8, 0.9)))
    assert demand.priority == math.inf


# --- The interval that it stopped on -----------------------------------------------------------

DIFFERENCES: list[float | None] = [0.04, 0.05, None, 0.048, 0.041, 0.045, 0.046, 0.3, -0.2]
PAIR: tuple[Series, Series] = (
    tuple(0.9 if value is None else 0.9 + value for value in DIFFERENCES),
    tuple(None if value is None else 0.9 for value in DIFFERENCES),
)
STOP = 7
"""Trials that the rule stops at with ± 0.01; its pair of index 2 has a failed trial."""


def test_the_interval_is_of_the_trials_that_the_rule_stopped_at() -> None:
    assert to_precision(GOAL, 0.01, PAIR).counted == STOP
    seen = look(GOAL, 0.01, PAIR)
    assert seen.trials == (0, 1, 3, 4, 5, 6)
    assert seen.precision.n == 6
    assert seen.precision.satisfied
    expected = precision_interval(
        differences(*([known[index] for index in seen.trials] for known in PAIR)),
        half_width=0.01,
        at_least=GOAL.at_least,
        at_most=GOAL.at_most,
    )
    assert seen.precision == expected
    assert seen.precision.mean == pytest.approx(0.045)
    assert seen.precision.ci95_high == pytest.approx(0.045, abs=0.01)


@pytest.mark.parametrize("more", [(STOP, STOP), (STOP + 1, STOP), (STOP, STOP + 2), (9, 9)])
def test_the_interval_that_it_stopped_on_stays_whatever_runs_later(more: tuple[int, int]) -> None:
    first, second = (known[:count] for known, count in zip(PAIR, more, strict=True))
    assert look(GOAL, 0.01, (first, second)) == look(GOAL, 0.01, PAIR)


def test_before_it_stops_the_interval_is_of_all_trials_so_far() -> None:
    seen = look(GOAL, 0.01, (PAIR[0][: STOP - 1], PAIR[1][: STOP - 1]))
    assert seen.trials == (0, 1, 3, 4, 5)
    assert not seen.precision.satisfied


GIVEN_UP: Series = (None, None, None, 0.9, 0.9, 0.9, 0.9, 0.9)


def test_without_a_trial_that_both_have_finished_there_is_no_interval() -> None:
    for series in (((), (0.9,)), ((None, 0.9), (0.9, None)), (GIVEN_UP, GIVEN_UP)):
        seen = look(GOAL, 0.01, series)
        assert (seen.trials, seen.precision.mean, seen.precision.satisfied) == ((), None, False)


@settings(max_examples=200)
@given(
    series=st.lists(
        st.lists(st.none() | st.sampled_from([0.89, 0.9, 0.905, 0.91]), max_size=16).map(tuple),
        min_size=1,
        max_size=2,
    ).map(tuple),
    half_width=st.sampled_from([0.002, 0.008, 0.03]),
)
def test_wherever_the_rule_stops_its_interval_is_of_the_trials_that_count(
    series: tuple[Series, ...], half_width: float
) -> None:
    demand = to_precision(GOAL, half_width, series)
    seen = look(GOAL, half_width, series)
    assert all(known[index] is not None for known in series for index in seen.trials)
    if seen.precision.satisfied:
        assert not demand.is_open
        assert demand.counted == seen.trials[-1] + 1
    if not demand.is_open:
        whole = look(GOAL, half_width, tuple(known[: demand.counted] for known in series))
        assert whole == seen or demand.counted == GOAL.at_least


# --- What is known ---------------------------------------------------------------------------


def first_trials(count: int) -> tuple[Trial, ...]:
    space = made_up_space({"trials": count})
    return plan(space, DATASET_INFO, {}).cells[0].trials


def known_of(trials: Iterable[Trial], records: Mapping[str, Record]) -> Series:
    return known_accuracies(records.get(trial.key) for trial in trials)


def test_what_is_known_ends_at_the_first_gap() -> None:
    trials = first_trials(5)
    records = {trial.key: finished(trial, 0.5 + trial.index / 10) for trial in trials}
    del records[trials[3].key]
    assert known_of(trials, records) == pytest.approx((0.5, 0.6, 0.7))


def test_a_failed_trial_is_known_and_one_that_was_cut_short_is_a_gap() -> None:
    trials = first_trials(3)
    records = {trials[0].key: failed(trials[0]), trials[1].key: cut_short(trials[1], 0.9)}
    assert known_of(trials, records) == (None,)


def test_what_is_known_is_the_same_from_the_records_of_a_cell_alone() -> None:
    trials = first_trials(6)
    records = {trial.key: finished(trial, 0.5 + trial.index / 10) for trial in trials}
    records[trials[1].key] = failed(trials[1])
    for gap in (None, 0, 4, 5):
        left = {key: r for key, r in records.items() if gap is None or key != trials[gap].key}
        known = known_of(trials, left)
        assert recorded_accuracies(reversed(left.values())) == known
    records[trials[3].key] = cut_short(trials[3], 0.9)
    assert recorded_accuracies(records.values()) == known_of(trials, records)


def test_test_accuracy_counts_and_not_validation_accuracy() -> None:
    [trial] = first_trials(1)
    records = {trial.key: finished(trial, 0.9, test_accuracy=0.8)}
    assert known_of([trial], records) == (0.8,)


# --- Whole sweeps ----------------------------------------------------------------------------

BOUNDS = {"at_least": 3, "at_most": 14}
SPACES: dict[str, dict[str, Any]] = {
    "fixed": {"trials": 3},
    "each mean": {"trials": {**BOUNDS, "until_ci95": 0.01}},
    "a difference": {
        "trials": BOUNDS,
        "until": {"difference": ["feed_forward", "cnn"], "ci95": 0.01},
    },
    "means and a difference": {
        "trials": {**BOUNDS, "until_ci95": 0.015},
        "until": {"difference": ["feed_forward", "cnn"], "ci95": 0.01},
    },
}
STD = {"feed_forward": 0.014, "cnn": 0.008}


def space_of(name: str, changes: dict[str, Any] | None = None) -> Space:
    return made_up_space({**SPACES[name], **(changes or {})})


def cell_results(trial: Trial) -> Record:
    return finished(trial, 0.9 + noise(trial, STD[trial.cell.architecture]))


def results_with_failures(trial: Trial) -> Record:
    return failed(trial) if chosen(trial, 0.2) else cell_results(trial)


RESULTS = {"all finish": cell_results, "some fail": results_with_failures}
ALONE: dict[tuple[str, str], Walk] = {
    (name, how): walk(space_of(name), ends, workers=1)
    for name in SPACES
    for how, ends in RESULTS.items()
}


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(SPACES)),
    how=st.sampled_from(sorted(RESULTS)),
    workers=st.sampled_from([1, 3, 7]),
    seed=st.integers(0, 999),
)
def test_the_same_trials_count_whoever_ends_first(
    name: str, how: str, workers: int, seed: int
) -> None:
    walked = walk(space_of(name), RESULTS[how], workers=workers, seed=seed)
    assert walked.gist == ALONE[name, how].gist
    assert len(set(walked.submitted)) == len(walked.submitted)
    assert not walked.plan.is_open


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(SPACES)),
    how=st.sampled_from(sorted(RESULTS)),
    workers=st.sampled_from([1, 3, 7]),
    seed=st.integers(0, 999),
    stop_after=st.integers(0, 40),
)
def test_a_sweep_interrupted_anywhere_goes_on_and_runs_nothing_twice(
    name: str, how: str, workers: int, seed: int, stop_after: int
) -> None:
    space, ends = space_of(name), RESULTS[how]
    broken = walk(space, ends, workers=workers, seed=seed, stop_after=stop_after)
    resumed = walk(space, ends, workers=8 - workers, seed=seed, records=broken.records)
    settled = {key for key, record in broken.records.items() if record.test is not None}
    assert not settled & set(resumed.submitted)
    assert resumed.gist == ALONE[name, how].gist


def test_what_scatters_more_gets_more_trials() -> None:
    cells = ALONE["each mean", "all finish"].plan.cells
    counts: dict[str, list[int]] = {name: [] for name in STD}
    for cell in cells:
        counts[cell.cell.architecture].append(len(cell.trials))
    assert np.mean(counts["feed_forward"]) > np.mean(counts["cnn"])
    assert all(3 <= count <= 14 for own in counts.values() for count in own)


def test_both_cells_of_a_difference_get_the_same_trials() -> None:
    cells = ALONE["a difference", "some fail"].plan.cells
    counts = {(c.cell.architecture, c.cell.variant): len(c.trials) for c in cells}
    for variant in ("centered", "shifted"):
        assert counts["feed_forward", variant] == counts["cnn", variant]


def test_what_was_run_ahead_and_is_not_needed_is_not_unrequested() -> None:
    space = space_of("each mean")
    records = walk(space.override(trials=BOUNDS["at_most"]), cell_results).records
    planned = plan(space, DATASET_INFO, records)
    assert not planned.missing
    assert len(planned.wanted) < len(records)
    assert planned.unrequested(records) == set()
    assert len(plan(space.override(trials=2), DATASET_INFO, records).unrequested(records)) == 4 * (
        14 - 2
    )


def test_the_cell_that_is_furthest_from_its_goal_goes_first() -> None:
    space = space_of("each mean", {"variants": {"centered": {}}})
    first = plan(space, DATASET_INFO, {})
    scatter = {"feed_forward": 0.002, "cnn": 0.1}
    records = {
        trial.key: finished(trial, 0.8 + scatter[trial.cell.architecture] * trial.index)
        for trial in first.missing
    }
    missing = plan(space, DATASET_INFO, records).missing
    assert missing[0].cell.architecture == "cnn"


def test_fewest_trials_are_lost_where_all_of_a_cell_fail() -> None:
    space = space_of("each mean", {"variants": {"centered": {}}})
    walked = walk(
        space, lambda t: failed(t) if t.cell.architecture == "cnn" else cell_results(t), workers=3
    )
    counts = {cell.cell.architecture: len(cell.trials) for cell in walked.plan.cells}
    assert counts["cnn"] == 3
    assert counts["feed_forward"] > 3
