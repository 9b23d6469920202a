"""The test set's share of the variance against hand-worked examples and simulations."""

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import SWEEPS, known

from mnist_ray.stats.variance import (
    VarianceDecomposition,
    decompose_variance,
)


def test_hand_worked_example() -> None:
    # p̂ = 1, ½, ½, 0, so Σ p̂(1-p̂)·R/(R-1) = (¼+¼)·2 = 1; the accuracies are ¾ and ¼
    correct = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
    spread = _decompose(correct)
    assert (spread.trials, spread.examples) == (2, 4)
    assert spread.observed_std == pytest.approx(0.125**0.5)
    assert spread.independent_error_std == pytest.approx(1 / 4)
    assert spread.excess_variance == pytest.approx(4 / 3 * (1 / 8 - 1 / 16))
    assert spread.test_set_sem == pytest.approx((1 / 6) ** 0.5 / 2)


def test_excess_may_be_negative() -> None:
    spread = _decompose(np.array([[1, 0], [0, 1]], dtype=bool))
    assert spread.observed_std == 0
    assert spread.excess_variance == pytest.approx(2 * (0 - 1 / 4))


def test_figures_are_those_of_the_covariances_of_the_whole_table() -> None:
    # The variance of a mean over examples is the mean of all their covariances; independent errors
    # leave the diagonal.
    correct = np.random.default_rng(1).random((7, 50)) < 0.8
    spread = _decompose(correct)
    covariances = np.cov(correct, rowvar=False)
    off_diagonal = covariances.sum() - np.trace(covariances)
    assert spread.observed_std == pytest.approx(covariances.sum() ** 0.5 / 50)
    assert spread.independent_error_std == pytest.approx(np.trace(covariances) ** 0.5 / 50)
    assert spread.excess_variance == pytest.approx(off_diagonal / (50 * 49))
    assert spread.test_set_sem == pytest.approx(correct.mean(axis=0).std(ddof=1) / 50**0.5)


@pytest.mark.parametrize("trials", [0, 1])
def test_below_two_trials_there_is_no_spread(trials: int) -> None:
    assert _decompose(np.ones((trials, 3), dtype=bool)) == VarianceDecomposition(
        trials, 3, None, None, None, None
    )


def test_one_example_says_nothing_of_the_distribution() -> None:
    spread = _decompose(np.array([[True], [False]]))
    assert spread.observed_std == pytest.approx(0.5**0.5)
    assert spread.independent_error_std == pytest.approx(0.5**0.5)
    assert spread.excess_variance is spread.test_set_sem is None


def test_excess_variance_is_that_on_the_distribution_on_average() -> None:
    # Test sets of 5 examples and 3 trials, so that a wrong N/(N-1) or R/(R-1) would show.
    # A trial shifts its chance of being right by ±0.15 on every example alike: a variance
    # of 0.0225 on the distribution, whatever the test set.
    generator = np.random.default_rng(2304_01910)
    estimates = []
    for _ in range(SWEEPS):
        difficulty = generator.uniform(0.2, 0.8, 5)
        skill = generator.choice([-0.15, 0.15], (3, 1))
        spread = _decompose(generator.random((3, 5)) < difficulty + skill)
        estimates.append(known(spread.excess_variance))
    standard_error = np.std(estimates) / SWEEPS**0.5
    assert standard_error < 0.0225 / 20
    assert np.mean(estimates) == pytest.approx(0.0225, abs=3 * standard_error)


def test_independent_errors_explain_all_of_their_own_spread() -> None:
    generator = np.random.default_rng(5)
    spread = _decompose(generator.random((400, 500)) < generator.random(500))
    assert spread.observed_std == pytest.approx(known(spread.independent_error_std), rel=0.1)


@pytest.mark.parametrize(
    ("counts", "accuracies_of_trials", "message"),
    [
        ([], [0.5, 0.5], "correct_counts"),
        ([0.5], [0.5, 0.5], "correct_counts"),
        ([[1, 1], [1, 1]], [0.5, 0.5], "correct_counts"),
        ([3, 0], [0.5, 0.5], "must be from 0 to the 2 trials"),
        ([2, 2], [0.5, 0.5], "must be of the same trials"),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    counts: list[float], accuracies_of_trials: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decompose_variance(counts, accuracies_of_trials)


def _decompose(correct: NDArray[np.bool_]) -> VarianceDecomposition:
    """From bool[trials, examples]."""
    return decompose_variance(correct.sum(axis=0), correct.mean(axis=1))
