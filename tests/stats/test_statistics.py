"""Every figure against scipy, a published or hand-worked example, or a simulation."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mnist_ray.stats import statistics
from mnist_ray.stats.statistics import FloatArray

SWEEPS = 20_000

# Student's sleep data (Biometrika 6, 1908): hours gained with two drugs, ten patients.
FIRST_DRUG = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND_DRUG = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

# The same examples in every run, and no time limit: machines differ.
repeatable = settings(derandomize=True, deadline=None)
accuracies = st.integers(0, 1000).map(lambda correct: correct / 1000)
samples = st.lists(accuracies, min_size=2, max_size=12)


def pairs(min_size: int) -> st.SearchStrategy[list[tuple[float, float]]]:
    return st.lists(st.tuples(accuracies, accuracies), min_size=min_size, max_size=10)


@pytest.fixture(scope="module")
def sweeps() -> FloatArray:
    """Made-up accuracies less the truth, over their standard deviation: [SWEEPS, 100]."""
    return np.random.default_rng(6).standard_normal((SWEEPS, 100))


class TestSummary:
    def test_hand_worked_example(self) -> None:
        summary = statistics.summarize([1.0, 2.0, 3.0, 4.0])
        assert (summary.n, summary.mean) == (4, 2.5)
        assert summary.std == pytest.approx((5 / 3) ** 0.5)  # ddof 1
        assert summary.sem == pytest.approx((5 / 12) ** 0.5)
        assert summary.ci95_low == pytest.approx(2.5 - 3.182446 * (5 / 12) ** 0.5)
        assert summary.ci95_high == pytest.approx(2.5 + 3.182446 * (5 / 12) ** 0.5)
        assert (summary.minimum, summary.maximum) == (1.0, 4.0)

    @repeatable
    @given(samples.filter(lambda values: len(set(values)) > 1))
    def test_agrees_with_scipy(self, values: list[float]) -> None:
        summary = statistics.summarize(values)
        interval = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        assert summary.mean == pytest.approx(np.mean(values))
        assert summary.sem == pytest.approx(stats.sem(values))
        assert (summary.ci95_low, summary.ci95_high) == pytest.approx(tuple(interval))

    def test_one_trial_gives_its_value_and_no_uncertainty(self) -> None:
        assert statistics.summarize([0.9]) == statistics.Summary(
            1, 0.9, None, None, None, None, 0.9, 0.9
        )

    def test_no_trial_gives_nothing(self) -> None:
        assert statistics.summarize([]) == statistics.Summary(
            0, None, None, None, None, None, None, None
        )

    def test_equal_trials_have_a_spread_of_exactly_zero(self) -> None:
        summary = statistics.summarize([0.1] * 3)  # numpy's mean of these is not 0.1
        assert (summary.mean, summary.std, summary.sem) == (0.1, 0.0, 0.0)
        assert (summary.ci95_low, summary.ci95_high) == (0.1, 0.1)

    def test_intervals_are_not_clipped(self) -> None:
        summary = statistics.summarize([0.99, 1.0])
        assert summary.ci95_high is not None
        assert summary.ci95_high > 1

    @pytest.mark.parametrize("values", [[0.9, float("nan")], [float("inf")], [[0.9, 0.8]]])
    def test_values_that_are_no_sample_are_refused(self, values: list[float]) -> None:
        with pytest.raises(ValueError, match="must be finite and of one dimension"):
            statistics.summarize(values)

    @pytest.mark.parametrize("trials", [2, 3, 10])
    def test_interval_covers_the_truth_95_percent_of_the_time(self, trials: int) -> None:
        sweeps = np.random.default_rng(trials).normal(0.95, 0.004, (SWEEPS, trials))
        intervals = map(statistics.summarize, sweeps)
        covered = np.mean([_covers(interval, 0.95) for interval in intervals])
        assert 0.945 <= covered <= 0.955


class TestComparison:
    def test_paired_t_of_the_sleep_data(self) -> None:
        comparison = statistics.compare(FIRST_DRUG, SECOND_DRUG, paired=True)
        assert comparison.test == "paired t"
        assert comparison.difference == pytest.approx(-1.58)
        assert comparison.ci95_low == pytest.approx(-2.4598858, abs=1e-7)
        assert comparison.ci95_high == pytest.approx(-0.7001142, abs=1e-7)
        assert comparison.p_value == pytest.approx(0.002833, abs=1e-6)
        assert comparison.correlation == pytest.approx(0.7951702, abs=1e-7)
        assert (comparison.n_a, comparison.n_b) == (10, 10)

    def test_welch_of_the_sleep_data(self) -> None:
        comparison = statistics.compare(FIRST_DRUG, SECOND_DRUG, paired=False)
        assert comparison.test == "Welch"
        assert comparison.difference == pytest.approx(-1.58)
        assert comparison.ci95_low == pytest.approx(-3.3654832, abs=1e-7)
        assert comparison.ci95_high == pytest.approx(0.2054832, abs=1e-7)
        assert comparison.p_value == pytest.approx(0.07939, abs=1e-5)
        assert comparison.wilcoxon_p is None
        assert comparison.correlation is None

    @repeatable
    @given(samples, samples)
    def test_welch_agrees_with_scipy(self, a: list[float], b: list[float]) -> None:
        if len(set(a)) == 1 or len(set(b)) == 1:
            return  # scipy warns, and rounding decides
        comparison = statistics.compare(a, b, paired=False)
        expected = stats.ttest_ind(a, b, equal_var=False)
        assert comparison.p_value == pytest.approx(expected.pvalue)
        assert (comparison.ci95_low, comparison.ci95_high) == pytest.approx(
            tuple(expected.confidence_interval(0.95)), abs=1e-12
        )

    @repeatable
    @given(pairs(min_size=1))
    def test_wilcoxon_counts_every_assignment_of_signs(
        self, couples: list[tuple[float, float]]
    ) -> None:
        a, b = zip(*couples, strict=True)
        comparison = statistics.compare(a, b, paired=True)
        differences = [round(1000 * x) - round(1000 * y) for x, y in couples]
        assert comparison.wilcoxon_p == pytest.approx(_signed_rank_p_by_enumeration(differences))

    def test_wilcoxon_agrees_with_scipy_where_there_are_no_ties(self) -> None:
        for pairs_of_trials in (6, 20, 50, 80):
            a, b = np.random.default_rng(pairs_of_trials).normal(0.2, 1, (2, pairs_of_trials))
            expected = stats.wilcoxon(a, b).pvalue
            actual = statistics.compare(a, b, paired=True).wilcoxon_p
            assert actual == pytest.approx(expected)

    @repeatable
    @given(pairs(min_size=1).filter(lambda couples: len(couples) < 6))
    def test_wilcoxon_never_passes_below_six_pairs(
        self, couples: list[tuple[float, float]]
    ) -> None:
        a, b = zip(*couples, strict=True)
        wilcoxon_p = statistics.compare(a, b, paired=True).wilcoxon_p
        assert wilcoxon_p is not None
        assert wilcoxon_p > 0.05

    @repeatable
    @given(samples, samples, st.booleans())
    def test_exchanging_the_sides_turns_every_figure_round(
        self, a: list[float], b: list[float], paired: bool
    ) -> None:
        if paired:
            a, b = a[: len(b)], b[: len(a)]
        forth, back = (
            statistics.compare(a, b, paired=paired),
            statistics.compare(b, a, paired=paired),
        )
        assert forth.difference == pytest.approx(-_known(back.difference), abs=1e-12)
        assert _or_nan(forth.ci95_low) == pytest.approx(
            -_or_nan(back.ci95_high), abs=1e-12, nan_ok=True
        )
        assert _or_nan(forth.p_value) == pytest.approx(_or_nan(back.p_value), nan_ok=True)
        assert forth.wilcoxon_p == back.wilcoxon_p
        assert _known(forth.probability_of_superiority) == pytest.approx(
            1 - _known(back.probability_of_superiority)
        )

    @pytest.mark.parametrize("paired", [True, False])
    def test_superiority_is_the_share_of_all_couples(self, paired: bool) -> None:
        comparison = statistics.compare([1.0, 2.0, 3.0], [0.0, 2.0, 4.0], paired=paired)
        # 1 beats 0; 2 beats 0 and ties with 2; 3 beats 0 and 2: 4.5 of 9
        assert comparison.probability_of_superiority == 0.5

    @repeatable
    @given(samples, samples)
    def test_superiority_agrees_with_mann_and_whitney(self, a: list[float], b: list[float]) -> None:
        comparison = statistics.compare(a, b, paired=False)
        expected = stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))
        assert comparison.probability_of_superiority == pytest.approx(expected)

    @repeatable
    @given(pairs(min_size=3))
    def test_correlation_agrees_with_scipy(self, couples: list[tuple[float, float]]) -> None:
        a, b = zip(*couples, strict=True)
        correlation = statistics.compare(a, b, paired=True).correlation
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert correlation is None
        else:
            assert correlation == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)

    def test_one_pair_gives_a_difference_and_no_test(self) -> None:
        comparison = statistics.compare([0.75], [0.5], paired=True)
        assert comparison.difference == 0.25
        assert comparison.ci95_low is comparison.ci95_high is comparison.p_value is None
        assert comparison.correlation is None
        assert comparison.wilcoxon_p == 1.0
        assert comparison.probability_of_superiority == 1.0

    def test_one_trial_on_a_side_gives_a_difference_and_no_test(self) -> None:
        comparison = statistics.compare([0.75], [0.25, 0.5], paired=False)
        assert comparison.difference == 0.375
        assert comparison.ci95_low is comparison.ci95_high is comparison.p_value is None

    @pytest.mark.parametrize("paired", [True, False])
    def test_no_trials_give_nothing(self, paired: bool) -> None:
        comparison = statistics.compare([], [], paired=paired)
        assert comparison.difference is comparison.p_value is comparison.wilcoxon_p is None
        assert comparison.probability_of_superiority is None
        assert (comparison.n_a, comparison.n_b) == (0, 0)

    @pytest.mark.parametrize("paired", [True, False])
    def test_identical_cells_do_not_differ(self, paired: bool) -> None:
        comparison = statistics.compare([0.1] * 3, [0.1] * 3, paired=paired)
        assert (comparison.difference, comparison.p_value) == (0.0, 1.0)
        assert comparison.ci95_low is comparison.ci95_high is None
        assert comparison.probability_of_superiority == 0.5

    def test_equal_differences_tell_no_noise_and_so_no_p_value(self) -> None:
        # 0.3 - 0.2 and 0.8 - 0.7 are not the same float
        comparison = statistics.compare([0.3, 0.8, 0.5], [0.2, 0.7, 0.4], paired=True)
        assert comparison.difference == pytest.approx(0.1)
        assert comparison.ci95_low is comparison.ci95_high is comparison.p_value is None

    def test_differences_that_are_equal_are_equal_floats(self) -> None:
        pairs_of_floats = [0.3, 0.8, 0.5, 0.25], [0.2, 0.7, 0.4, 0.5]
        assert len({a - b for a, b in zip(*pairs_of_floats, strict=True)}) > 2
        differences = statistics.differences(*pairs_of_floats)
        assert differences[0] == differences[1] == differences[2] == pytest.approx(0.1)
        assert differences[3] == -0.25

    def test_pairs_must_match(self) -> None:
        with pytest.raises(ValueError, match="paired values: 2 and 1"):
            statistics.compare([0.1, 0.2], [0.1], paired=True)

    def test_welch_interval_covers_the_truth_95_percent_of_the_time(self) -> None:
        generator = np.random.default_rng(0)
        a = generator.normal(0.95, 0.002, (SWEEPS, 10))
        b = generator.normal(0.93, 0.006, (SWEEPS, 10))
        intervals = (statistics.compare(x, y, paired=False) for x, y in zip(a, b, strict=True))
        covered = np.mean([_covers(interval, 0.02) for interval in intervals])
        assert 0.945 <= covered <= 0.955


class TestHolm:
    def test_hand_worked_example(self) -> None:
        # sorted: 0.005·4, 0.01·3, 0.03·2, 0.04·1, which may not fall below the one before
        assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_what_was_not_tested_does_not_count(self) -> None:
        assert statistics.holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
        assert statistics.holm([None]) == [None]
        assert statistics.holm([]) == []

    @repeatable
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_correction_keeps_the_order_and_the_bounds(self, p_values: list[float]) -> None:
        corrected = [_known(p) for p in statistics.holm(p_values)]
        ranked = [after for _, after in sorted(zip(p_values, corrected, strict=True))]
        assert ranked == sorted(ranked)
        assert all(p <= after <= 1 for p, after in zip(p_values, corrected, strict=True))
        assert min(corrected) == pytest.approx(min(1, len(p_values) * min(p_values)))


class TestSpread:
    def test_hand_worked_example(self) -> None:
        # p̂ = 1, ½, ½, 0, so Σ p̂(1-p̂)·R/(R-1) = (¼+¼)·2 = 1; the accuracies are ¾ and ¼
        correct = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
        spread = statistics.spread(correct)
        assert (spread.trials, spread.examples) == (2, 4)
        assert spread.observed_std == pytest.approx(0.125**0.5)
        assert spread.independent_error_std == pytest.approx(1 / 4)
        assert spread.excess_variance == pytest.approx(4 / 3 * (1 / 8 - 1 / 16))
        assert spread.test_set_sem == pytest.approx((1 / 6) ** 0.5 / 2)

    def test_excess_may_be_negative(self) -> None:
        spread = statistics.spread(np.array([[1, 0], [0, 1]], dtype=bool))
        assert spread.observed_std == 0
        assert spread.excess_variance == pytest.approx(2 * (0 - 1 / 4))

    def test_counts_give_the_same_as_the_whole_table(self) -> None:
        correct = np.random.default_rng(1).random((7, 50)) < 0.8
        assert statistics.decompose_variance_from_counts(
            correct.sum(axis=0), correct.mean(axis=1)
        ) == statistics.spread(correct)

    @pytest.mark.parametrize("trials", [0, 1])
    def test_below_two_trials_there_is_no_spread(self, trials: int) -> None:
        assert statistics.spread(
            np.ones((trials, 3), dtype=bool)
        ) == statistics.VarianceDecomposition(trials, 3, None, None, None, None)

    def test_one_example_tells_nothing_of_the_distribution(self) -> None:
        spread = statistics.spread(np.array([[True], [False]]))
        assert spread.observed_std == pytest.approx(0.5**0.5)
        assert spread.independent_error_std == pytest.approx(0.5**0.5)
        assert spread.excess_variance is spread.test_set_sem is None

    def test_excess_variance_is_that_on_the_distribution_on_average(self) -> None:
        # Test sets of 5 examples and 3 trials, so that a wrong N/(N-1) or R/(R-1) would show.
        # A trial shifts its chance of being right by ±0.15 on every example alike: a variance
        # of 0.0225 on the distribution, whatever the test set.
        generator = np.random.default_rng(2304_01910)
        estimates = []
        for _ in range(SWEEPS):
            difficulty = generator.uniform(0.2, 0.8, 5)
            skill = generator.choice([-0.15, 0.15], (3, 1))
            spread = statistics.spread(generator.random((3, 5)) < difficulty + skill)
            estimates.append(_known(spread.excess_variance))
        standard_error = np.std(estimates) / SWEEPS**0.5
        assert standard_error < 0.0225 / 20
        assert np.mean(estimates) == pytest.approx(0.0225, abs=3 * standard_error)

    def test_independent_errors_explain_all_of_their_own_spread(self) -> None:
        generator = np.random.default_rng(5)
        spread = statistics.spread(generator.random((400, 500)) < generator.random(500))
        assert spread.observed_std == pytest.approx(_known(spread.independent_error_std), rel=0.1)

    @pytest.mark.parametrize(
        ("counts", "accuracies_of_trials", "message"),
        [
            ([], [0.5, 0.5], "correct_counts"),
            ([0.5], [0.5, 0.5], "correct_counts"),
            ([3, 0], [0.5, 0.5], "must be from 0 to the 2 trials"),
            ([2, 2], [0.5, 0.5], "must be of the same trials"),
        ],
    )
    def test_counts_that_do_not_fit_are_refused(
        self, counts: list[float], accuracies_of_trials: list[float], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            statistics.decompose_variance_from_counts(counts, accuracies_of_trials)

    @pytest.mark.parametrize("correct", [np.ones((2, 2)), np.ones(3, bool), np.ones((2, 0), bool)])
    def test_tables_that_are_none_are_refused(self, correct: NDArray[np.generic]) -> None:
        with pytest.raises(ValueError, match="correct"):
            statistics.spread(correct)


class TestAgreement:
    TRUTH = np.array([0, 1, 2, 2], dtype=np.uint8)
    PREDICTIONS = np.array([[0, 1, 1, 2], [0, 2, 1, 2], [0, 1, 0, 0]], dtype=np.uint8)

    def test_confusion_counts_truth_by_prediction_over_trials(self) -> None:
        matrix = statistics.confusion_matrix(self.TRUTH, self.PREDICTIONS, 3)
        assert matrix.dtype == np.int64
        assert matrix.tolist() == [[3, 0, 0], [0, 2, 1], [2, 2, 2]]

    def test_small_integers_do_not_overflow(self) -> None:
        truth = np.array([199], dtype=np.uint8)
        matrix = statistics.confusion_matrix(truth, truth[np.newaxis], 200)
        assert matrix[199, 199] == matrix.sum() == 1

    def test_hardest_are_those_that_most_trials_get_wrong(self) -> None:
        hardest = statistics.hardest(self.TRUTH, self.PREDICTIONS, 2)
        assert hardest.examples.tolist() == [2, 1]  # 1 and 3 are equally hard
        assert hardest.wrong.tolist() == [3, 1]
        assert hardest.votes.tolist() == [[1, 2, 0], [0, 2, 1]]

    def test_what_every_trial_gets_right_is_not_hard(self) -> None:
        hardest = statistics.hardest(self.TRUTH, self.PREDICTIONS, 99, classes=10)
        assert hardest.examples.tolist() == [2, 1, 3]
        assert hardest.votes.shape == (3, 10)

    def test_no_trials_have_no_confusion(self) -> None:
        nothing = np.empty((0, 4), dtype=np.uint8)
        assert statistics.confusion_matrix(self.TRUTH, nothing, 3).tolist() == [[0] * 3] * 3
        assert statistics.hardest(self.TRUTH, nothing, 5).examples.size == 0

    def test_classes_out_of_range_are_refused(self) -> None:
        with pytest.raises(ValueError, match="classes from 0 to 2: must be 0 to 1"):
            statistics.confusion_matrix(self.TRUTH, self.PREDICTIONS, 2)

    def test_shapes_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ValueError, match="truth"):
            statistics.hardest(self.TRUTH[:3], self.PREDICTIONS, 1)


class TestPrecision:
    @pytest.mark.parametrize("at_most", [15, 100])
    @pytest.mark.parametrize("at_least", [2, 3, 5, 10])
    def test_rule_covers_the_truth_where_naive_stopping_does_not(
        self, sweeps: FloatArray, at_least: int, at_most: int
    ) -> None:
        sweeps = sweeps[:, :at_most]
        prefixes = statistics.precision_half_widths(sweeps, at_most=at_most)
        rule, naive = [], []
        for oracle in (1, 3, 10, 15, 20, 30, 50, 80, 120):
            goal = 1.96 / oracle**0.5
            stops = prefixes.first_within(goal, at_least)
            rule.append(_coverage(sweeps, prefixes.own, stops))
            stops = _first_within(prefixes.plain, goal, at_least)
            naive.append(_coverage(sweeps, prefixes.plain, stops))
        assert min(rule) >= 0.945
        assert min(naive) < 0.945

    @pytest.mark.parametrize("at_least", [2, 5])
    def test_rule_takes_few_trials_more_than_one_who_knew_the_spread(
        self, sweeps: FloatArray, at_least: int
    ) -> None:
        prefixes = statistics.precision_half_widths(sweeps, at_most=100)
        for oracle in (5, 10, 20, 50, 80):
            stops = prefixes.first_within(1.96 / oracle**0.5, at_least)
            assert oracle < stops.mean() < oracle + 6

    @pytest.mark.parametrize(("at_least", "at_most", "goal"), [(2, 100, 0.6), (5, 20, 0.4)])
    def test_interval_is_that_of_the_simulated_rule(
        self, sweeps: FloatArray, at_least: int, at_most: int, goal: float
    ) -> None:
        prefixes = statistics.precision_half_widths(sweeps[:200, :at_most], at_most=at_most)
        stops = prefixes.first_within(goal, at_least)
        for sweep, n, own in zip(sweeps, stops, prefixes.own, strict=False):
            interval = statistics.precision_interval(
                sweep, half_width=goal, at_least=at_least, at_most=at_most
            )
            assert interval.n == n
            assert interval.mean == pytest.approx(sweep[:n].mean())
            assert interval.ci95_high == pytest.approx(sweep[:n].mean() + own[n - 1])
            assert interval.ci95_low == pytest.approx(sweep[:n].mean() - own[n - 1])

    def test_hand_worked_example(self) -> None:
        # std 1, n = 5: plain t(4) = 2.776445, the rule's t(0.4·4 = 1.6) = 5.517244
        values = np.array([1.0, -1.0, 1.0, -1.0, 0.0])
        interval = statistics.precision_interval(values, half_width=1.0, at_least=5, at_most=100)
        assert interval.n == 5
        assert interval.mean == pytest.approx(0.0)
        assert interval.plain_half_width == pytest.approx(2.776445 / 5**0.5, rel=1e-6)
        assert interval.ci95_high == pytest.approx(stats.t.ppf(0.975, 1.6) / 5**0.5)
        assert not interval.satisfied
        assert not interval.stopped

    @repeatable
    @given(
        st.lists(st.integers(9000, 9999), max_size=30),
        st.integers(2, 6),
        st.integers(6, 25),
        st.sampled_from([0.005, 0.02, 0.08]),
    )
    def test_later_trials_never_change_where_it_stopped(
        self, correct: list[int], at_least: int, at_most: int, goal: float
    ) -> None:
        values = [count / 10_000 for count in correct]
        looks = [
            statistics.precision_interval(
                values[:n], half_width=goal, at_least=at_least, at_most=at_most
            )
            for n in range(len(values) + 1)
        ]
        for n, look in enumerate(looks):
            assert look.n <= min(n, at_most)
            assert look.stopped or look.n == n
            if look.satisfied:
                assert look.n >= at_least
                assert _known(look.plain_half_width) <= goal
                assert (_known(look.ci95_high) - _known(look.ci95_low)) / 2 <= goal * (1 + 1e-9)
            if look.stopped:
                assert all(later == look for later in looks[n:])
                break

    def test_before_the_first_look_there_is_an_interval_but_no_decision(self) -> None:
        interval = statistics.precision_interval(
            [0.90, 0.91, 0.90], half_width=0.5, at_least=5, at_most=10
        )
        assert (interval.n, interval.satisfied, interval.stopped) == (3, False, False)
        assert interval.ci95_low is not None

    def test_none_and_one_trial(self) -> None:
        none, one = (
            statistics.precision_interval(values, half_width=0.1, at_least=2, at_most=3)
            for values in ([], [0.9])
        )
        assert (none.n, none.mean, none.stopped) == (0, None, False)
        assert (one.n, one.mean, one.stopped) == (1, 0.9, False)
        assert one.ci95_low is one.ci95_high is one.plain_half_width is None

    def test_without_a_choice_the_interval_is_the_plain_one(self) -> None:
        values = [0.90, 0.93, 0.91, 0.95]
        interval = statistics.precision_interval(values, half_width=0.001, at_least=4, at_most=4)
        summary = statistics.summarize(values)
        assert (interval.n, interval.satisfied, interval.stopped) == (4, False, True)
        assert interval.ci95_low == pytest.approx(summary.ci95_low)
        assert interval.ci95_high == pytest.approx(summary.ci95_high)

    def test_a_few_equal_values_do_not_stop_it(self) -> None:
        looks = [
            statistics.precision_interval([0.9] * n, half_width=0.01, at_least=2, at_most=100)
            for n in (2, 4, 5)
        ]
        assert [look.satisfied for look in looks] == [False, False, True]
        assert looks[0].ci95_low is None
        assert (looks[2].ci95_low, looks[2].ci95_high) == (0.9, 0.9)

    @pytest.mark.parametrize(
        ("half_width", "at_least", "at_most"),
        [(0.0, 2, 3), (float("nan"), 2, 3), (0.1, 1, 3), (0.1, 4, 3)],
    )
    def test_goals_that_make_no_sense_are_refused(
        self, half_width: float, at_least: int, at_most: int
    ) -> None:
        with pytest.raises(ValueError, match="must be half_width > 0"):
            statistics.precision_interval(
                [0.9], half_width=half_width, at_least=at_least, at_most=at_most
            )

    @repeatable
    @given(st.floats(0, 0.1), st.floats(0.001, 0.1))
    def test_fixed_replication_is_the_smallest_that_does(
        self, std: float, half_width: float
    ) -> None:
        n = statistics.fixed_replication(std, half_width)
        assert stats.t.ppf(0.975, n - 1) * std / n**0.5 <= half_width * (1 + 1e-9)
        if n > 2:
            assert stats.t.ppf(0.975, n - 2) * std / (n - 1) ** 0.5 > half_width * (1 - 1e-9)

    def test_fixed_replication_of_a_known_case(self) -> None:
        # t(17) = 2.1098: 2.1098 / √18 = 0.4973; t(16) = 2.1199: 2.1199 / √17 = 0.5141
        assert statistics.fixed_replication(1.0, 0.5) == 18
        assert statistics.fixed_replication(0.0, 0.5) == 2
        with pytest.raises(ValueError, match="half_width > 0"):
            statistics.fixed_replication(1.0, 0.0)


class TestRacing:
    @repeatable
    @given(pairs(min_size=2), st.integers(1, 8))
    def test_doubt_is_a_one_sided_paired_t_test(
        self, couples: list[tuple[float, float]], looks: int
    ) -> None:
        best, candidate = zip(*couples, strict=True)
        differences = {round(1000 * x) - round(1000 * y) for x, y in couples}
        if len(differences) == 1:
            return  # no t; see below
        p_value = stats.ttest_rel(best, candidate, alternative="greater").pvalue
        assert statistics.significantly_worse(candidate, best, looks=looks) == (
            p_value <= 0.05 / looks
        )

    def test_only_common_trials_are_held_against_each_other(self) -> None:
        best, candidate = [0.90, 0.93, 0.91, 0.94], [0.70, 0.74, 0.71]
        assert statistics.significantly_worse(candidate, best, looks=8)
        assert not statistics.significantly_worse(candidate[:1], best, looks=8)
        assert not statistics.significantly_worse(best, candidate, looks=8)

    def test_equal_differences_are_doubted_until_there_are_many(self) -> None:
        best, candidate = [0.3, 0.8, 0.5, 0.4, 0.6], [0.2, 0.7, 0.4, 0.3, 0.5]
        assert not statistics.significantly_worse(candidate[:4], best, looks=1)  # 2⁻⁴ > 0.05
        assert statistics.significantly_worse(candidate, best, looks=1)
        assert not statistics.significantly_worse(candidate, best, looks=2)  # 2⁻⁵ > 0.025

    def test_a_candidate_as_good_as_the_best_is_called_worse_within_the_level(self) -> None:
        generator = np.random.default_rng(7)
        wrongly = 0
        for best, candidate in generator.normal(0.95, 0.004, (2_000, 2, 10)):
            wrongly += any(
                statistics.significantly_worse(candidate[:n], best[:n], looks=8)
                for n in range(2, 10)
            )
        assert wrongly / 2_000 <= 0.05

    def test_the_clearly_worse_drop_out_and_the_rest_stay(self) -> None:
        scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
        assert statistics.race(scores, trials_each=5) == {0, 2}

    def test_nobody_drops_out_before_the_first_look_or_after_the_last_trial(self) -> None:
        assert statistics.race([], trials_each=5) == set()
        assert statistics.race([[], []], trials_each=5) == {0, 1}
        assert statistics.race([[0.9, 0.9, 0.9], [0.1, 0.1]], trials_each=2) == {0, 1}

    def test_a_race_waits_for_all_that_are_in_it(self) -> None:
        scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94]]
        assert statistics.race(scores, trials_each=5) == {0, 1, 2}

    def test_trials_that_ran_ahead_change_nothing(self) -> None:
        scores = [[0.95, 0.96, 0.95], [0.50, 0.53, 0.51], [0.94, 0.97, 0.95]]
        ahead = [scores[0], [*scores[1], 1.0, 1.0], [*scores[2], 0.1]]
        assert statistics.race(ahead, trials_each=5) == statistics.race(scores, trials_each=5)

    @pytest.mark.parametrize("arguments", [{"trials_each": 0}, {"trials_each": 5, "level": 1.0}])
    def test_races_that_make_no_sense_are_refused(self, arguments: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="trials_each="):
            statistics.race([[0.9]], **arguments)

    def test_a_race_finds_the_same_winner_for_half_the_trials(self) -> None:
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
        running = statistics.race(done, trials_each=trials_each)
    winner = max(sorted(running), key=lambda index: np.mean(done[index]))
    return winner, sum(map(len, done))


def _signed_rank_p_by_enumeration(differences: Sequence[int]) -> float:
    nonzero = [difference for difference in differences if difference]
    ranks = stats.rankdata(np.abs(nonzero)) if nonzero else np.empty(0)
    half = ranks.sum() / 2
    signs = np.array(list(product([0, 1], repeat=len(nonzero))))
    observed = abs(ranks[np.array(nonzero) > 0].sum() - half) if nonzero else 0.0
    return float(np.mean(np.abs(signs @ ranks - half) >= observed - 1e-9))


def _coverage(sweeps: FloatArray, half_widths: FloatArray, stops: NDArray[np.intp]) -> float:
    rows = np.arange(len(sweeps))
    means = np.cumsum(sweeps, axis=1)[rows, stops - 1] / stops
    return float(np.mean(np.abs(means) <= half_widths[rows, stops - 1]))


def _first_within(half_widths: FloatArray, goal: float, at_least: int) -> NDArray[np.intp]:
    enough = half_widths <= goal
    enough[:, : at_least - 1] = False
    enough[:, -1] = True
    first: NDArray[np.intp] = enough.argmax(axis=1) + 1
    return first


def _covers(interval: statistics.Summary | statistics.Comparison, truth: float) -> bool:
    return _known(interval.ci95_low) <= truth <= _known(interval.ci95_high)


def _known(figure: float | None) -> float:
    assert figure is not None
    return figure


def _or_nan(figure: float | None) -> float:
    return float("nan") if figure is None else figure
