"""Means over trials, their intervals and whether these hold, and what all statistics share.

Standard deviations have ddof 1. Intervals are two-sided at 95 % and not clipped. Accuracies are
shares from 0 to 1. A figure that the data cannot give is None, never NaN. Arguments that make no
sense (a wrong shape, a value that is not finite) raise ValueError: they are the caller's mistake,
not the user's.

Every interval is conditional on the test set and on the placement of its images. It says what more
trials would show, not what another test set would (see `VarianceDecomposition.test_set_sem`).
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UPPER_QUANTILE = 0.975
"""For two-sided 95 % intervals."""

# The share of normal samples that look left-skewed by chance.
_FALSE_ALARM_RATE = 0.01
# Rounded to k/N, three values often look skewed by chance.
_FEWEST_WITH_A_SHAPE = 4
# The 1 % quantile of the sample skewness of n normal values, from 4 million samples each.
# D'Agostino's approximation is good enough from 8 values on.
_LOWEST_SKEWNESS = {4: -1.1204, 5: -1.3373, 6: -1.4293, 7: -1.4578}
# Rounded to k/N, values that differ by one or two images look skewed without being it.
_STEPS_BELOW_THE_MEDIAN = 3


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
    """A sample's mean and spread and their uncertainty, in the unit of the values."""

    n: int
    mean: float | None = None
    """None without values, as are minimum and maximum."""
    std: float | None = None
    """Standard deviation, ddof 1; None below two values."""
    sem: float | None = None
    """Standard error of the mean, std / √n; None below two values."""
    ci95_low: float | None = None
    """Lower end of Student's t interval, not clipped; None below two values and where all agree."""
    ci95_high: float | None = None
    std_ci95_low: float | None = None
    """Lower end of the standard deviation's interval; None as for `ci95_low`."""
    std_ci95_high: float | None = None
    minimum: float | None = None
    maximum: float | None = None


def summarize(values: ArrayLike) -> Summary:
    """Mean, spread and 95 % intervals of float64[n].

    The mean's is Student's t interval with n - 1 degrees of freedom. That of a standard deviation s
    is s √((n-1) / χ²) with the 97.5 % and 2.5 % quantiles of the chi-square distribution of n - 1
    degrees of freedom, for normal values. Equal values have a standard deviation of exactly 0, and
    no interval: that no spread was seen does not mean that there is none.

    Raises:
        ValueError: not one-dimensional, or a value is not finite.
    """
    sample = checked_sample(values)
    n = sample.size
    if n == 0:
        return Summary(0)
    mean, minimum, maximum = sample_mean(sample), float(sample.min()), float(sample.max())
    std = sample_std(sample) if n > 1 else None
    if not std:
        return Summary(n, mean, std, sem=std, minimum=minimum, maximum=maximum)
    sem = std / sqrt(n)
    half_width = t_quantile(n - 1) * sem
    # `chdtri` takes the probability above the quantile.
    upper, lower = special.chdtri(n - 1, [1 - UPPER_QUANTILE, UPPER_QUANTILE])
    return Summary(
        n,
        mean,
        std,
        sem,
        ci95_low=mean - half_width,
        ci95_high=mean + half_width,
        std_ci95_low=std * sqrt((n - 1) / upper),
        std_ci95_high=std * sqrt((n - 1) / lower),
        minimum=minimum,
        maximum=maximum,
    )


def looks_left_skewed(accuracies: ArrayLike, *, step: float) -> bool | None:
    """Whether the accuracies look left-skewed, or some of them are far below the others.

    The rule is the one-sided test of the sample skewness, which is also the best one against
    several outliers on one side (Ferguson, Proceedings of the Fourth Berkeley Symposium 1, 1961).
    From 8 values on its quantile is D'Agostino's (Biometrika 57, 1970), below that a simulated one.
    The lowest value has to be three steps or more below the median.

    Of normal samples 0.9 to 1.2 % look left-skewed; at most 1.3 % where they are rounded to steps
    of a fifth to three times their standard deviation. Where 5 % of the trials are bad, lower by 25
    standard deviations, the rule recognises 21 % of the samples of 5, 64 % of 20 and 92 % of 50. A
    bad trial that has not occurred yet cannot be seen.

    Args:
        accuracies: float64[n].
        step: the smallest difference that there can be, 1 / N for N test images.

    Returns:
        None for fewer than four.

    Raises:
        ValueError: not one-dimensional, or a value is not finite.
    """
    sample = checked_sample(accuracies)
    if sample.size < _FEWEST_WITH_A_SHAPE:
        return None
    if np.ptp(sample) == 0:
        return False
    depth = np.median(sample) - sample.min()
    if depth < (_STEPS_BELOW_THE_MEDIAN - 0.5) * step:
        return False
    # Brought to a range of 1 first: cubes of very small numbers would vanish.
    scaled = (sample - sample[0]) / np.ptp(sample)
    if sample.size in _LOWEST_SKEWNESS:
        return float(scipy.stats.skew(scaled)) < _LOWEST_SKEWNESS[sample.size]
    return float(scipy.stats.skewtest(scaled, alternative="less").pvalue) < _FALSE_ALARM_RATE
