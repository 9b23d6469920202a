"""Means and their intervals against scipy, hand-worked examples and a simulation."""

import numpy as np
import pytest
from hypothesis import given
from samples import SWEEPS, covers, repeatable, samples
from scipy import stats

from mnist_ray.stats.summary import Summary, summarize


def test_hand_worked_example() -> None:
    summary = summarize([1.0, 2.0, 3.0, 4.0])
    assert (summary.n, summary.mean) == (4, 2.5)
    assert summary.std == pytest.approx((5 / 3) ** 0.5)  # ddof 1
    assert summary.sem == pytest.approx((5 / 12) ** 0.5)
    assert summary.ci95_low == pytest.approx(2.5 - 3.182446 * (5 / 12) ** 0.5)
    assert summary.ci95_high == pytest.approx(2.5 + 3.182446 * (5 / 12) ** 0.5)
    assert (summary.minimum, summary.maximum) == (1.0, 4.0)


@repeatable
@given(samples.filter(lambda values: len(set(values)) > 1))
def test_agrees_with_scipy(values: list[float]) -> None:
    summary = summarize(values)
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.sem == pytest.approx(stats.sem(values))
    assert (summary.ci95_low, summary.ci95_high) == pytest.approx(tuple(interval))


def test_one_trial_gives_its_value_and_no_uncertainty() -> None:
    assert summarize([0.9]) == Summary(1, 0.9, minimum=0.9, maximum=0.9)


def test_no_trial_gives_nothing() -> None:
    assert summarize([]) == Summary(0)


def test_equal_trials_have_a_spread_of_exactly_zero() -> None:
    summary = summarize([0.1] * 3)  # numpy's mean of these is not 0.1
    assert (summary.mean, summary.std, summary.sem) == (0.1, 0.0, 0.0)
    assert summary.std == 0


@pytest.mark.parametrize("trials", [2, 3, 20])
def test_no_spread_seen_is_no_certainty(trials: int) -> None:
    summary = summarize([0.781] * trials)
    assert (summary.ci95_low, summary.ci95_high) == (None, None)
    assert summary.std == 0
    assert summarize([0.781, 0.782]).std != 0
    assert summarize([0.781]).std is None


def test_intervals_are_not_clipped() -> None:
    summary = summarize([0.99, 1.0])
    assert summary.ci95_high is not None
    assert summary.ci95_high > 1


@pytest.mark.parametrize("values", [[0.9, float("nan")], [float("inf")], [[0.9, 0.8]]])
def test_values_that_are_no_sample_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="must be finite and of one dimension"):
        summarize(values)


@pytest.mark.parametrize("trials", [2, 3, 10])
def test_interval_covers_the_truth_95_percent_of_the_time(trials: int) -> None:
    sweeps = np.random.default_rng(trials).normal(0.95, 0.004, (SWEEPS, trials))
    intervals = map(summarize, sweeps)
    covered = np.mean([covers(interval, 0.95) for interval in intervals])
    assert 0.945 <= covered <= 0.955
