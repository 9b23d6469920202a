"""Means over trials and their confidence intervals."""

from dataclasses import dataclass
from math import sqrt

from numpy.typing import ArrayLike

from mnist_ray.stats.samples import checked_sample, sample_mean, sample_std, t_quantile


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

    @property
    def no_spread_seen(self) -> bool:
        """Whether there are two values or more, all equal."""
        return self.std == 0


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
    if n == 1:
        return Summary(n, mean, None, None, None, None, minimum, maximum)
    std = sample_std(sample)
    sem = std / sqrt(n)
    if sem == 0:
        return Summary(n, mean, std, sem, None, None, minimum, maximum)
    half_width = t_quantile(n - 1) * sem
    return Summary(n, mean, std, sem, mean - half_width, mean + half_width, minimum, maximum)
