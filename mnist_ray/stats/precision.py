"""Intervals of means whose number of trials was decided by looking at them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_ray.stats.statistics import fixed_replication, precision_half_widths, summarize


@dataclass(frozen=True)
class Precision:
    """Where replication to a precision stands; None where the values tell no spread yet."""

    half_width: float | None
    """Of the rule's own 95 % interval, which holds although it was looked at after every trial."""
    plain_half_width: float | None
    """Of Student's t interval, which takes no account of the looking."""
    satisfied: bool
    """Whether both are at most the goal."""
    fixed_trials: int | None
    """How many trials replication of a fixed size would have needed for the goal."""

    def around(self, mean: float | None) -> tuple[float | None, float | None]:
        """The ends of the rule's interval around `mean`."""
        if mean is None or self.half_width is None:
            return None, None
        return mean - self.half_width, mean + self.half_width


def precision(values: Sequence[float], *, goal: float, at_most: int) -> Precision:
    """How precise the mean of `values` is known.

    Args:
        values: in trial order, not more than `at_most`.
        goal: the half-width asked for, in the unit of the values.
        at_most: the number of trials at which replication stops in any case.
    """
    if not values:
        return Precision(None, None, satisfied=False, fixed_trials=None)
    widths = precision_half_widths(values, at_most=at_most)
    own, plain = float(widths.own[-1]), float(widths.plain[-1])
    std = summarize(values).std
    return Precision(
        half_width=own if math.isfinite(own) else None,
        plain_half_width=plain if math.isfinite(plain) else None,
        satisfied=max(own, plain) <= goal,
        fixed_trials=None if std is None else fixed_replication(std, goal),
    )
