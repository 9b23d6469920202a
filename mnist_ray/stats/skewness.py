"""Whether accuracies look left-skewed: then their intervals cover the mean less often than 95 %."""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mnist_ray.stats.summary import checked_sample

# The share of normal samples that look left-skewed by chance.
_FALSE_ALARM_RATE = 0.01
FEWEST_WITH_A_SHAPE = 4
"""Values below which nothing can be said: rounded to k/N, three often look skewed by chance."""

# The 1 % quantile of the sample skewness of n normal values, from 4 million samples each.
# D'Agostino's approximation is good enough from 8 values on.
_LOWEST_SKEWNESS = {4: -1.1204, 5: -1.3373, 6: -1.4293, 7: -1.4578}
# Rounded to k/N, values that differ by one or two images look skewed without being it.
_STEPS_BELOW_THE_MEDIAN = 3


def looks_left_skewed(accuracies: ArrayLike, *, step: float) -> bool:
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
        accuracies: float64[n]. Fewer than four never look skewed.
        step: the smallest difference that there can be, 1 / N for N test images.

    Raises:
        ValueError: not one-dimensional, or a value is not finite.
    """
    sample = checked_sample(accuracies)
    if sample.size < FEWEST_WITH_A_SHAPE or np.ptp(sample) == 0:
        return False
    depth = np.median(sample) - sample.min()
    if depth < (_STEPS_BELOW_THE_MEDIAN - 0.5) * step:
        return False
    # Brought to a range of 1 first: cubes of very small numbers would vanish.
    scaled = (sample - sample[0]) / np.ptp(sample)
    if sample.size in _LOWEST_SKEWNESS:
        return float(scipy.stats.skew(scaled)) < _LOWEST_SKEWNESS[sample.size]
    return float(scipy.stats.skewtest(scaled, alternative="less").pvalue) < _FALSE_ALARM_RATE
