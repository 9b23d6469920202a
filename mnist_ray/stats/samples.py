"""What the statistics share: checked samples, their moments, Student's quantiles."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONFIDENCE = 0.95
UPPER_QUANTILE = (1 + CONFIDENCE) / 2


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
