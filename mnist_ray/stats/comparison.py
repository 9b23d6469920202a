"""Differences of two means: intervals, tests and effect size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike
from scipy import special

from mnist_ray.stats.samples import FloatArray, checked_sample, t_quantile
from mnist_ray.stats.summary import Summary, summarize

PAIRED_T = "paired t"
WELCH = "Welch"
# Far below the step of any accuracy k/N, far above the rounding errors of their differences.
_BITS_OF_A_DIFFERENCE = 40
# Beyond this many pairs the normal approximation of the signed ranks is as good as exact.
_EXACT_SIGNED_RANKS_UP_TO = 50


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
    sample_a, sample_b = checked_sample(a), checked_sample(b)
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
    sample_a, sample_b = checked_sample(a), checked_sample(b)
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
    half_width = t_quantile(degrees) * sem
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
