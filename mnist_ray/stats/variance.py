"""Where the variance over trials comes from: sources of randomness, and the test set.

A share of variance, s²ᵢ / s², has the interval exp(log share ± t · e): t is the 97.5 % quantile of
Student's distribution, and e the standard deviation of log share over bootstrap resamples of the
trials' indices. A trial that varies one source has drawn it as the ordinary trial of the same index
has, so that the two are resampled together. This covers the true share more often than the
percentiles of the resamples do; docs/statistics.md has the figures.

How much is due to the test set alone: with R trials, N examples and p̂ᵢ the share of trials that are
right on example i,

- Independent errors give a standard deviation of √(Σ p̂ᵢ(1 - p̂ᵢ) · R/(R-1)) / N. The factor R/(R-1)
  makes each variance unbiased, as ddof 1 does for the observed one.
- The excess variance is N/(N-1) · (observed variance - that of independent errors). Its mean over
  test sets is the variance on the distribution (arXiv 2304.01910, Theorem 2): what is left are the
  covariances of N(N-1) pairs of examples, each equal to that variance on average, divided by N².
- The test set's standard error is the standard deviation of p̂ᵢ over examples, divided by √N. With
  few trials it is slightly too large, since p̂ᵢ then has noise of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_ray.stats.summary import FloatArray, checked_sample, sample_std, t_quantile

_RESAMPLES = 2000
_ENTRIES_AT_ONCE = 1_000_000
"""Of resamples times trials, so that many trials do not need much memory."""

Accuracies = Mapping[int, float]
"""By the index of the trial."""


@dataclass(frozen=True)
class Share:
    """A share of the variance of ordinary trials with its 95 % interval."""

    value: float
    ci95_low: float | None
    """None where the value is 0 or below three trials."""
    ci95_high: float | None
    largest_rate: float | None = None
    """In which share of the resamples it is the largest; None where it is not compared."""


@dataclass(frozen=True)
class VarianceShares:
    """What of the variance of ordinary trials the sources have, each by itself."""

    sources: Mapping[str, Share]
    together: Share | None
    """The sum over the sources that ordinary trials vary; None without one."""


def variance_shares(
    ordinary: Accuracies, varied: Mapping[str, Accuracies], *, summed: frozenset[str]
) -> VarianceShares | None:
    """Shares of the variance of `ordinary` accuracies; None where that has no spread.

    Args:
        ordinary: accuracies of the trials in which all sources vary.
        varied: by source, those of the trials in which it varies alone; at least two of each.
        summed: the sources that ordinary trials vary too.
    """
    if len(ordinary) < 2:
        return None
    # Sums depend on the order in their last bits.
    groups = [dict(sorted(group.items())) for group in (ordinary, *varied.values())]
    variances = np.array([sample_std(checked_sample([*group.values()])) ** 2 for group in groups])
    if not variances[0]:
        return None
    resampled = _resampled_variances(groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares, drawn = variances[1:] / variances[0], resampled[:, 1:] / resampled[:, :1]
    counted = np.array([source in summed for source in varied], bool)
    fewest = min(map(len, groups))
    largest = _largest_rates(resampled[:, 1:], counted)
    return VarianceShares(
        sources={
            source: _share(shares[i], drawn[:, i], fewest, largest_rate=largest[i])
            for i, source in enumerate(varied)
        },
        together=_share(shares[counted].sum(), drawn[:, counted].sum(axis=1), fewest)
        if counted.any()
        else None,
    )


def _share(value: float, drawn: FloatArray, n: int, *, largest_rate: float | None = None) -> Share:
    usable = drawn[np.isfinite(drawn) & (drawn > 0)]
    if value <= 0 or n < 3 or usable.size < _RESAMPLES // 2:
        return Share(float(value), None, None, largest_rate)
    error = t_quantile(n - 1) * float(np.log(usable).std())
    centre = log(value)
    return Share(float(value), exp(centre - error), exp(centre + error), largest_rate)


def _largest_rates(variances: FloatArray, counted: NDArray[np.bool_]) -> list[float | None]:
    """Of the counted columns, how often each is the largest; of the others, None."""
    if counted.sum() < 2:
        return [None] * len(counted)
    winners = np.where(counted, variances, -1.0).argmax(axis=1)
    rates = np.bincount(winners, minlength=len(counted)) / len(variances)
    return [float(rate) if counts else None for rate, counts in zip(rates, counted, strict=True)]


def _resampled_variances(groups: Sequence[Accuracies]) -> FloatArray:
    """The variance (ddof 1) of each group in each resample of the indices: [resamples, groups]."""
    indices = sorted({index for group in groups for index in group})
    present = np.array([[index in group for group in groups] for index in indices], float)
    centred = np.zeros_like(present)
    for column, group in enumerate(groups):
        mean = np.mean([*group.values()])
        centred[:, column] = [group[i] - mean if i in group else 0.0 for i in indices]
    rng = np.random.default_rng(0)
    size = len(indices)
    step = max(1, _ENTRIES_AT_ONCE // size)
    parts = []
    for start in range(0, _RESAMPLES, step):
        count = min(step, _RESAMPLES - start)
        times = rng.multinomial(size, np.full(size, 1 / size), size=count).astype(float)
        parts.append(_weighted_variances(times, present, centred))
    return np.concatenate(parts)


def _weighted_variances(times: FloatArray, present: FloatArray, values: FloatArray) -> FloatArray:
    """Variances of values [indices, groups], each taken so many `times` [resamples, indices]."""
    n = times @ present
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = times @ values**2 - (times @ values) ** 2 / n
        return np.maximum(squares, 0) / (n - 1)


@dataclass(frozen=True)
class VarianceDecomposition:
    """Below two trials all figures but the counts are None."""

    trials: int
    examples: int
    observed_std: float | None
    """Standard deviation of the accuracies over trials, ddof 1."""
    independent_error_std: float | None
    """What it would be if the trials' errors on each example were independent."""
    excess_variance: float | None
    """Estimated variance of the accuracies on the distribution that the test set was drawn from.
    Unbiased, and therefore sometimes negative. None below two examples."""
    test_set_sem: float | None
    """Standard error of the mean accuracy that comes from the size of the test set: the part that
    more trials never reduce. None below two examples."""


