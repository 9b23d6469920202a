"""From arrays to figures: means over trials, and how sure one may be of them.

Pure functions: arrays in, frozen dataclasses out, no input or output. Standard deviations have
ddof 1, intervals are two-sided at 95 % and not clipped, accuracies are shares from 0 to 1. Where
the data can't give a figure it is None, never NaN. Arguments that make no sense (a wrong shape, a
value that is not finite) raise ValueError: they are the caller's mistake, not the user's.

Every interval is conditional on the test set and on where its images lie: it says what more trials
would do, not what another test set would (for that, see `VarianceDecomposition.test_set_sem`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONFIDENCE = 0.95

PAIRED_T = "paired t"
WELCH = "Welch"

_UPPER_QUANTILE = (1 + CONFIDENCE) / 2
# Far below the step of any accuracy k/N, far above the rounding errors of their differences.
_BITS_OF_A_DIFFERENCE = 40
# Beyond this many pairs the normal approximation of the signed ranks is as good as exact.
_EXACT_SIGNED_RANKS_UP_TO = 50
# The rule's interval at n trials is Student's with this share of the usual n - 1 degrees of
# freedom: found by simulation, see `precision_half_widths`.
_SHARE_OF_DEGREES = 0.4
# A few values of a coarse accuracy may agree by chance: fewer than this many tell no spread.
_EQUAL_VALUES_THAT_TELL = 5


# Means


@dataclass(frozen=True)
class Summary:
    """A sample's mean and its uncertainty, in the unit of the values."""

    n: int
    mean: float | None
    """None without values."""
    std: float | None
    """Standard deviation, ddof 1; None below two values."""
    sem: float | None
    """Standard error of the mean, std / √n; None below two values."""
    ci95_low: float | None
    """Lower end of Student's t interval, not clipped; None below two values."""
    ci95_high: float | None
    minimum: float | None
    maximum: float | None


def summarize(values: ArrayLike) -> Summary:
    """Mean, spread and 95 % interval (Student's t, n - 1 degrees of freedom) of float64[n].

    Equal values have a standard deviation of exactly 0, and an interval without width.

    Raises:
        ValueError: not one-dimensional, or a value is not finite.
    """
    sample = _sample(values)
    n = sample.size
    if n == 0:
        return Summary(0, None, None, None, None, None, None, None)
    mean, minimum, maximum = _mean(sample), float(sample.min()), float(sample.max())
    if n == 1:
        return Summary(n, mean, None, None, None, None, minimum, maximum)
    std = _std(sample)
    sem = std / sqrt(n)
    half_width = _t_quantile(n - 1) * sem
    return Summary(n, mean, std, sem, mean - half_width, mean + half_width, minimum, maximum)


# Comparisons


@dataclass(frozen=True)
class Comparison:
    """How two cells A and B differ, in the unit of the values."""

    difference: float | None
    """mean(A) - mean(B); None where one has no value."""
    ci95_low: float | None
    """Lower end of the primary test's interval; None where the data tell no standard error."""
    ci95_high: float | None
    test: str
    """The primary test: `"paired t"` or `"Welch"`."""
    p_value: float | None
    """Of the primary test, two-sided."""
    wilcoxon_p: float | None
    """Of the signed-rank test, two-sided; None where A and B are not paired."""
    correlation: float | None
    """Pearson's, of the pairs; None unpaired, below three pairs, or where a side is constant."""
    probability_of_superiority: float | None
    """P(A > B) + P(A = B) / 2 for a trial of A and a trial of B drawn independently."""
    n_a: int
    n_b: int


