"""Racing: which configurations of a search are worth further trials."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from mnist_ray.stats.comparison import differences
from mnist_ray.stats.summary import FloatArray, checked_sample

_LEVEL = 0.05
"""The error allowed for each configuration over all looks of a race."""


def survivors(scores: Sequence[Sequence[float]], *, looks: int) -> set[int]:
    """The indices of the configurations that stay in a race after one of its looks.

    All but those whose mean is below the highest one by a one-sided paired t test at level
    0.05 / `looks`. By Bonferroni's inequality, a configuration that is as good as the best is
    called worse in any of the looks with a probability of at most 0.05. Where all differences are
    equal there is no t statistic, and the sign test decides, with p = 2⁻ⁿ. With fewer than two
    trials all stay. A race looks after each trial index from the second to the last but one, once
    all survivors of the look before have completed it: the result depends on the order of trial
    indices alone.

    The level is not corrected for the number of configurations,
    although the best so far is the luckiest of them. Searches were simulated with 20
    configurations: learning rates uniform over four decades, true scores falling from 0.97 to 0.89
    with the square of the decades from the best, noise of 0.002 to 0.008, half of its variance
    shared by equal trials. At least 95 % of them found the same winner as full replication. They
    took 42 to 56 % of its trials with 10 trials each, 30 to 43 % with 20, and 58 to 70 % with 5.

    Args:
        scores: for each configuration in the race its scores in trial order, all equally many;
            higher is better.
        looks: the number of looks in the whole race.

    Raises:
        ValueError: looks < 1, or a score is not finite (leave a configuration with failed trials
            out).
    """
    if looks < 1:
        raise ValueError(f"looks={looks}: must be looks >= 1")
    samples = [checked_sample(own) for own in scores]
    if not samples or samples[0].size < 2:
        return set(range(len(samples)))
    table = np.array(samples)
    best = np.broadcast_to(table[table.mean(axis=1).argmax()], table.shape)
    behind = differences(best.ravel(), table.ravel()).reshape(table.shape)
    return set(np.flatnonzero(_p_values(behind) > _LEVEL / looks).tolist())


def _p_values(behind: FloatArray) -> FloatArray:
    """One-sided p-values of means above 0, float64[k], of k rows with two columns or more."""
    trials = behind.shape[1]
    # Relative to the first, so that equal differences have a standard deviation of exactly 0.
    deviations = behind - behind[:, :1]
    means = behind[:, 0] + deviations.mean(axis=1)
    sems = deviations.std(axis=1, ddof=1) / np.sqrt(trials)
    p_values = np.where(means > 0, 0.5**trials, 1.0)
    has_spread = sems > 0
    p_values[has_spread] = special.stdtr(trials - 1, -means[has_spread] / sems[has_spread])
    return p_values