def decompose_variance(correct_counts: ArrayLike, accuracies: ArrayLike) -> VarianceDecomposition:
    """The decomposition of the variance, from sums over trials and over examples.

    Args:
        correct_counts: int[N], for each example the number of trials that are right.
        accuracies: float64[R], the accuracy of each trial.

    Raises:
        ValueError: a wrong shape, no examples, or counts that do not fit these accuracies.
    """
    counts, observed = np.asarray(correct_counts), checked_sample(accuracies)
    _check_counts(counts, observed)
    trials, examples = observed.size, counts.size
    if trials < 2:
        return VarianceDecomposition(trials, examples, None, None, None, None)
    shares = counts / trials
    spread = float((shares * (1 - shares)).sum())
    independent_variance = spread * trials / (trials - 1) / examples**2
    observed_std = sample_std(observed)
    excess = test_set_sem = None
    if examples > 1:
        excess = (observed_std**2 - independent_variance) * examples / (examples - 1)
        test_set_sem = sample_std(shares) / sqrt(examples)
    return VarianceDecomposition(
        trials, examples, observed_std, sqrt(independent_variance), excess, test_set_sem
    )


def _check_counts(counts: NDArray[np.generic], accuracies: FloatArray) -> None:
    if counts.ndim != 1 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"correct_counts: {counts.dtype}{counts.shape}, not int[examples]")
    total = counts.astype(np.float64)
    if total.min() < 0 or total.max() > accuracies.size:
        raise ValueError(f"correct_counts: must be from 0 to the {accuracies.size} trials")
    if not np.isclose(total.mean(), accuracies.sum(), rtol=1e-6, atol=1e-6):
        raise ValueError("correct_counts and accuracies: must be of the same trials")
