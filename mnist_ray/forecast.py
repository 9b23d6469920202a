"""What a sweep would take, before it is paid for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnist_ray.calibration import calibrate
from mnist_ray.costs import memory_bytes
from mnist_ray.estimates import estimated_seconds, unknown_cells, wall_seconds
from mnist_ray.facts import Facts
from mnist_ray.own_code import code_folder
from mnist_ray.planner import Plan
from mnist_ray.record import Record
from mnist_ray.space import Cell, Space
from mnist_ray.trial import Trial

START_UP_SECONDS = 10.0
"""Ray, workers with TensorFlow, and the report; measured on two cores."""

_MOST_CALIBRATED = 8


@dataclass(frozen=True)
class CellForecast:
    """Of one cell: trials that are recorded and that are to run, and seconds of one."""

    cell: Cell
    recorded: int
    to_run: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a sweep would take.

    Attributes:
        cells: in the order of the plan.
        wall_seconds: from the command to the report.
        concurrency: trials at a time.
        peak_memory_bytes: of all workers together, an upper estimate.
        basis: what the seconds come from.
        is_open: whether more trials may turn out to be wanted.
        price: at an hourly cost, if one was given.
    """

    cells: tuple[CellForecast, ...]
    wall_seconds: float
    concurrency: int
    peak_memory_bytes: int
    basis: str
    is_open: bool
    price: float | None


def forecast(
    plan: Plan,
    *,
    space: Space,
    facts: Facts,
    records: Mapping[str, Record],
    concurrency: int,
    hourly_cost: float | None,
) -> Forecast:
    """What the rest of a sweep would take with `concurrency` trials of one thread at a time.

    Seconds come from recorded trials of the same work; where there are none, a few batches of the
    cells that are unlike each other are trained here to find out.
    """
    unknown = unknown_cells(plan.missing, records)
    measured = _calibrated(unknown, space, facts)
    seconds = estimated_seconds(plan.wanted, facts, records, measured=measured)
    durations = [seconds[trial.cell_key] for trial in plan.missing]
    wall = wall_seconds(durations, workers=concurrency) + START_UP_SECONDS if durations else 0.0
    side_by_side = min(concurrency, len(durations))
    memory = sorted((memory_bytes(t.cell, facts.classes) for t in plan.missing), reverse=True)
    return Forecast(
        cells=_cells(plan, seconds),
        wall_seconds=wall,
        concurrency=side_by_side,
        peak_memory_bytes=sum(memory[:side_by_side]),
        basis="a calibration on this machine" if unknown else "recorded trials",
        is_open=plan.is_open,
        price=None if hourly_cost is None else hourly_cost * wall / 3600,
    )


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _calibrated(unknown: Mapping[str, Cell], space: Space, facts: Facts) -> dict[str, float]:
    """Seconds of the unknown cells, or of some of them where there are many."""
    if not unknown:
        return {}
    # One of each architecture and variant first: the rest follows from those by arithmetic.
    firsts: dict[tuple[str, str], str] = {}
    for key, cell in unknown.items():
        firsts.setdefault((cell.architecture, cell.variant), key)
    chosen = list(dict.fromkeys([*firsts.values(), *unknown]))[:_MOST_CALIBRATED]
    folder = code_folder(space)
    return calibrate(
        {key: unknown[key] for key in chosen},
        facts,
        threads=1,
        folder=str(folder) if folder else None,
    )


def _cells(plan: Plan, seconds: Mapping[str, float]) -> tuple[CellForecast, ...]:
    groups: dict[str, list[Trial]] = {}
    for trial in plan.wanted:
        groups.setdefault(trial.cell_key, []).append(trial)
    missing = {trial.key for trial in plan.missing}

    def of(key: str, trials: Sequence[Trial]) -> CellForecast:
        to_run = sum(trial.key in missing for trial in trials)
        return CellForecast(trials[0].cell, len(trials) - to_run, to_run, seconds[key])

    return tuple(of(key, trials) for key, trials in groups.items())
