"""How many trials a cell needs: a fixed number, or until its mean is precise enough.

Every decision is taken on the trials in the order of their index, as far as they are recorded
without a gap: it hangs neither on how many run at once nor on which ends first.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import StoppingRule
from mnist_ray.stats.statistics import (
    SequentialInterval,
    differences,
    fixed_replication,
    precision_interval,
)

Series = tuple[float | None, ...]
"""Test accuracies of a cell's trials from index 0 on, without a gap; None for a failed one."""


@dataclass(frozen=True)
class Demand:
    """What a cell needs.

    Attributes:
        counted: trials from index 0 on that its mean is taken over.
        started: trials from index 0 on that should have been started by now; more than `counted`
            where it is foreseen that they will be needed.
        is_open: whether more may be needed once these are recorded.
        urgency: how many times too wide its interval still is; what is furthest goes first.
    """

    counted: int
    started: int
    is_open: bool = False
    priority: float = 0.0


def fixed(trials: int) -> Demand:
    """A fixed number of trials."""
    return Demand(trials, trials)


# A plan asks for every cell after each record, which tells something new of one of them only.
@lru_cache(maxsize=4096)
def to_precision(goal: StoppingRule, half_width: float, series: tuple[Series, ...]) -> Demand:
    """Trials until a mean is known to ± `half_width`.

    A failed trial counts towards the bounds, and in no mean. Where the first `goal.at_least` have
    all failed, no more are wanted: they would fail too.

    Args:
        goal: the bounds on the number of trials.
        half_width: of the 95 % interval, in accuracy.
        series: what is known of each cell that shares the goal: of one, or of two whose paired
            difference is meant.
    """
    recorded = min(goal.at_most, *(len(known) for known in series))
    indices, values = _values(series, recorded)
    if recorded < goal.at_least:
        return Demand(goal.at_least, goal.at_least, is_open=True, priority=math.inf)
    if not indices or indices[0] >= goal.at_least:
        return Demand(goal.at_least, goal.at_least)
    interval = precision_interval(
        values, half_width=half_width, at_least=goal.at_least, at_most=goal.at_most
    )
    if interval.stopped:
        counted = indices[interval.n - 1] + 1
        return Demand(counted, counted)
    if recorded >= goal.at_most:
        return Demand(goal.at_most, goal.at_most)
    ahead = _foreseen(interval, values, half_width)
    plain = interval.plain_half_width or math.inf
    return Demand(
        counted=recorded + 1,
        started=min(recorded + ahead, goal.at_most),
        is_open=True,
        priority=plain / half_width,
    )


def larger(demands: Sequence[Demand]) -> Demand:
    """What satisfies all of `demands`."""
    return Demand(
        counted=max(demand.counted for demand in demands),
        started=max(demand.started for demand in demands),
        is_open=any(demand.is_open for demand in demands),
        priority=max(demand.priority for demand in demands),
    )


def known_accuracies(trials: Iterable[Trial], records: Mapping[str, Record]) -> Series:
    """Test accuracies of a cell's trials, in the order of `trials`, up to the first gap.

    None stands for a failed one. One that was cut short is a gap: it is yet to be run as a whole.
    """
    known: list[float | None] = []
    for trial in trials:
        record = records.get(trial.key)
        if record is None or record.status is Status.CUT_SHORT:
            break
        known.append(record.test.accuracy if record.test else None)
    return tuple(known)


def _values(series: Sequence[Series], recorded: int) -> tuple[list[int], list[float]]:
    """The indices that finished in all series, and the accuracy or the paired difference there."""
    indices: list[int] = []
    values: list[list[float]] = []
    for index in range(recorded):
        found = [value for known in series if (value := known[index]) is not None]
        if len(found) == len(series):
            indices.append(index)
            values.append(found)
    if len(series) == 1:
        return indices, [value[0] for value in values]
    first, second = ([pair[side] for pair in values] for side in (0, 1))
    return indices, list(differences(first, second)) if indices else []


def _foreseen(interval: SequentialInterval, values: Sequence[float], half_width: float) -> int:
    """How many trials more to start at once: half of those that will be needed at this spread.

    Half, so that few are started in vain; at least one, so that it goes on.
    """
    if interval.n < 2:
        return 1
    std = float(np.std(values, ddof=1))
    return max(1, (fixed_replication(std, half_width) - interval.n) // 2)
