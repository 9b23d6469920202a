"""Differences of means against scipy, published and hand-worked examples and simulations."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import SWEEPS, covers, known, or_nan, pairs, repeatable, samples
from scipy import stats

from mnist_ray.stats.comparison import compare, differences, holm

# Student's sleep data (Biometrika 6, 1908): hours gained with two drugs, ten patients.
FIRST_DRUG = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND_DRUG = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_paired_t_of_the_sleep_data() -> None:
    comparison = compare(FIRST_DRUG, SECOND_DRUG, paired=True)
    assert comparison.test == "paired t"
    assert comparison.difference == pytest.approx(-1.58)
    assert comparison.ci95_low == pytest.approx(-2.4598858, abs=1e-7)
    assert comparison.ci95_high == pytest.approx(-0.7001142, abs=1e-7)
    assert comparison.p_value == pytest.approx(0.002833, abs=1e-6)
    assert comparison.correlation == pytest.approx(0.7951702, abs=1e-7)
    assert (comparison.n_a, comparison.n_b) == (10, 10)


def test_welch_of_the_sleep_data() -> None:
    comparison = compare(FIRST_DRUG, SECOND_DRUG, paired=False)
    assert comparison.test == "Welch"
    assert comparison.difference == pytest.approx(-1.58)
    assert comparison.ci95_low == pytest.approx(-3.3654832, abs=1e-7)
    assert comparison.ci95_high == pytest.approx(0.2054832, abs=1e-7)
    assert comparison.p_value == pytest.approx(0.07939, abs=1e-5)
    assert comparison.wilcoxon_p is None
    assert comparison.correlation is None


@repeatable
@given(samples, samples)
def test_welch_agrees_with_scipy(a: list[float], b: list[float]) -> None:
    if len(set(a)) == 1 or len(set(b)) == 1:
        return  # scipy warns, and rounding decides
    comparison = compare(a, b, paired=False)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert comparison.p_value == pytest.approx(expected.pvalue)
    assert (comparison.ci95_low, comparison.ci95_high) == pytest.approx(
        tuple(expected.confidence_interval(0.95)), abs=1e-12
    )


@repeatable
@given(pairs(min_size=1))
def test_wilcoxon_counts_every_assignment_of_signs(couples: list[tuple[float, float]]) -> None:
    a, b = zip(*couples, strict=True)
    comparison = compare(a, b, paired=True)
    differences = [round(1000 * x) - round(1000 * y) for x, y in couples]
    assert comparison.wilcoxon_p == pytest.approx(_signed_rank_p_by_enumeration(differences))


def test_wilcoxon_agrees_with_scipy_where_there_are_no_ties() -> None:
    for pairs_of_trials in (6, 20, 50, 80):
        a, b = np.random.default_rng(pairs_of_trials).normal(0.2, 1, (2, pairs_of_trials))
        expected = stats.wilcoxon(a, b).pvalue
        actual = compare(a, b, paired=True).wilcoxon_p
        assert actual == pytest.approx(expected)


@repeatable
@given(pairs(min_size=1).filter(lambda couples: len(couples) < 6))
def test_wilcoxon_never_passes_below_six_pairs(couples: list[tuple[float, float]]) -> None:
    a, b = zip(*couples, strict=True)
    wilcoxon_p = compare(a, b, paired=True).wilcoxon_p
    assert wilcoxon_p is not None
    assert wilcoxon_p > 0.05


@repeatable
@given(samples, samples, st.booleans())
def test_exchanging_the_sides_turns_every_figure_round(
    a: list[float], b: list[float], paired: bool
) -> None:
    if paired:
        a, b = a[: len(b)], b[: len(a)]
    forth, back = (
        compare(a, b, paired=paired),
        compare(b, a, paired=paired),
    )
    assert forth.difference == pytest.approx(-known(back.difference), abs=1e-12)
    assert or_nan(forth.ci95_low) == pytest.approx(-or_nan(back.ci95_high), abs=1e-12, nan_ok=True)
    assert or_nan(forth.p_value) == pytest.approx(or_nan(back.p_value), nan_ok=True)
    assert forth.wilcoxon_p == back.wilcoxon_p
    assert known(forth.probability_of_superiority) == pytest.approx(
        1 - known(back.probability_of_superiority)
    )


@pytest.mark.parametrize("paired", [True, False])
def test_superiority_is_the_share_of_all_couples(paired: bool) -> None:
    comparison = compare([1.0, 2.0, 3.0], [0.0, 2.0, 4.0], paired=paired)
    # 1 beats 0; 2 beats 0 and ties with 2; 3 beats 0 and 2: 4.5 of 9
    assert comparison.probability_of_superiority == 0.5


@repeatable
@given(samples, samples)
def test_superiority_agrees_with_mann_and_whitney(a: list[float], b: list[float]) -> None:
    comparison = compare(a, b, paired=False)
    expected = stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))
    assert comparison.probability_of_superiority == pytest.approx(expected)


@repeatable
@given(pairs(min_size=3))
def test_correlation_agrees_with_scipy(couples: list[tuple[float, float]]) -> None:
    a, b = zip(*couples, strict=True)
    correlation = compare(a, b, paired=True).correlation
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert correlation is None
    else:
        assert correlation == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)


def test_one_pair_gives_a_difference_and_no_test() -> None:
    comparison = compare([0.75], [0.5], paired=True)
    assert comparison.difference == 0.25
    assert comparison.ci95_low is comparison.ci95_high is comparison.p_value is None
    assert comparison.correlation is None
    assert comparison.wilcoxon_p == 1.0
    assert comparison.probability_of_superiority == 1.0


def test_one_trial_on_a_side_gives_a_difference_and_no_test() -> None:
    comparison = compare([0.75], [0.25, 0.5], paired=False)
    assert comparison.difference == 0.375
    assert comparison.ci95_low is comparison.ci95_high is comparison.p_value is None


@pytest.mark.parametrize("paired", [True, False])
def test_no_trials_give_nothing(paired: bool) -> None:
    comparison = compare([], [], paired=paired)
    assert comparison.difference is comparison.p_value is comparison.wilcoxon_p is None
    assert comparison.probability_of_superiority is None
    assert (comparison.n_a, comparison.n_b) == (0, 0)


@pytest.mark.parametrize("paired", [True, False])
def test_identical_cells_do_not_differ(paired: bool) -> None:
    comparison = compare([0.1] * 3, [0.1] * 3, paired=paired)
    assert (comparison.difference, comparison.p_value) == (0.0, 1.0)
    assert comparison.ci95_low is comparison.ci95_high is None
    assert comparison.probability_of_superiority == 0.5


def test_equal_differences_tell_no_noise_and_so_no_p_value() -> None:
    # 0.3 - 0.2 and 0.8 - 0.7 are not the same float
    comparison = compare([0.3, 0.8, 0.5], [0.2, 0.7, 0.4], paired=True)
    assert comparison.difference == pytest.approx(0.1)
    assert comparison.ci95_low is comparison.ci95_high is comparison.p_value is None


def test_differences_that_are_equal_are_equal_floats() -> None:
    pairs_of_floats = [0.3, 0.8, 0.5, 0.25], [0.2, 0.7, 0.4, 0.5]
    assert len({a - b for a, b in zip(*pairs_of_floats, strict=True)}) > 2
    exact = differences(*pairs_of_floats)
    assert exact[0] == exact[1] == exact[2] == pytest.approx(0.1)
    assert exact[3] == -0.25


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="paired values: 2 and 1"):
        compare([0.1, 0.2], [0.1], paired=True)


def test_welch_interval_covers_the_truth_95_percent_of_the_time() -> None:
    generator = np.random.default_rng(0)
    a = generator.normal(0.95, 0.002, (SWEEPS, 10))
    b = generator.normal(0.93, 0.006, (SWEEPS, 10))
    intervals = (compare(x, y, paired=False) for x, y in zip(a, b, strict=True))
    covered = np.mean([covers(interval, 0.02) for interval in intervals])
    assert 0.945 <= covered <= 0.955


def test_hand_worked_example() -> None:
    # sorted: 0.005·4, 0.01·3, 0.03·2, 0.04·1, which may not fall below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_was_not_tested_does_not_count() -> None:
    assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert holm([None]) == [None]
    assert holm([]) == []


@repeatable
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_correction_keeps_the_order_and_the_bounds(p_values: list[float]) -> None:
    corrected = [known(p) for p in holm(p_values)]
    ranked = [after for _, after in sorted(zip(p_values, corrected, strict=True))]
    assert ranked == sorted(ranked)
    assert all(p <= after <= 1 for p, after in zip(p_values, corrected, strict=True))
    assert min(corrected) == pytest.approx(min(1, len(p_values) * min(p_values)))


def _signed_rank_p_by_enumeration(differences: Sequence[int]) -> float:
    nonzero = [difference for difference in differences if difference]
    ranks = stats.rankdata(np.abs(nonzero)) if nonzero else np.empty(0)
    half = ranks.sum() / 2
    signs = np.array(list(product([0, 1], repeat=len(nonzero))))
    observed = abs(ranks[np.array(nonzero) > 0].sum() - half) if nonzero else 0.0
    return float(np.mean(np.abs(signs @ ranks - half) >= observed - 1e-9))
