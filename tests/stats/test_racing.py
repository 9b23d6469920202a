"""Races against scipy's paired t test and simulations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import pairs, repeatable
from scipy import stats

from mnist_ray.stats.racing import race, significantly_worse
from mnist_ray.stats.samples import FloatArray


@repeatable
@given(pairs(min_size=2), st.integers(1, 8))
def test_doubt_is_a_one_sided_paired_t_test(couples: list[tuple[float, float]], looks: int) -> None:
    best, candidate = zip(*couples, strict=True)
    differences = {round(1000 * x) - round(1000 * y) for x, y in couples}
    if len(differences) == 1:
        return  # no t; see below
    p_value = stats.ttest_rel(best, candidate, alternative="greater").pvalue
    assert significantly_worse(candidate, best, looks=looks) == (p_value <= 0.05 / looks)


def test_only_common_trials_are_held_against_each_other() -> None:
    best, candidate = [0.90, 0.93, 0.91, 0.94], [0.70, 0.74, 0.71]
    assert significantly_worse(candidate, best, looks=8)
    assert not significantly_worse(candidate[:1], best, looks=8)
    assert not significantly_worse(best, candidate, looks=8)


def test_equal_differences_are_doubted_until_there_are_many() -> None:
    best, candidate = [0.3, 0.8, 0.5, 0.4, 0.6], [0.2, 0.7, 0.4, 0.3, 0.5]
    assert not significantly_worse(candidate[:4], best, looks=1)  # 2⁻⁴ > 0.05
    assert significantly_worse(candidate, best, looks=1)
    assert not significantly_worse(candidate, best, looks=2)  # 2⁻⁵ > 0.025


def test_a_candidate_as_good_as_the_best_is_called_worse_within_the_level() -> None:
    generator = np.random.default_rng(7)
    wrongly = 0
    for best, candidate in generator.normal(0.95, 0.004, (2_000, 2, 10)):
        wrongly += any(significantly_worse(candidate[:n], best[:n], looks=8) for n in range(2, 10))
    assert wrongly / 2_000 <= 0.05


def test_the_clearly_worse_drop_out_and_the_rest_stay() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
    assert race(scores, trials_each=5) == {0, 2}


def test_nobody_drops_out_before_the_first_look_or_after_the_last_trial() -> None:
    assert race([], trials_each=5) == set()
    assert race([[], []], trials_each=5) == {0, 1}
    assert race([[0.9, 0.9, 0.9], [0.1, 0.1]], trials_each=2) == {0, 1}


def test_a_race_waits_for_all_that_are_in_it() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94]]
    assert race(scores, trials_each=5) == {0, 1, 2}


def test_trials_that_ran_ahead_change_nothing() -> None:
    scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
    ahead = [scores[0], [*scores[1], 1.0, 1.0], [*scores[2], 0.1]]
    assert race(ahead, trials_each=5) == race(scores, trials_each=5)


@pytest.mark.parametrize("arguments", [{"trials_each": 0}, {"trials_each": 5, "level": 1.0}])
def test_races_that_make_no_sense_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="trials_each="):
        race([[0.9]], **arguments)


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