def differences(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """a - b of each pair, without the rounding errors of a float: float64[n].

    0.3 - 0.2 and 0.8 - 0.7 are the same float here, so that ties are ties and equal differences
    have no spread. Exact to 40 bits of the largest value, or of 1 where all are smaller.

    Raises:
        ValueError: not one-dimensional, not finite, or of unequal lengths.
    """
    sample_a, sample_b = _sample(a), _sample(b)
    if sample_a.size != sample_b.size:
        raise ValueError(f"paired values: {sample_a.size} and {sample_b.size}, must be as many")
    # At least 1, so that accuracies have one step, whatever trials are added.
    largest = max(np.abs(sample_a).max(initial=1.0), np.abs(sample_b).max(initial=1.0))
    step = np.ldexp(1.0, int(np.frexp(largest)[1]) - _BITS_OF_A_DIFFERENCE)
    rounded: FloatArray = np.rint((sample_a - sample_b) / step) * step
    return rounded


def compare(a: ArrayLike, b: ArrayLike, *, paired: bool) -> Comparison:
    """The difference of two means, with its interval, tests and effect size.

    Args:
        a: float64[n_a], in trial order where paired.
        b: float64[n_b]; where paired, `b[i]` is of the same trial as `a[i]`.
        paired: take the paired t test and Wilcoxon's; otherwise Welch's (Biometrika 34, 1947, with
            Satterthwaite's degrees of freedom).

    Where there are too few values, or all differences (unpaired: all values of either side) are
    equal, nothing tells the size of the noise: the interval is None, and so is the p-value, except
    that it is 1 where the difference is 0. Wilcoxon's leaves out differences of 0 and is 1 where
    nothing remains; up to 50 pairs it is exact, with ties too, and so can't be below 0.05 with
    fewer than six pairs.

    The probability of superiority is taken over all n_a · n_b couples (Vargha & Delaney, Journal of
    Educational and Behavioral Statistics 25, 2000), in paired comparisons too: it tells how often
    one training of A beats one of B, and who trains them shares no seeds. Pairs sharpen the
    estimate of the difference; they do not change what the effect is, so the figure means the same
    in every comparison.

    Raises:
        ValueError: not one-dimensional, not finite, or paired with unequal lengths.
    """
    sample_a, sample_b = _sample(a), _sample(b)
    superiority = _probability_of_superiority(sample_a, sample_b)
    if not paired:
        difference, low, high, p_value = _welch(summarize(sample_a), summarize(sample_b))
        wilcoxon_p = correlation = None
    else:
        of_pairs = differences(sample_a, sample_b)
        difference, low, high, p_value = _paired_t(summarize(of_pairs))
        wilcoxon_p = _signed_rank_p(of_pairs)
        correlation = _correlation(sample_a, sample_b)
    return Comparison(
        difference=difference,
        ci95_low=low,
        ci95_high=high,
        test=PAIRED_T if paired else WELCH,
        p_value=p_value,
        wilcoxon_p=wilcoxon_p,
        correlation=correlation,
        probability_of_superiority=superiority,
        n_a=sample_a.size,
        n_b=sample_b.size,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for there being several (Holm, Scandinavian J. of Statistics 6, 1979).

    The k-th smallest (from 0) of m becomes the largest of p · (m - k) so far, at most 1. None stays
    None and does not count in m. The order is kept.
    """
    ascending = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(ascending):
        largest = max(largest, min(1.0, p * (len(ascending) - rank)))
        corrected[index] = largest
    return corrected


# The share of the test set in the spread


@dataclass(frozen=True)
class VarianceDecomposition:
    """How much of the spread of test accuracies over trials is only the test set's.

    All figures but the counts are None below two trials.
    """

    trials: int
    examples: int
    observed_std: float | None
    """Standard deviation of the accuracies over trials, ddof 1."""
    independent_error_std: float | None
    """What it would be if trials erred on each example independently."""
    excess_variance: float | None
    """Estimated variance of the accuracies on the whole distribution that the test set was drawn
    from. Unbiased, hence below 0 at times. None below two examples."""
    test_set_sem: float | None
    """Standard error of the mean accuracy from there being only so many test examples: the part
    that more trials never shrink. None below two examples."""


def spread(correct: ArrayLike) -> VarianceDecomposition:
    """The decomposition of the spread, from bool[trials, examples]: which were right.

    See `decompose_variance_from_counts`, which gives the formulas and needs less memory.

    Raises:
        ValueError: not a two-dimensional array of bool, or no examples.
    """
    right = np.asarray(correct)
    if right.ndim != 2 or right.dtype != np.bool_:
        raise ValueError(f"correct: {right.dtype}{right.shape}, not bool[trials, examples]")
    return decompose_variance_from_counts(right.sum(axis=0, dtype=np.int64), _row_means(right))


def decompose_variance_from_counts(
    correct_counts: ArrayLike, accuracies: ArrayLike
) -> VarianceDecomposition:
    """The decomposition of the spread, from sums over trials and over examples.

    With R trials, N examples and p̂ᵢ the share of trials that are right on example i:

    - independent errors make a standard deviation of √(Σ p̂ᵢ(1 - p̂ᵢ) · R/(R-1)) / N; the factor
      makes each variance unbiased, as ddof 1 does for the observed one;
    - the excess variance is N/(N-1) · (observed variance - that of independent errors), of which
      the mean over test sets is the variance on the distribution (arXiv 2304.01910, Theorem 2:
      the covariances of N(N-1) couples of examples are left, each that variance on average, and
      are divided by N²);
    - the test set's standard error is the standard deviation of p̂ᵢ over examples / √N. With few
      trials it is a little too large, since p̂ᵢ then holds noise of its own.

    Args:
        correct_counts: int[N], for each example the number of trials that are right.
        accuracies: float64[R], the accuracy of each trial.

    Raises:
        ValueError: a wrong shape, no examples, or counts that these accuracies can't have.
    """
    counts, observed = np.asarray(correct_counts), _sample(accuracies)
    _check_counts(counts, observed)
    trials, examples = observed.size, counts.size
    if trials < 2:
        return VarianceDecomposition(trials, examples, None, None, None, None)
    shares = counts / trials
    independent_variance = (
        float((shares * (1 - shares)).sum()) * trials / (trials - 1) / examples**2
    )
    observed_std = _std(observed)
    excess = test_set_sem = None
    if examples > 1:
        excess = (observed_std**2 - independent_variance) * examples / (examples - 1)
        test_set_sem = _std(shares) / sqrt(examples)
    return VarianceDecomposition(
        trials=trials,
        examples=examples,
        observed_std=observed_std,
        independent_error_std=sqrt(independent_variance),
        excess_variance=excess,
        test_set_sem=test_set_sem,
    )


# Agreement of the trials


def confusion_matrix(truth: ArrayLike, predictions: ArrayLike, classes: int) -> IntArray:
    """How often each class was taken for each, summed over trials: int64[classes, classes].

    Rows are the truth, columns the predictions.

    Args:
        truth: int[examples], from 0 to classes - 1.
        predictions: int[trials, examples], likewise.
        classes: how many there are.

    Raises:
        ValueError: shapes that don't fit, or a class out of range.
    """
    labels, votes = _labels(truth, predictions)
    _check_classes(labels, votes, classes)
    matrix = np.zeros(classes * classes, dtype=np.int64)
    row_starts = labels * classes
    for trial in votes:  # one at a time: all at once would take 8 bytes for each prediction
        matrix += np.bincount(row_starts + trial.astype(np.int64), minlength=classes * classes)
    return matrix.reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class Hardest:
    """The examples that most trials get wrong, the hardest first; k of them."""

    examples: IntArray
    """int64[k]: their indices in the test set."""
    wrong: IntArray
    """int64[k]: how many trials are wrong."""
    votes: IntArray
    """int64[k, classes]: how many trials say each class."""


def hardest(
    truth: ArrayLike, predictions: ArrayLike, count: int, *, classes: int | None = None
) -> Hardest:
    """At most `count` examples by the number of trials that get them wrong, at least one.

    Among equally hard ones the smaller index comes first.

    Args:
        truth: int[examples].
        predictions: int[trials, examples].
        count: how many at most.
        classes: the width of `votes`; by default as many as are seen.

    Raises:
        ValueError: shapes that don't fit, or a class out of range.
    """
    labels, votes = _labels(truth, predictions)
    if classes is None:
        classes = 1 + max(int(part.max(initial=0)) for part in (labels, votes))
    _check_classes(labels, votes, classes)
    wrong = np.zeros(labels.size, dtype=np.int64)
    for trial in votes:
        wrong += trial != labels
    order = np.argsort(-wrong, kind="stable")[: max(count, 0)]
    chosen = order[wrong[order] > 0]
    return Hardest(
        examples=chosen.astype(np.int64),
        wrong=wrong[chosen],
        votes=(votes[:, chosen, np.newaxis] == np.arange(classes)).sum(axis=0, dtype=np.int64),
    )


# Replication to a precision


@dataclass(frozen=True)
class SequentialInterval:
    """Where replication to a precision stands, or where it stopped."""

    n: int
    """How many trials, from the first, it rests on."""
    mean: float | None
    ci95_low: float | None
    """Lower end of the rule's own interval; None where the trials tell no spread yet."""
    ci95_high: float | None
    satisfied: bool
    """Both half-widths are at most the one asked for."""
    stopped: bool
    """No more trials are wanted: satisfied, or there are `at_most`."""
    plain_half_width: float | None
    """Of Student's t interval, which takes no account of the looking; None below two trials."""


@dataclass(frozen=True, eq=False)
class PrefixHalfWidths:
    """Half-widths after 1, 2, 3 … trials, float64[..., trials]; ∞ where there is no spread yet."""

    own: FloatArray
    """Of the sequential rule's interval."""
    plain: FloatArray
    """Of Student's t interval."""

    def first_within(self, half_width: float, at_least: int) -> NDArray[np.intp]:
        """The first number of trials where both are narrow enough, else that of all: intp[...]."""
        enough = np.maximum(self.own, self.plain) <= half_width
        enough[..., : at_least - 1] = False
        enough[..., -1] = True
        first: NDArray[np.intp] = enough.argmax(axis=-1) + 1
        return first


def precision_half_widths(values: ArrayLike, *, at_most: int) -> PrefixHalfWidths:
    """Half-widths of the sequential rule's and of Student's interval for each prefix.

    Looking after every trial favours stopping where the spread happens to look small, so that a
    plain interval covers the truth too seldom (for a smallest number of trials of 2, 3, 5, 10: down
    to 88, 90, 92, 93.5 %). The rule takes the quantile of Student's t with 0.4 · (n - 1) degrees of
    freedom in place of n - 1: very wide after two trials, 1.9 % wider than the plain one after a
    hundred. It is the procedure of Chow & Robbins (Annals of Mathematical Statistics 36, 1965) with
    a stricter quantile. For normal values that covers the truth at least 94.9 % of the time with
    at most 100 trials, whatever the smallest number (at least 94.6 % with at most 15), and takes
    about five trials more than would one who knew the standard deviation.

    After `at_most` trials there is nothing left to decide and the interval is the plain one; only
    those sweeps come so far whose spread does not look small.

    Args:
        values: float64[..., trials] in trial order, not more than `at_most`.
        at_most: the number of trials at which replication stops in any case.

    Raises:
        ValueError: a value is not finite, or there are none, or more than `at_most`.
    """
    sweeps = np.asarray(values, dtype=np.float64)
    trials = sweeps.shape[-1]
    if not 1 <= trials <= at_most or not np.isfinite(sweeps).all():
        raise ValueError(f"values: must be finite and 1 to {at_most}, but are {trials}")
    n = np.arange(1, trials + 1)
    degrees = np.maximum(n - 1, 1)  # 1 for n = 1 only keeps the arithmetic whole
    sem = _prefix_std(sweeps) / np.sqrt(n)
    plain = sem * special.stdtrit(degrees, _UPPER_QUANTILE)
    own = sem * special.stdtrit(_SHARE_OF_DEGREES * degrees, _UPPER_QUANTILE)
    own[(sem == 0) & (n < _EQUAL_VALUES_THAT_TELL)] = np.inf
    own[..., n == at_most] = plain[..., n == at_most]
    own[..., 0] = plain[..., 0] = np.inf
    return PrefixHalfWidths(own=own, plain=plain)


def precision_interval(
    values: ArrayLike, *, half_width: float, at_least: int, at_most: int
) -> SequentialInterval:
    """Whether the mean is known to ± `half_width` yet, and its interval by a rule that may look.

    Prefixes of `at_least`, then one more trial each, are looked at in turn; the first where both
    the rule's own interval and the plain one are narrow enough ends it, and later values are not
    used: who finished first, and how many ran at once, changes nothing. See
    `precision_half_widths` for the rule. For a paired difference give `differences(a, b)`.

    Values that all agree count as no spread only from the fifth on: fewer may agree by chance
    where there are few test images. Coverage was simulated with normal values, also in steps of up
    to half a standard deviation; a long tail to one side costs something (Gumbel's: 93.6 %, where
    naive stopping covers 86 to 91 %).

    Args:
        values: float64[n] in trial order, n may be 0.
        half_width: the goal, in the unit of the values.
        at_least: trials before the first look, 2 or more.
        at_most: trials at which it ends in any case.

    Raises:
        ValueError: not one-dimensional, not finite, half_width ≤ 0 or not 2 ≤ at_least ≤ at_most.
    """
    if not (half_width > 0 and 2 <= at_least <= at_most):
        raise ValueError(
            f"half_width={half_width}, at_least={at_least}, at_most={at_most}: must be "
            "half_width > 0 and 2 <= at_least <= at_most"
        )
    sample = _sample(values)[:at_most]
    if sample.size == 0:
        return SequentialInterval(0, None, None, None, False, False, None)
    prefixes = precision_half_widths(sample, at_most=at_most)
    n = int(prefixes.first_within(half_width, at_least))
    mean = _mean(sample[:n])
    own, plain = float(prefixes.own[n - 1]), float(prefixes.plain[n - 1])
    satisfied = n >= at_least and max(own, plain) <= half_width
    return SequentialInterval(
        n=n,
        mean=mean,
        ci95_low=mean - own if np.isfinite(own) else None,
        ci95_high=mean + own if np.isfinite(own) else None,
        satisfied=satisfied,
        stopped=satisfied or n == at_most,
        plain_half_width=plain if np.isfinite(plain) else None,
    )


def fixed_replication(std: float, half_width: float) -> int:
    """How many trials replication of a fixed size would have needed for ± `half_width`.

    The smallest n ≥ 2 with t(0.975; n - 1) · std / √n ≤ half_width.

    Raises:
        ValueError: std < 0 or half_width ≤ 0, or either not finite.
    """
    if not (0 <= std < np.inf and 0 < half_width < np.inf):
        raise ValueError(f"std={std}, half_width={half_width}: must be std >= 0, half_width > 0")
    # Student's quantile exceeds the normal one, by so little that only a few steps remain.
    n = max(2, int((float(special.ndtri(_UPPER_QUANTILE)) * std / half_width) ** 2))
    while _t_quantile(n - 1) * std / sqrt(n) > half_width:
        n += 1
    return n


# Racing


def significantly_worse(
    candidate: ArrayLike, best: ArrayLike, *, looks: int, level: float = 0.05
) -> bool:
    """Whether the candidate's mean is below the best's, by a one-sided paired t test.

    The test is over the trials that both have (the common prefix), at `level / looks`: by
    Bonferroni's inequality, a candidate that is as good as the one it is held against is called
    worse in one of all looks with a probability of at most `level`. Where all differences are equal
    there is no t; then the sign test decides, whose p is 2⁻ⁿ.

    Args:
        candidate: float64[n], scores in trial order, higher is better.
        best: float64[m], likewise.
        looks: how often the question is to be asked at most.
        level: the error allowed over all looks.

    Returns:
        False too where there are fewer than two common trials.

    Raises:
        ValueError: not one-dimensional, not finite, looks < 1 or level not between 0 and 1.
    """
    if looks < 1 or not 0 < level < 1:
        raise ValueError(f"looks={looks}, level={level}: must be looks >= 1, 0 < level < 1")
    scores, ahead = _sample(candidate), _sample(best)
    common = min(scores.size, ahead.size)
    summary = summarize(differences(ahead[:common], scores[:common]))
    if summary.mean is None or summary.sem is None or summary.mean <= 0:
        return False
    p_value = 0.5**common
    if summary.sem > 0:
        p_value = float(special.stdtr(common - 1, -summary.mean / summary.sem))
    return p_value <= level / looks


def race(scores: Sequence[Sequence[float]], *, trials_each: int, level: float = 0.05) -> set[int]:
    """The indices of the configurations still in the race.

    The race is run again from its start: after each trial index from the second to the last but one
    that all survivors have completed, those that are worse beyond doubt than the survivor with the
    highest mean drop out. Scores of a configuration after it dropped out are not used, so that the
    result hangs on the order of trial indices alone. After the last trial nothing more can be
    saved, and nobody drops out.

    The correction is for `trials_each - 2` looks, not for the number of configurations, of which
    the luckiest is the best so far. Simulated searches (20 configurations, learning rates drawn
    evenly over four decades, true scores falling from 0.97 to 0.89 with the square of the decades
    from the best, noise of 0.002 to 0.008, half of its variance shared by equal trials) found the
    same winner as full replication in at least 95 of 100 at the default level, for 42 to 56 % of
    the trials with `trials_each` 10, 30 to 43 % with 20, 58 to 70 % with 5. With 2 nobody looks.

    Args:
        scores: of each configuration its scores in trial order, higher is better. One call holds
            one fixed set of configurations: what joins later may change who was best.
        trials_each: how many trials a configuration gets that stays in.
        level: the error allowed for each configuration over all looks.

    Raises:
        ValueError: a score is not finite (leave a configuration with failed trials out),
            trials_each < 1, or level not between 0 and 1.
    """
    if trials_each < 1 or not 0 < level < 1:
        raise ValueError(f"trials_each={trials_each}, level={level}: must be >= 1, in (0, 1)")
    samples = [_sample(own) for own in scores]
    survivors = set(range(len(samples)))
    for trials in range(2, trials_each):
        if any(samples[index].size < trials for index in survivors):
            break
        means = {index: float(samples[index][:trials].mean()) for index in sorted(survivors)}
        best = max(means, key=means.__getitem__, default=-1)
        survivors -= {
            index
            for index in survivors
            if significantly_worse(
                samples[index][:trials],
                samples[best][:trials],
                looks=trials_each - 2,
                level=level,
            )
        }
    return survivors


# What the above share


def _sample(values: ArrayLike) -> FloatArray:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError(f"values: must be finite and of one dimension, not {values!r}")
    return sample


def _mean(sample: FloatArray) -> float:
    """Mean of at least one value; without rounding error for equal ones."""
    return float(sample[0] + (sample - sample[0]).mean())


def _std(sample: FloatArray) -> float:
    """Standard deviation, ddof 1, of at least two values; exactly 0 for equal ones."""
    return float((sample - sample[0]).std(ddof=1))


def _prefix_std(sweeps: FloatArray) -> FloatArray:
    """Standard deviation (ddof 1) of every prefix along the last axis; 0 for the first."""
    deviations = sweeps - sweeps[..., :1]
    n = np.arange(1, sweeps.shape[-1] + 1)
    # Helmert's recursion adds squares only: sums of squares less squared sums would cancel.
    sums = np.cumsum(deviations, axis=-1)
    steps = deviations[..., 1:] - sums[..., :-1] / n[:-1]
    squares = np.zeros_like(deviations)
    squares[..., 1:] = np.cumsum(steps**2 * n[:-1] / n[1:], axis=-1)
    result: FloatArray = np.sqrt(squares / np.maximum(n - 1, 1))
    return result


def _t_quantile(degrees: float) -> float:
    return float(special.stdtrit(degrees, _UPPER_QUANTILE))


_TestResult = tuple[float | None, float | None, float | None, float | None]
"""Difference, lower and upper end of its interval, p-value."""


def _paired_t(differences: Summary) -> _TestResult:
    return _t_test(differences.mean, differences.sem, differences.n - 1)


def _welch(a: Summary, b: Summary) -> _TestResult:
    if a.mean is None or b.mean is None:
        return None, None, None, None
    difference = a.mean - b.mean
    if a.sem is None or b.sem is None:
        return _t_test(difference, None, 0)
    sem = float(np.hypot(a.sem, b.sem))
    share = (a.sem / sem) ** 2 if sem > 0 else 1.0
    degrees = 1 / (share**2 / (a.n - 1) + (1 - share) ** 2 / (b.n - 1))
    return _t_test(difference, sem, degrees)


def _t_test(difference: float | None, sem: float | None, degrees: float) -> _TestResult:
    if difference is None or sem is None:
        return difference, None, None, None
    if sem == 0:
        return difference, None, None, 1.0 if difference == 0 else None
    half_width = _t_quantile(degrees) * sem
    p_value = 2 * float(special.stdtr(degrees, -abs(difference) / sem))
    return difference, difference - half_width, difference + half_width, p_value


def _signed_rank_p(differences: FloatArray) -> float | None:
    """Wilcoxon's two-sided p-value, exact given the ties; None without pairs."""
    if differences.size == 0:
        return None
    nonzero = differences[differences != 0]
    if nonzero.size > _EXACT_SIGNED_RANKS_UP_TO:
        return float(scipy.stats.wilcoxon(nonzero).pvalue)
    # Ranks of ties are halves; twice the ranks are whole numbers and can be counted.
    ranks = np.rint(2 * scipy.stats.rankdata(np.abs(nonzero))).astype(np.int64)
    positive = int(ranks[nonzero > 0].sum())
    smaller = min(positive, int(ranks.sum()) - positive)
    probabilities = np.zeros(int(ranks.sum()) + 1)
    probabilities[0] = 1.0
    for rank in ranks:  # each difference is above or below 0 with equal probability
        probabilities /= 2
        probabilities[rank:] += probabilities[:-rank].copy()
    return min(1.0, 2 * float(probabilities[: smaller + 1].sum()))


def _correlation(a: FloatArray, b: FloatArray) -> float | None:
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    # Brought to a range of 1 first: squares of very small numbers would vanish.
    a, b = (a - a[0]) / np.ptp(a), (b - b[0]) / np.ptp(b)
    return float(np.corrcoef(a, b)[0, 1])


def _probability_of_superiority(a: FloatArray, b: FloatArray) -> float | None:
    """Mann & Whitney's U over the number of couples: from ranks, which needs no such table."""
    if a.size == 0 or b.size == 0:
        return None
    ranks = scipy.stats.rankdata(np.concatenate([a, b]))[: a.size]
    u = float(ranks.sum()) - a.size * (a.size + 1) / 2
    return u / (a.size * b.size)


def _row_means(right: NDArray[np.bool_]) -> FloatArray:
    if right.shape[1] == 0:
        raise ValueError("correct: must have examples")
    means: FloatArray = right.mean(axis=1)
    return means


def _check_counts(counts: NDArray[np.generic], accuracies: FloatArray) -> None:
    if counts.ndim != 1 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"correct_counts: {counts.dtype}{counts.shape}, not int[examples]")
    total = counts.astype(np.float64)
    if total.min() < 0 or total.max() > accuracies.size:
        raise ValueError(f"correct_counts: must be from 0 to the {accuracies.size} trials")
    if not np.isclose(total.mean(), accuracies.sum(), rtol=1e-6, atol=1e-6):
        raise ValueError("correct_counts and accuracies: must be of the same trials")


def _labels(truth: ArrayLike, predictions: ArrayLike) -> tuple[IntArray, NDArray[np.integer]]:
    """Truth as int64, which small integers would overflow; predictions, being many, as they are."""
    labels, votes = np.asarray(truth), np.asarray(predictions)
    if labels.ndim != 1 or votes.ndim != 2 or votes.shape[1] != labels.size:
        raise ValueError(
            f"truth {labels.shape}, predictions {votes.shape}: must be [examples], "
            "[trials, examples]"
        )
    if not all(np.issubdtype(part.dtype, np.integer) for part in (labels, votes)):
        raise ValueError(f"truth {labels.dtype}, predictions {votes.dtype}: must be integers")
    return labels.astype(np.int64), votes


def _check_classes(labels: IntArray, votes: NDArray[np.integer], classes: int) -> None:
    for part in (labels, votes):
        if part.size and (part.min() < 0 or part.max() >= classes):
            raise ValueError(
                f"classes from {part.min()} to {part.max()}: must be 0 to {classes - 1}"
            )
