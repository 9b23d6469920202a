"""Races: how many trials each configuration of a batch is asked for."""

from collections.abc import Sequence

import numpy as np

from mnist_ray.ledger.record import Status
from mnist_ray.plan.search import Progress, trials_of_race, trials_without_race
from mnist_ray.stats.summary import FloatArray

BEST = (0.95, 0.96, 0.95, 0.96)
CLOSE = (0.94, 0.97, 0.95, 0.95)
WORSE = (0.50, 0.53, 0.51, 0.52)


def asked(*entrants: Progress, trials_each: int = 5) -> list[int]:
    return trials_of_race(entrants, trials_each=trials_each)


def race(scores: Sequence[Sequence[float]], *, trials_each: int) -> set[int]:
    """Who is still in the race."""
    counts = asked(*(Progress(tuple(own)) for own in scores), trials_each=trials_each)
    return {number for number, count in enumerate(counts) if count == max(counts)}


def test_the_clearly_worse_drop_out_and_the_rest_stay() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
    assert race(scores, trials_each=5) == {0, 2}


def test_nobody_drops_out_before_the_first_look_or_after_the_last_trial() -> None:
    assert asked(trials_each=5) == []
    assert race([[], []], trials_each=5) == {0, 1}
    assert race([[0.9, 0.9, 0.9], [0.1, 0.1]], trials_each=2) == {0, 1}


def test_a_race_waits_for_all_that_are_in_it() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94]]
    assert race(scores, trials_each=5) == {0, 1, 2}


def test_trials_that_ran_ahead_change_nothing() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
    ahead = [scores[0], [*scores[1], 1.0, 1.0], [*scores[2], 0.1]]
    assert race(ahead, trials_each=5) == race(scores, trials_each=5)


def test_one_more_trial_is_asked_of_all_that_have_finished_the_last() -> None:
    assert asked(Progress(()), Progress(())) == [1, 1]
    assert asked(Progress(BEST[:1]), Progress(())) == [1, 1]
    assert asked(Progress(BEST[:1]), Progress(CLOSE[:1])) == [2, 2]
    assert asked(Progress(BEST), Progress(CLOSE), Progress(WORSE)) == [5, 5, 2]
    assert asked(Progress((*BEST, 0.95)), Progress((*CLOSE, 0.96)), Progress(WORSE)) == [5, 5, 2]


def test_what_was_only_worse_than_an_excluded_configuration_comes_back() -> None:
    broken = Progress(BEST[:3], Status.FAILED)
    assert asked(Progress(BEST[:3]), Progress(WORSE[:3])) == [4, 2]
    assert asked(broken, Progress(WORSE[:3])) == [4, 4]
    assert asked(broken, Progress(WORSE), Progress(BEST, Status.CUT_SHORT)) == [4, 5, 5]


def test_where_every_configuration_is_excluded_the_race_ends() -> None:
    assert asked(Progress((), Status.FAILED), Progress(BEST[:2], Status.FAILED)) == [1, 3]


def test_without_a_race_all_trials_are_asked_for_up_to_one_that_did_not_finish() -> None:
    assert trials_without_race(Progress(()), trials_each=5) == 5
    assert trials_without_race(Progress(BEST[:2]), trials_each=5) == 5
    assert trials_without_race(Progress(BEST[:2], Status.FAILED), trials_each=5) == 3


def test_a_race_finds_the_same_winner_for_half_the_trials() -> None:
    generator = np.random.default_rng(8)
    searches, trials_each, configurations = 200, 10, 20
    same = best_by_race = best_in_full = spent = 0
    for _ in range(searches):
        log_rates = generator.uniform(-5, -1, configurations)
        truth = 0.97 - 0.02 * (log_rates + 3) ** 2
        shared = generator.normal(0, 0.002, trials_each)
        own = generator.normal(0, 0.002, (configurations, trials_each))
        scores = truth[:, np.newaxis] + shared + own
        winner, trials = _run_race(scores)
        full_winner = int(scores.mean(axis=1).argmax())
        same += winner == full_winner
        best_by_race += winner == truth.argmax()
        best_in_full += full_winner == truth.argmax()
        spent += trials
    assert spent <= 0.5 * searches * configurations * trials_each
    assert same >= 0.95 * searches
    assert best_by_race >= 0.95 * best_in_full


def _run_race(scores: FloatArray) -> tuple[int, int]:
    """As a planner does it: one more trial for all that are still in the race. Winner, trials."""
    configurations, trials_each = scores.shape
    done: list[list[float]] = [[] for _ in range(configurations)]
    running = set(range(configurations))
    for trial in range(trials_each):
        for configuration in running:
            done[configuration].append(scores[configuration, trial])
        running = race(done, trials_each=trials_each)
    winner = max(sorted(running), key=lambda index: np.mean(done[index]))
    return winner, sum(map(len, done))
