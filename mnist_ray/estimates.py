"""How long trials will take: from those recorded, from a calibration, or by arithmetic."""

import heapq
from collections.abc import Iterable, Mapping, Sequence

from mnist_ray.costs import training_operations
from mnist_ray.facts import Facts
from mnist_ray.identity import JSON, digest
from mnist_ray.record import Record, Status
from mnist_ray.space import Cell
from mnist_ray.trial import Trial

_OPERATIONS_PER_SECOND = 50e9
"""Of one core in these models, measured on an AVX-512 server core: a guess for the first time."""


def operations_of(cell: Cell, facts: Facts) -> float:
    """Floating-point operations of a trial, by arithmetic."""
    return training_operations(
        cell,
        classes=facts.classes,
        train_images=facts.train_images,
        test_images=facts.test_images,
    )


def estimated_seconds(
    trials: Iterable[Trial],
    facts: Facts,
    records: Mapping[str, Record],
    *,
    measured: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """What a trial of each cell takes, in seconds, by the cell's key in the order of `trials`.

    From recorded trials of the same work, whatever their seed; else from `measured` (seconds by
    the cell's key); else from the cell's operations, at the speed of what is known; else at a
    middling speed.
    """
    recorded = _recorded_seconds(records)
    firsts: dict[str, Trial] = {}
    for trial in trials:
        firsts.setdefault(trial.cell_key, trial)
    known = dict(measured or {})
    for key, trial in firsts.items():
        work = _work_key(trial.cell_identity)
        if work in recorded:
            known[key] = recorded[work]
    operations = {key: operations_of(trial.cell, facts) for key, trial in firsts.items()}
    speeds = [known[key] / operations[key] for key in firsts if key in known]
    per_operation = sum(speeds) / len(speeds) if speeds else 1 / _OPERATIONS_PER_SECOND
    return {key: known.get(key, per_operation * operations[key]) for key in firsts}


def unknown_cells(trials: Iterable[Trial], records: Mapping[str, Record]) -> dict[str, Cell]:
    """The cells, by key, of which no trial of the same work is recorded."""
    recorded = _recorded_seconds(records)
    return {
        trial.cell_key: trial.cell
        for trial in trials
        if _work_key(trial.cell_identity) not in recorded
    }


def wall_seconds(durations: Sequence[float], *, workers: int) -> float:
    """How long workers take that share the trials out, in the given order."""
    ends = [0.0] * max(1, workers)
    for duration in durations:
        heapq.heappush(ends, heapq.heappop(ends) + duration)
    return max(ends)


def _work_key(identity: JSON) -> str:
    """What the time of a trial hangs on."""
    names = ("data", "builder", "source", "hyperparameters", "canvas", "training")
    return digest({name: identity[name] for name in names})


def _recorded_seconds(records: Mapping[str, Record]) -> dict[str, float]:
    """Mean seconds of a recorded trial, by what it hangs on."""
    spent: dict[str, list[float]] = {}
    for record in records.values():
        costs = record.costs
        if record.status is Status.FINISHED and costs.train_seconds is not None:
            parts = (costs.setup_seconds, costs.train_seconds, costs.evaluate_seconds)
            total = sum(part or 0.0 for part in parts)
            spent.setdefault(_work_key(record.identity), []).append(total)
    return {key: sum(values) / len(values) for key, values in spent.items()}
