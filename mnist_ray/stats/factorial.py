"""What a grid says: means of each level of a hyperparameter over the others, and interactions.

Levels are fixed, trials are random. Trial i has the same random streams in every cell, so each
figure is computed within a trial first, and its uncertainty is that over trials. This is the
two-factor design with repeated measures on both factors (Winer, Brown & Michels, Statistical
Principles in Experimental Design, 3rd edition, 1991, chapter 7), with trials for subjects.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mnist_ray.stats.comparison import differences
from mnist_ray.stats.summary import FloatArray, Summary, summarize


@dataclass(frozen=True)
class Level:
    """One value of a hyperparameter, averaged over the values of the others."""

    mean: Summary
    """Over trials of the trial's mean over the other hyperparameters, with Student's t interval."""
    to_best: Summary
    """Of the differences, within trials, from the level with the highest mean; 0 for that one."""


@dataclass(frozen=True, eq=False)
class Interaction:
    """How far the effects of two hyperparameters do not add up."""

    effects: FloatArray
    """What each cell's mean is above the sum of the two effects: float64 [levels, levels]."""
    statistic: float
    """F: the mean square of the interaction over that of its error, which is its interaction with
    trials; infinite without any error."""
    degrees: tuple[int, int]
    """The degrees of freedom of the interaction and of its error."""
    p_value: float
    """The probability that F would be as large without an interaction. It assumes that the errors
    of all cells vary and correlate alike.
    """


def levels(values: ArrayLike) -> list[Level]:
    """The marginal mean of each level, and how far it is below the best.

    Args:
        values: float64 [levels, combinations of the others, trials], all at least 1.

    Raises:
        ValueError: another shape, or a value is not finite.
    """
    within_trials = _checked(values).mean(axis=1)
    best = within_trials[np.argmax(within_trials.mean(axis=1))]
    return [Level(summarize(own), summarize(differences(own, best))) for own in within_trials]


def interaction(values: ArrayLike) -> Interaction | None:
    """The interaction of two hyperparameters; None with fewer than two levels of each or trials.

    F has (a - 1)(b - 1) and (a - 1)(b - 1)(n - 1) degrees of freedom for a and b levels and n
    trials.

    Args:
        values: float64 [levels, levels of the other, trials].

    Raises:
        ValueError: another shape, or a value is not finite.
    """
    sample = _checked(values)
    a, b, n = sample.shape
    if min(a, b, n) < 2:
        return None
    of_trials = _without_additive_effects(sample)
    effects = of_trials.mean(axis=2)
    between, within = (a - 1) * (b - 1), (a - 1) * (b - 1) * (n - 1)
    mean_square = n * float((effects**2).sum()) / between
    error = float(((of_trials - effects[..., np.newaxis]) ** 2).sum()) / within
    # What rounding leaves of an interaction or an error that is none.
    nothing = (1e-12 * float(np.abs(sample).max(initial=0.0))) ** 2
    mean_square, error = (x if x > nothing else 0.0 for x in (mean_square, error))
    statistic = mean_square / error if error else (np.inf if mean_square else 0.0)
    p_value = float(special.fdtrc(between, within, statistic)) if np.isfinite(statistic) else 0.0
    return Interaction(effects, float(statistic), (between, within), p_value)


def _without_additive_effects(sample: FloatArray) -> FloatArray:
    """In each trial, what is left of a cell without the means of its row and its column."""
    rows = sample.mean(axis=1, keepdims=True)
    columns = sample.mean(axis=0, keepdims=True)
    left: FloatArray = sample - rows - columns + sample.mean(axis=(0, 1), keepdims=True)
    return left


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, np.float64)
    if sample.ndim != 3 or 0 in sample.shape or not np.isfinite(sample).all():
        raise ValueError(
            f"values: must be finite and of three dimensions of at least 1, not of shape "
            f"{sample.shape}"
        )
    return sample
