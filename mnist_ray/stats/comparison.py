"""Differences of two means: intervals, tests and effect size.

The primary test uses all trials, and the pairing of those that both sides have:

- the paired t test where all are pairs;
- the partially overlapping samples t test for unequal variances where some are (Derrick, Russ,
  Toher & White, Journal of Modern Applied Statistical Methods 16(1), 2017, T_new2). Simulated with
  5 and 5, and 5 and 40 normal values, of which 5 % were missing, and correlations of 0 to 0.9, its
  interval covers 94.1 to 96.6 % of the time (docs/statistics.md has more);
- Welch's t test (Biometrika 34, 1947, with Satterthwaite's degrees of freedom) where fewer than
  two are: one pair shows no correlation.

There is no interval where all differences (without pairs: all values of each side) are equal: that
no spread was seen does not mean that there is none. The p-value is then 1 where the difference is
0, and None otherwise.

Wilcoxon's test uses the pairs alone. It leaves out differences of 0, and is 1 where none is left.
Up to 50 pairs it is exact, also with ties. It cannot be below 0.05 with fewer than six pairs.

The probability of superiority is taken over all n_a · n_b combinations, with pairs too (Vargha &
Delaney, Journal of Educational and Behavioral Statistics 25, 2000). It says how often one training
of A beats one of B, and trainings elsewhere share no seeds. Pairing makes the estimate of a
difference more precise; it does not change the effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike
from scipy import special

from mnist_ray.stats.summary import FloatArray, checked_sample, summarize, t_quantile

# Far below the step of any accuracy k/N, far above the rounding errors of their differences.
_BITS_OF_A_DIFFERENCE = 40
# Beyond this many pairs the normal approximation of the signed ranks is as good as exact.
_EXACT_SIGNED_RANKS_UP_TO = 50


@dataclass(frozen=True)
class Comparison:
    """How two cells A and B differ, in the unit of the values."""

    mean_difference: float | None
    """mean(A) - mean(B); None where one has no value."""
    ci95_low: float | None
    """Lower end of the primary test's interval; None without a standard error, or where it is 0."""
    ci95_high: float | None
    test: str
    """The primary test: "paired t", "partially overlapping t" or "Welch"."""
    p_value: float | None
    """Of the primary test, two-sided."""
    wilcoxon_p_value: float | None
    """Of the signed-rank test of the pairs, two-sided; None without pairs."""
    correlation: float | None
    """Pearson's, of the pairs; None below three pairs, or where a side of them is constant."""
    probability_of_superiority: float | None
    """P(A > B) + P(A = B) / 2 for a trial of A and a trial of B drawn independently."""
    trials_a: int
    trials_b: int
    pairs: int
    """How many trials A and B have in common."""


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
    return np.asarray(np.rint((sample_a - sample_b) / step) * step)


def compare(a: ArrayLike, b: ArrayLike, *, pairs: int) -> Comparison:
    """The difference of two means, with its interval, tests and effect size.

    Args:
        a: float64[n_a], the `pairs` first.
        b: float64[n_b], likewise.
        pairs: `a[i]` and `b[i]` are of the same trial for i < pairs.

    Raises:
        ValueError: not one-dimensional, not finite, or more pairs than values.
    """
    sample_a, sample_b = checked_sample(a), checked_sample(b)
    if not 0 <= pairs <= min(sample_a.size, sample_b.size):
        raise ValueError(f"pairs={pairs}: must be 0 to {min(sample_a.size, sample_b.size)}")
    paired_a, paired_b = sample_a[:pairs], sample_b[:pairs]
    test, (difference, low, high, p_value) = _primary_test(sample_a, sample_b, pairs)
    return Comparison(
        mean_difference=difference,
        ci95_low=low,
        ci95_high=high,
        test=test,
        p_value=p_value,
        wilcoxon_p_value=_signed_rank_p(differences(paired_a, paired_b)),
        correlation=_correlation(paired_a, paired_b) if pairs >= 3 else None,
        probability_of_superiority=_probability_of_superiority(sample_a, sample_b),
        trials_a=sample_a.size,
        trials_b=sample_b.size,
        pairs=pairs,
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


def _primary_test(a: FloatArray, b: FloatArray, pairs: int) -> tuple[str, _TestResult]:
    if 0 < pairs == a.size == b.size:
        paired = summarize(differences(a, b))
        return "paired t", _t_test(paired.mean, paired.sem, pairs - 1)
    if pairs < 2:
        return "Welch", _partially_overlapping_t(a, b, pairs=0)
    return "partially overlapping t", _partially_overlapping_t(a, b, pairs=pairs)


def _partially_overlapping_t(
    sample_a: FloatArray, sample_b: FloatArray, *, pairs: int
) -> _TestResult:
    """With 0 pairs this is Welch's t test, to the last bit."""
    a, b = summarize(sample_a), summarize(sample_b)
    correlation = _correlation(sample_a[:pairs], sample_b[:pairs]) or 0.0
    difference = None if a.mean is None or b.mean is None else a.mean - b.mean
    if a.sem is None or b.sem is None:
        return _t_test(difference, None, 0)
    independent_sem = float(np.hypot(a.sem, b.sem))
    if independent_sem == 0:
        return _t_test(difference, 0.0, 0)
    share = (a.sem / independent_sem) ** 2
    covariance = correlation * sqrt(share * (1 - share)) * pairs / sqrt(a.n * b.n)
    welch_degrees = 1 / (share**2 / (a.n - 1) + (1 - share) ** 2 / (b.n - 1))
    unpaired = (a.n + b.n - 2 * pairs) / (a.n + b.n)
    degrees = unpaired * welch_degrees + (1 - unpaired) * (pairs - 1)
    return _t_test(difference, independent_sem * sqrt(1 - 2 * covariance), degrees)


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
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    # Brought to a range of 1 first: squares of very small numbers would vanish.
    a, b = (a - a[0]) / np.ptp(a), (b - b[0]) / np.ptp(b)
    return float(np.corrcoef(a, b)[0, 1])


def _probability_of_superiority(a: FloatArray, b: FloatArray) -> float | None:
    if a.size == 0 or b.size == 0:
        return None
    # Mann & Whitney's U: scipy.stats.mannwhitneyu takes seven times as long, for a p-value too.
    ranks = scipy.stats.rankdata(np.concatenate([a, b]))[: a.size]
    u = float(ranks.sum()) - a.size * (a.size + 1) / 2
    return u / (a.size * b.size)
