"""How many trials a cell needs: a fixed number, or until its mean is precise enough.

A decision uses the trials in the order of their index, up to the first that is not recorded. It
depends neither on how many trials run at once nor on which of them ends first.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mnist_ray.ledger.record import Record, Status
from mnist_ray.space.space import StoppingRule
from mnist_ray.stats.comparison import differences
from mnist_ray.stats.sequential import Precision, precision_interval

Series = tuple[float | None, ...]
"""Test accuracies of a cell's trials from index 0 on, without a gap; None for a failed one."""


@dataclass(frozen=True)
class Demand:
    """How many trials a cell needs.

    Attributes:
        counted: trials from index 0 on that its mean is taken over.
        started: trials from index 0 on that should have been started by now. It is more than
            `counted` where the current spread predicts that more will be needed.
        is_open: whether more may be needed once these are recorded.
        priority: the interval's half-width divided by the goal; the highest starts first.
    """

    counted: int
    started: int
    is_open: bool = False
    priority: float = 0.0


@dataclass(frozen=True)
class Look:
    """What the stopping rule sees in the trials that are recorded, or saw when it stopped.

    Attributes:
        trials: the indices that the precision is computed from. Each finished in every series.
        precision: of the mean accuracy, or of the mean paired difference, on those trials. Its
            interval is valid although the rule looks after every trial.
    """

    trials: tuple[int, ...]
    precision: Precision


def fixed(trials: int) -> Demand:
    return Demand(trials, trials)


def look(goal: StoppingRule, half_width: float, series: Sequence[Series]) -> Look:
    """The interval that the stopping rule decides by, and the trials that it is computed from.

    Args:
        goal: the bounds on the number of trials.
        half_width: the goal for the 95 % interval, in accuracy.
        series: one, for a cell's mean; or two, for the mean of their paired difference.
    """
    indices, values = finished_in_all(series, goal)
    seen = precision_interval(
        values, half_width=half_width, at_least=goal.at_least, at_most=goal.at_most
    )
    return Look(tuple(indices[: seen.n]), seen)


# A plan is made after each record, and a record changes the series of one cell only.
@lru_cache(maxsize=4096)
def to_precision(goal: StoppingRule, half_width: float, series: tuple[Series, ...]) -> Demand:
    """Trials until a mean is known to ± `half_width`.

    A failed trial counts towards the bounds on the number of trials, but is in no mean. Where the
    first `goal.at_least` have all failed, no more are needed: they would fail too.

    The arguments are those of `look`.
    """
    recorded = min(goal.at_most, *(len(known) for known in series))
    if recorded < goal.at_least:
        return Demand(goal.at_least, goal.at_least, is_open=True, priority=math.inf)
    seen = look(goal, half_width, series)
    if not seen.trials:
        return fixed(goal.at_least)
    if seen.precision.satisfied:
        return fixed(seen.trials[-1] + 1)
    if recorded == goal.at_most:
        return fixed(goal.at_most)
    # Half of those that this spread would need start at once, so that few are started in vain; at
    # least one, so that the sweep goes on.
    lacking = (seen.precision.fixed_trials or 0) - len(seen.trials)
    return Demand(
        counted=recorded + 1,
        started=min(recorded + max(1, lacking // 2), goal.at_most),
        is_open=True,
        priority=(seen.precision.plain_half_width or math.inf) / half_width,
    )


def larger(first: Demand, second: Demand) -> Demand:
    """What satisfies both demands."""
    return Demand(
        counted=max(first.counted, second.counted),
        started=max(first.started, second.started),
        is_open=first.is_open or second.is_open,
        priority=max(first.priority, second.priority),
    )


def known_accuracies(records: Iterable[Record | None]) -> Series:
    """Test accuracies of a cell's trials from index 0 on, up to the first that has no record.

    None stands for a failed trial. One that was cut short is a gap too: it will run again, whole.
    """
    known: list[float | None] = []
    for record in records:
        if record is None or record.status is Status.CUT_SHORT:
            break
        known.append(record.test.accuracy if record.test else None)
    return tuple(known)


def recorded_accuracies(records: Iterable[Record]) -> Series:
    """As `known_accuracies`, from the records of one cell, in any order."""
    by_index = {record.trial: record for record in records}
    return known_accuracies(by_index.get(index) for index in range(len(by_index)))


def finished_in_all(series: Sequence[Series], goal: StoppingRule) -> tuple[list[int], list[float]]:
    """The indices that finished in all series, and the accuracy or the paired difference there.

    Empty where the first `goal.at_least` have all failed: the rule has given up by then.
    """
    shared = enumerate(zip(*series, strict=False))
    finished = {
        index: accuracies
        for index, accuracies in itertools.islice(shared, goal.at_most)
        if None not in accuracies
    }
    if min(finished, default=0) >= goal.at_least:
        return [], []
    columns = list(zip(*finished.values(), strict=True))
    values = differences(*columns) if len(columns) == 2 else columns[0] if columns else []
    return list(finished), list(values)
