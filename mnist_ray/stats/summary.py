"""Means over trials and their confidence intervals, and what all statistics share."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UPPER_QUANTILE = 0.975
"""For two-sided 95 % intervals."""


def checked_sample(values: ArrayLike) -> FloatArray:
    """`values` as float64[n], n may be 0.

    Raises:
        ValueError: not one-dimensional, or a value is not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError(f"values: must be finite and of one dimension, not {values!r}")
    return sample


def sample_mean(sample: FloatArray) -> float:
    """Mean of at least one value; without rounding error where all are equal."""
    return float(sample[0] + (sample - sample[0]).mean())


def sample_std(sample: FloatArray) -> float:
    """Standard deviation, ddof 1, of at least two values; exactly 0 where all are equal."""
    return float((sample - sample[0]).std(ddof=1))


def t_quantile(degrees: float) -> float:
    """The 97.5 % quantile of Student's t, also for fractional degrees of freedom."""
    return float(special.stdtrit(degrees, UPPER_QUANTILE))


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
    """Lower end of Student's t interval, not clipped; None below two values and where all agree."""
    ci95_high: float | None
    minimum: float | None
    maximum: float | None


def summarize(values: ArrayLike) -> Summary:
    """Mean, spread and 95 % interval (Student's t, n - 1 degrees of freedom) of float64[n].

    Equal values have a standard deviation of exactly 0, and no interval: that no spread was seen
    does not mean that there is none.

    Raises:
        ValueError: not one-dimensional, or a value is not finite.
    """
    sample = checked_sample(values)
    n = sample.size
    if n == 0:
        return Summary(0, None, None, None, None, None, None, None)
    mean, minimum, maximum = sample_mean(sample), float(sample.min()), float(sample.max())
    std = sample_std(sample) if n > 1 else None
    sem = None if std is None else std / sqrt(n)
    if not sem:
        return Summary(n, mean, std, sem, None, None, minimum, maximum)
    half_width = t_quantile(n - 1) * sem
    return Summary(n, mean, std, sem, mean - half_width, mean + half_width, minimum, maximum)
