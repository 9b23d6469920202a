"""Intervals under optional stopping against simulations and hand-worked examples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from samples import SWEEPS, known, repeatable
from scipy import stats

from mnist_ray.stats.sequential import (
    Precision,
    first_within,
    fixed_replication,
    half_width_factors,
    precision,
    precision_half_widths,
    precision_interval,
    shrunk_std,
)
from mnist_ray.stats.summary import FloatArray, summarize


@pytest.fixture(scope="module")
def sweeps() -> FloatArray:
    """Made-up accuracies less the truth, over their standard deviation: [SWEEPS, 100]."""
    return np.random.default_rng(6).standard_normal((SWEEPS, 100))


@pytest.mark.parametrize("at_most", [15, 100])
@pytest.mark.parametrize("at_least", [2, 3, 5, 10])
def test_rule_covers_the_truth_where_naive_stopping_does_not(
    sweeps: FloatArray, at_least: int, at_most: int
) -> None:
    sweeps = sweeps[:, :at_most]
    sequential, student = precision_half_widths(sweeps, at_most=at_most)
    rule, naive = [], []
    for oracle in (1, 3, 10, 15, 20, 30, 50, 80, 120):
        goal = 1.96 / oracle**0.5
        stops = first_within(np.maximum(sequential, student), goal, at_least)
        rule.append(_coverage(sweeps, sequential, stops))
        stops = first_within(student, goal, at_least)
        naive.append(_coverage(sweeps, student, stops))
    assert min(rule) >= 0.945
    assert min(naive) < 0.945


@pytest.mark.parametrize("at_least", [2, 5])
def test_rule_takes_few_trials_more_than_one_who_knew_the_spread(
    sweeps: FloatArray, at_least: int
) -> None:
    half_widths = np.maximum(*precision_half_widths(sweeps, at_most=100))
    for oracle in (5, 10, 20, 50, 80):
        stops = first_within(half_widths, 1.96 / oracle**0.5, at_least)
        assert oracle < stops.mean() < oracle + 6


@pytest.mark.parametrize(("at_least", "at_most", "goal"), [(2, 100, 0.6), (5, 20, 0.4)])
def test_interval_is_that_of_the_simulated_rule(
    sweeps: FloatArray, at_least: int, at_most: int, goal: float
) -> None:
    sequential, student = precision_half_widths(sweeps[:200, :at_most], at_most=at_most)
    stops = first_within(np.maximum(sequential, student), goal, at_least)
    for sweep, n, own in zip(sweeps, stops, sequential, strict=False):
        interval = precision_interval(sweep, half_width=goal, at_least=at_least, at_most=at_most)
        assert interval.n == n
        assert interval.mean == pytest.approx(sweep[:n].mean())
        assert interval.ci95_high == pytest.approx(sweep[:n].mean() + own[n - 1])
        assert interval.ci95_low == pytest.approx(sweep[:n].mean() - own[n - 1])


def test_hand_worked_example() -> None:
    # std 1, n = 5: plain t(4) = 2.776445, the rule's t(0.4·4 = 1.6) = 5.517244
    values = np.array([1.0, -1.0, 1.0, -1.0, 0.0])
    interval = precision_interval(values, half_width=1.0, at_least=5, at_most=100)
    assert interval.n == 5
    assert interval.mean == pytest.approx(0.0)
    assert interval.plain_half_width == pytest.approx(2.776445 / 5**0.5, rel=1e-6)
    assert interval.ci95_high == pytest.approx(stats.t.ppf(0.975, 1.6) / 5**0.5)
    assert not interval.satisfied
    assert not stopped(interval, at_most=100)


@repeatable
@given(
    st.lists(st.integers(9000, 9999), max_size=30),
    st.integers(2, 6),
    st.integers(6, 25),
    st.sampled_from([0.005, 0.02, 0.08]),
)
def test_later_trials_never_change_where_it_stopped(
    correct: list[int], at_least: int, at_most: int, goal: float
) -> None:
    values = [count / 10_000 for count in correct]
    looks = [
        precision_interval(values[:n], half_width=goal, at_least=at_least, at_most=at_most)
        for n in range(len(values) + 1)
    ]
    for n, look in enumerate(looks):
        assert look.n <= min(n, at_most)
        assert stopped(look, at_most=at_most) or look.n == n
        if look.satisfied:
            assert look.n >= at_least
        if look.satisfied and len(set(correct[: look.n])) > 1:  # Equal values have no interval.
            assert known(look.plain_half_width) <= goal
            assert (known(look.ci95_high) - known(look.ci95_low)) / 2 <= goal * (1 + 1e-9)
        if stopped(look, at_most=at_most):
            assert all(later == look for later in looks[n:])
            break


def test_before_the_first_look_there_is_an_interval_but_no_decision() -> None:
    interval = precision_interval([0.90, 0.91, 0.90], half_width=0.5, at_least=5, at_most=10)
    assert (interval.n, interval.satisfied, stopped(interval, at_most=10)) == (3, False, False)
    assert interval.ci95_low is not None


def test_none_and_one_trial() -> None:
    none, one = (
        precision_interval(values, half_width=0.1, at_least=2, at_most=3) for values in ([], [0.9])
    )
    assert (none.n, none.mean, stopped(none, at_most=3)) == (0, None, False)
    assert (one.n, one.mean, stopped(one, at_most=3)) == (1, 0.9, False)
    assert one.ci95_low is one.ci95_high is one.plain_half_width is None


def test_without_a_choice_the_interval_is_the_plain_one() -> None:
    values = [0.90, 0.93, 0.91, 0.95]
    interval = precision_interval(values, half_width=0.001, at_least=4, at_most=4)
    summary = summarize(values)
    assert (interval.n, interval.satisfied, stopped(interval, at_most=4)) == (4, False, True)
    assert interval.ci95_low == pytest.approx(summary.ci95_low)
    assert interval.ci95_high == pytest.approx(summary.ci95_high)


def test_a_few_equal_values_do_not_stop_it() -> None:
    looks = [
        precision_interval([0.9] * n, half_width=0.01, at_least=2, at_most=100) for n in (2, 4, 5)
    ]
    assert [look.satisfied for look in looks] == [False, False, True]
    assert looks[0].ci95_low is None
    assert (looks[2].ci95_low, looks[2].ci95_high) == (None, None)


def test_equal_values_may_satisfy_the_goal_but_show_no_precision() -> None:
    known = precision([0.9] * 5, goal=0.01, at_most=100)
    assert known.satisfied
    assert known.plain_half_width is known.fixed_trials is None
    assert (known.mean, known.ci95_low, known.ci95_high) == (0.9, None, None)
    assert not precision([0.9] * 4, goal=0.01, at_most=100).satisfied


@pytest.mark.parametrize(
    ("half_width", "at_least", "at_most"),
    [(0.0, 2, 3), (float("nan"), 2, 3), (0.1, 1, 3), (0.1, 4, 3)],
)
def test_goals_that_make_no_sense_are_refused(
    half_width: float, at_least: int, at_most: int
) -> None:
    with pytest.raises(ValueError, match="must be half_width > 0"):
        precision_interval([0.9], half_width=half_width, at_least=at_least, at_most=at_most)


@repeatable
@given(st.floats(0, 0.1), st.floats(0.001, 0.1))
def test_fixed_replication_is_the_smallest_that_does(std: float, half_width: float) -> None:
    n = fixed_replication(std, half_width)
    assert stats.t.ppf(0.975, n - 1) * std / n**0.5 <= half_width * (1 + 1e-9)
    if n > 2:
        assert stats.t.ppf(0.975, n - 2) * std / (n - 1) ** 0.5 > half_width * (1 - 1e-9)


def test_fixed_replication_of_a_known_case() -> None:
    # t(17) = 2.1098: 2.1098 / √18 = 0.4973; t(16) = 2.1199: 2.1199 / √17 = 0.5141
    assert fixed_replication(1.0, 0.5) == 18
    assert fixed_replication(0.0, 0.5) == 2
    with pytest.raises(ValueError, match="half_width > 0"):
        fixed_replication(1.0, 0.0)


def stopped(interval: Precision, *, at_most: int) -> bool:
    return bool(interval.satisfied) or interval.n == at_most


def _coverage(sweeps: FloatArray, half_widths: FloatArray, stops: NDArray[np.intp]) -> float:
    rows = np.arange(len(sweeps))
    means = np.cumsum(sweeps, axis=1)[rows, stops - 1] / stops
    return float(np.mean(np.abs(means) <= half_widths[rows, stops - 1]))


def test_a_spread_is_shrunk_towards_that_of_all() -> None:
    samples = [[0.1, 0.3], [0.0, 0.0, 0.0], [0.7]]
    # Variances 0.02 with 1 degree of freedom and 0 with 2: pooled 0.02 / 3.
    pooled = 0.02 / 3
    expected = [(4 * pooled + 0.02) / 5, 4 * pooled / 6, pooled]
    assert shrunk_std(samples) == pytest.approx(np.sqrt(expected))
    assert np.isnan(shrunk_std([[0.1], []])).all()


def test_factors_are_those_of_the_sequential_interval() -> None:
    factors = half_width_factors(20)
    # Student's 97.5 % quantile with 0.4 · 5 = 2 degrees of freedom is 4.3027.
    assert factors[6] == pytest.approx(4.3027 / math.sqrt(6), rel=1e-4)
    assert np.isinf(factors[:2]).all()
    assert (np.diff(factors[2:]) < 0).all()
