"""Which share of the variance over trials each source of randomness has.

A share of variance, s²ᵢ / s², has the interval exp(log share ± t · e): t is the 97.5 % quantile of
Student's distribution, and e the standard deviation of log share over bootstrap resamples of the
trials' indices. A trial that varies one source has drawn it as the ordinary trial of the same index
has, so that the two are resampled together. This covers the true share more often than the
percentiles of the resamples do; docs/statistics.md has the figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

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
