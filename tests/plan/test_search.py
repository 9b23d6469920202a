"""Searches walked on made-up scores, without training."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import made_up_space
from made_up_searches import SEARCH, search_space, searches_of, truth
from walking import (
    DATASET_INFO,
    CellResults,
    Walk,
    chosen,
    cut_short,
    failed,
    finished,
    noise,
    walk,
)

from mnist_ray.ledger.record import Record
from mnist_ray.plan.planner import Planner, plan
from mnist_ray.plan.search import Configuration, SearchState, Stage
from mnist_ray.plan.seeds import trial_seeds
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.space import Space

KINDS = {
    "random": search_space(),
    "race": search_space({"race": True}, configurations=8, trials_each=5),
    "optuna": search_space({"variants": {"centered": {}}}, algorithm="optuna", configurations=10),
    "optuna race": search_space(
        {"variants": {"centered": {}}, "race": True}, algorithm="optuna", trials_each=4
    ),
}


def cell_results(trial: Trial) -> Record:
    return finished(trial, truth(trial.cell) + noise(trial, 0.004))


def results_with_failures(trial: Trial) -> Record:
    return failed(trial) if chosen(trial, 0.15) else cell_results(trial)


RESULTS = {"all finish": cell_results, "some fail": results_with_failures}
ALONE: dict[tuple[str, str], Walk] = {
    (kind, how): walk(space, ends, workers=1)
    for kind, space in KINDS.items()
    for how, ends in RESULTS.items()
}
CASES = {
    "kind": st.sampled_from(sorted(KINDS)),
    "how": st.sampled_from(sorted(RESULTS)),
    "workers": st.sampled_from([1, 3, 7]),
    "seed": st.integers(0, 999),
}


def ended_without_winner(search: SearchState) -> bool:
    return search.is_ended and search.winner is None


# --- Whoever ends first ----------------------------------------------------------------------


@settings(max_examples=60)
@given(**CASES)
def test_the_same_configurations_and_winner_whoever_ends_first(
    kind: str, how: str, workers: int, seed: int
) -> None:
    walked = walk(KINDS[kind], RESULTS[how], workers=workers, seed=seed)
    assert walked.gist == ALONE[kind, how].gist
    assert len(set(walked.submitted)) == len(walked.submitted)
    assert all(search.is_ended for search in searches_of(walked))
    assert walked.plan.unrequested(walked.records) == set()


@settings(max_examples=60)
@given(**CASES, stop_after=st.integers(0, 60))
def test_a_search_interrupted_anywhere_goes_on_and_runs_nothing_twice(
    kind: str, how: str, workers: int, seed: int, stop_after: int
) -> None:
    space, ends = KINDS[kind], RESULTS[how]
    broken = walk(space, ends, workers=workers, seed=seed, stop_after=stop_after)
    resumed = walk(space, ends, workers=8 - workers, seed=seed, records=broken.records)
    settled = {key for key, record in broken.records.items() if record.test is not None}
    assert not settled & set(resumed.submitted)
    assert resumed.gist == ALONE[kind, how].gist


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_has_ended_wants_nothing_more(kind: str) -> None:
    again = walk(KINDS[kind], cell_results, records=ALONE[kind, "all finish"].records)
    assert again.submitted == []
    assert again.gist == ALONE[kind, "all finish"].gist


def test_another_seed_tries_other_configurations() -> None:
    tried = [
        [
            each.cell
            for search in plan(space, DATASET_INFO, {}).searches
            for each in search.configurations
        ]
        for space in (KINDS["random"], KINDS["random"].override(seed=1))
    ]
    assert tried[0] != tried[1]


def test_searches_of_one_space_draw_apart() -> None:
    first, second = plan(KINDS["random"], DATASET_INFO, {}).searches
    rates = [
        [each.cell.training.learning_rate for each in search.configurations]
        for search in (first, second)
    ]
    assert not set(rates[0]) & set(rates[1])


def test_more_configurations_never_change_earlier_ones() -> None:
    more = walk(
        search_space(configurations=9), cell_results, records=ALONE["random", "all finish"].records
    )
    for before, after in zip(
        searches_of(ALONE["random", "all finish"]), searches_of(more), strict=True
    ):
        assert [each.cell for each in before.configurations] == [
            each.cell for each in after.configurations[:6]
        ]
    assert len(more.submitted) <= 2 * (3 * 3 + 3)  # and a winner of the new ones, confirmed


# --- The winner ------------------------------------------------------------------------------


def test_the_winner_has_the_highest_mean_validation_accuracy() -> None:
    for search in searches_of(ALONE["random", "all finish"]):
        means = [float(np.mean(each.scores)) for each in search.configurations]
        assert search.winner is not None
        assert search.winner.number == int(np.argmax(means))
        assert search.winner.mean == pytest.approx(max(means))


@pytest.mark.parametrize("kind", KINDS)
def test_test_accuracy_decides_nothing(kind: str) -> None:
    def blind(trial: Trial) -> Record:
        return finished(trial, cell_results(trial).validation_accuracy or 0, test_accuracy=0.1)

    seen = walk(KINDS[kind], blind)
    assert seen.gist == ALONE[kind, "all finish"].gist


@pytest.mark.parametrize("kind", KINDS)
def test_winner_and_default_are_confirmed_with_seeds_that_no_search_used(kind: str) -> None:
    walked = ALONE[kind, "all finish"]
    used = {trial_seeds(t.seed, t.index).seed for t in walked.plan.searched}
    for search in searches_of(walked):
        assert search.winner is not None
        fresh = {trial_seeds(t.seed, t.index).seed for t in search.confirmation}
        assert not fresh & used
        cells = [trial.cell for trial in search.confirmation]
        assert cells == [search.winner.cell] * 3 + [search.default] * 3
    reported = [cell.cell for cell in walked.plan.cells]
    assert reported == [
        cell
        for search in searches_of(walked)
        for cell in (search.winner.cell, search.default)  # type: ignore[union-attr]
    ]


def test_a_default_that_won_is_confirmed_once() -> None:
    space = made_up_space(
        {
            **SEARCH,
            "architectures": {"feed_forward": {"dropout": {"choice": [0.0]}}},
            "training": {},
            "variants": {"centered": {}},
        }
    )
    [search] = searches_of(walk(space, lambda trial: finished(trial, 0.9)))
    assert search.winner is not None
    assert search.winner.cell == search.default
    assert len(search.confirmation) == 3


def test_without_confirm_nothing_is_run_afresh() -> None:
    walked = walk(search_space({"confirm": None}), cell_results)
    assert walked.plan.cells == ()
    assert all(search.winner for search in searches_of(walked))
    assert len(walked.submitted) == 2 * 6 * 3


def test_pairs_that_are_not_searched_stand_beside_a_search() -> None:
    architectures = {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}, "cnn": {}}
    space = search_space({"architectures": architectures, "training": {}, "trials": 2})
    walked = walk(space, lambda trial: finished(trial, 0.9))
    plain = [cell for cell in walked.plan.cells if cell.cell.architecture == "cnn"]
    assert [len(cell.trials) for cell in plain] == [2, 2]
    assert {search.architecture for search in searches_of(walked)} == {"feed_forward"}


# --- Failures --------------------------------------------------------------------------------


def configurations_of(space: Space, ends: CellResults) -> tuple[Configuration, ...]:
    return searches_of(walk(space, ends, workers=3))[0].configurations


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("race", [False, True])
def test_a_configuration_with_a_failed_trial_never_wins(index: int, race: bool) -> None:
    space = search_space({"race": race})
    [best, *_] = searches_of(walk(space, cell_results))
    assert best.winner is not None
    spoilt = best.winner.trials[index].key

    def ends(trial: Trial) -> Record:
        return failed(trial) if trial.key == spoilt else cell_results(trial)

    [search, *_] = searches_of(walk(space, ends, workers=7))
    assert search.configurations[best.winner.number].stage is Stage.FAILED
    assert search.winner is not None
    assert search.winner.number != best.winner.number
    others = [each for each in search.configurations if each.stage is Stage.COMPLETE]
    assert search.winner.mean == max(each.mean or 0 for each in others)


def test_after_a_failure_no_more_trials_are_asked_for() -> None:
    tried = configurations_of(
        search_space(), lambda t: failed(t) if t.index == 1 else cell_results(t)
    )
    assert [len(each.trials) for each in tried] == [2] * 6
    assert [len(each.scores) for each in tried] == [1] * 6


def test_a_failed_trial_is_tried_again_by_the_next_command() -> None:
    space = search_space({"variants": {"centered": {}}})
    broken = walk(space, lambda t: failed(t) if t.index == 0 else cell_results(t))
    assert all(ended_without_winner(search) for search in searches_of(broken))
    mended = walk(space, cell_results, records=broken.records)
    assert mended.gist == walk(space, cell_results).gist


def test_a_search_whose_configurations_all_failed_has_no_winner_and_confirms_nothing() -> None:
    walked = walk(search_space(), failed)
    for search in searches_of(walked):
        assert ended_without_winner(search)
        assert search.confirmation == ()


def test_a_search_with_failures_and_cut_trials_alone_has_no_winner() -> None:
    space = search_space({"variants": {"centered": {}}, **STOPPED})
    half = {
        each.trials[0].key for each in plan(space, DATASET_INFO, {}).searches[0].configurations[:2]
    }
    walked = walk(space, lambda t: failed(t) if t.key in half else cut_short(t, 0.5))
    assert all(ended_without_winner(search) for search in searches_of(walked))


# --- Racing ----------------------------------------------------------------------------------


def test_a_race_drops_what_is_significantly_worse() -> None:
    for search in searches_of(ALONE["race", "all finish"]):
        stages = [each.stage for each in search.configurations]
        assert Stage.RACED_OUT in stages
        assert Stage.COMPLETE in stages
        for each in search.configurations:
            assert (len(each.scores) == 5) == (each.stage is Stage.COMPLETE)


def test_a_race_that_had_more_trials_on_record_comes_to_the_same() -> None:
    changes = {"race": False}
    whole = walk(search_space(changes, configurations=8, trials_each=5), cell_results)
    raced = walk(KINDS["race"], cell_results, records=whole.records)
    assert raced.submitted == []
    assert raced.gist == ALONE["race", "all finish"].gist


def test_what_lost_to_a_configuration_that_fails_later_comes_back() -> None:
    """The best drops all others after two trials, and fails in its fourth."""
    space = search_space({"race": True, "variants": {"centered": {}}}, trials_each=5)
    first = plan(space, DATASET_INFO, {}).searches[0].configurations
    best, cell = max(((e.number, e.cell) for e in first), key=lambda each: truth(each[1]))

    def wins(trial: Trial) -> Record:
        return finished(trial, 0.99) if trial.cell == cell else cell_results(trial)

    [won] = searches_of(walk(space, wins))
    others = [each.stage for each in won.configurations if each.number != best]
    assert set(others) == {Stage.RACED_OUT}

    def ends(trial: Trial) -> Record:
        if trial.cell == cell:
            return failed(trial) if trial.index == 3 else finished(trial, 0.99)
        return cell_results(trial)

    alone = walk(space, ends, workers=1)
    [search] = searches_of(alone)
    assert search.configurations[best].stage is Stage.FAILED
    assert search.winner is not None
    assert len(search.winner.scores) == 5
    for workers in (3, 7):
        assert walk(space, ends, workers=workers, seed=workers).gist == alone.gist


# --- Early stopping --------------------------------------------------------------------------

STOPPED: dict[str, Any] = {
    "early_stopping": "asha",
    "training": {"learning_rate": {"loguniform": [1e-5, 1e-1]}, "epochs": 9},
}


def results_with_stops(trial: Trial) -> Record:
    """As if every other first trial were stopped early."""
    if trial.index == 0 and chosen(trial, 0.5):
        return cut_short(trial, 0.99)  # though it looks good
    return cell_results(trial)


def test_what_was_cut_short_never_wins_and_counts_in_no_mean() -> None:
    walked = walk(search_space(STOPPED), results_with_stops, workers=3)
    for search in searches_of(walked):
        stages = [each.stage for each in search.configurations]
        assert Stage.CUT_SHORT in stages
        assert search.winner is not None
        assert search.winner.stage is Stage.COMPLETE
        for each in search.configurations:
            assert (each.mean is None) == (each.stage is Stage.CUT_SHORT)
            assert len(each.trials) == (1 if each.stage is Stage.CUT_SHORT else 3)
    assert walk(search_space(STOPPED), cell_results, records=walked.records).submitted == []


def test_only_the_first_trial_of_a_searched_configuration_may_be_stopped() -> None:
    space = search_space(STOPPED)
    due = TrialQueue(Planner(space, DATASET_INFO).plan, {})
    may: dict[int, set[bool]] = {}
    while (trial := due.next()) is not None:
        may.setdefault(trial.index, set()).add(due.plan.may_stop(trial))
        due.complete(cell_results(trial))
    assert may == {0: {True}, **{index: {False} for index in range(1, 6)}}
    whole = search_space(
        {name: value for name, value in STOPPED.items() if name != "early_stopping"}
    )
    unstopped = TrialQueue(Planner(whole, DATASET_INFO).plan, {})
    first = unstopped.next()
    assert first is not None
    assert not unstopped.plan.may_stop(first)


def test_a_searched_trial_that_is_measured_too_may_not_be_stopped() -> None:
    """`plain` has the very trials of one configuration of `searched`."""
    architectures = {
        "searched": {"build": "feed_forward", "dropout": {"choice": [0.0, 0.3]}},
        "plain": {"build": "feed_forward", "dropout": 0.0},
    }
    changes = {**STOPPED, "training": {"epochs": 9}, "architectures": architectures, "trials": 2}
    space = search_space({**changes, "variants": {"centered": {}}})
    due = TrialQueue(Planner(space, DATASET_INFO).plan, {})
    measured = {trial.key for trial in due.plan.measured}
    shared = measured & {trial.key for trial in due.plan.searched}
    assert shared
    submitted = []
    while (trial := due.next()) is not None:
        submitted.append(trial.key)
        assert not (due.plan.may_stop(trial) and trial.key in measured)
        due.complete(finished(trial, 0.9))
    assert len(set(submitted)) == len(submitted)
    assert shared <= set(submitted)


def test_without_early_stopping_what_was_cut_short_is_run_as_a_whole() -> None:
    stopped = walk(search_space(STOPPED), results_with_stops)
    whole = walk(
        search_space({**STOPPED, "early_stopping": None}), cell_results, records=stopped.records
    )
    cut = {key for key, record in stopped.records.items() if record.test is None}
    assert cut
    assert cut <= set(whole.submitted)
    assert {e.stage for s in searches_of(whole) for e in s.configurations} == {Stage.COMPLETE}
