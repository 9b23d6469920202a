"""Tests of `mnist_ray.stats.factorial`, against least squares and against cases by hand."""

import numpy as np
import pytest
import scipy
from numpy.typing import NDArray

from mnist_ray.stats.factorial import interaction, levels

RNG = np.random.default_rng(3)


def table(a: int = 4, b: int = 3, n: int = 5, *, interacting: float = 0.0) -> NDArray[np.float64]:
    """Two additive effects, one of trials, noise, and an interaction of that size."""
    rows, columns, trials = RNG.normal(size=a), RNG.normal(size=b), RNG.normal(size=n)
    noise = RNG.normal(size=(a, b, n)) * 0.1
    product = interacting * np.outer(np.arange(a), np.arange(b))
    return (
        rows[:, None, None]
        + columns[:, None]
        + trials
        + noise
        + np.asarray(product)[:, :, np.newaxis]
    )


def residual_squares(values: NDArray[np.float64], *factors: tuple[str, ...]) -> float:
    """Of least squares on dummies of every combination of each of `factors`."""
    index = np.indices(values.shape).reshape(3, -1)
    columns = []
    for names in factors:
        place = ["abn".index(name) for name in names]
        shape = [values.shape[axis] for axis in place]
        groups = np.ravel_multi_index([index[axis] for axis in place], shape)
        columns.append(np.eye(int(np.prod(shape)))[groups])
    design = np.concatenate(columns, axis=1)
    fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    return float(((values.ravel() - fitted) ** 2).sum())


@pytest.mark.parametrize("interacting", [0.0, 0.2])
def test_an_interaction_agrees_with_nested_least_squares(interacting: float) -> None:
    values = table(interacting=interacting)
    by_trials = [("a", "n"), ("b", "n")]
    without = residual_squares(values, *by_trials)
    error = residual_squares(values, *by_trials, ("a", "b"))
    expected = ((without - error) / 6) / (error / 24)
    found = interaction(values)
    assert found
    assert found.degrees == (6, 24)
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(scipy.stats.f.sf(expected, 6, 24))
    assert (found.p_value < 0.001) == (interacting > 0)


def test_without_an_interaction_one_in_twenty_is_taken_for_one() -> None:
    p_values = [found.p_value for _ in range(1500) if (found := interaction(table(3, 2, 3)))]
    assert np.mean(np.asarray(p_values) < 0.05) == pytest.approx(0.05, abs=0.017)


def test_two_by_two_is_a_paired_t_test_of_the_difference_of_differences() -> None:
    values = table(2, 2, 6, interacting=0.1)
    of_trials = values[1, 1] - values[1, 0] - values[0, 1] + values[0, 0]
    expected = scipy.stats.ttest_1samp(of_trials, 0)
    found = interaction(values)
    assert found
    assert found.statistic == pytest.approx(expected.statistic**2)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.effects[1, 1] == pytest.approx(of_trials.mean() / 4)


def test_effects_that_add_up_have_no_interaction_at_all() -> None:
    values = np.add.outer(np.add.outer([0.1, 0.3], [0.2, 0.5, 0.7]), [0.01, 0.02])
    found = interaction(values)
    assert found
    assert (found.statistic, found.p_value) == (0.0, 1.0)


def test_there_is_no_interaction_without_two_levels_of_each_and_two_trials() -> None:
    assert interaction(np.ones((1, 3, 4))) is None
    assert interaction(np.ones((3, 1, 4))) is None
    assert interaction(np.ones((3, 2, 1))) is None


def test_a_marginal_mean_has_the_interval_of_the_trials_means_over_the_others() -> None:
    values = table()
    for own, level in zip(values, levels(values), strict=True):
        expected = scipy.stats.t.interval(
            0.95, 4, loc=own.mean(), scale=scipy.stats.sem(own.mean(axis=0))
        )
        assert level.mean.mean == pytest.approx(own.mean())
        assert (level.mean.ci95_low, level.mean.ci95_high) == pytest.approx(expected)


def test_what_all_cells_of_a_trial_share_does_not_widen_a_difference() -> None:
    # The trials' own effect is 1,000 times that of the levels.
    values = np.asarray([[[0.0, 5.0, 9.0]], [[0.010, 5.012, 9.011]]])
    below, best = levels(values)
    expected = scipy.stats.ttest_rel(values[0, 0], values[1, 0]).confidence_interval()
    assert best.to_best.mean == 0
    assert below.to_best.mean == pytest.approx(-0.011)
    assert (below.to_best.ci95_low, below.to_best.ci95_high) == pytest.approx(
        (expected.low, expected.high), rel=1e-6
    )


@pytest.mark.parametrize(
    "values", [np.ones((2, 3)), np.ones((2, 0, 3)), np.full((2, 2, 2), np.nan)]
)
def test_other_values_are_refused(values: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="three dimensions"):
        levels(values)
    with pytest.raises(ValueError, match="three dimensions"):
        interaction(values)
