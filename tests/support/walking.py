"""Sweeps walked without training: a queue whose trials are answered with made-up records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from made_up import made_up_sweep

from mnist_ray.ledger.record import Costs, Epoch, Evaluation, Record, Status
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.planner import Planner
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.space import Space

DATASET_INFO = made_up_sweep(trials=1).dataset_info

CellResults = Callable[[Trial], Record]
"""How a trial ends; the same whenever it runs."""


@dataclass(frozen=True, eq=False)
class Walk:
    """What became of a sweep.

    Attributes:
        plan: the last.
        records: by key.
        submitted: keys of the trials that were started, in order.
    """

    plan: Plan
    records: dict[str, Record]
    submitted: list[str]

    @property
    def gist(self) -> list[Any]:
        """All that must not depend on workers, their order and interruptions."""
        return [[_search_gist(each) for each in self.plan.searches], _counted(self.plan)]


def walk(
    space: Space,
    cell_results: CellResults,
    *,
    workers: int = 2,
    seed: int = 0,
    records: Mapping[str, Record] | None = None,
    stop_after: float = float("inf"),
) -> Walk:
    """Run a sweep whose trials end in a random order, up to `stop_after` records."""
    due = TrialQueue(
        Planner(space, DATASET_INFO).plan,
        records or {},
        max_concurrent=workers,
    )
    chance = np.random.default_rng(seed)
    submitted: list[str] = []
    running: list[Trial] = []
    recorded = 0
    while recorded < stop_after:
        while (trial := due.next()) is not None:
            submitted.append(trial.key)
            running.append(trial)
        if not running:
            assert not due.left
            break
        due.complete(cell_results(running.pop(chance.integers(len(running)))))
        recorded += 1
    return Walk(due.plan, due.records, submitted)


def run_at_once(
    space: Space, cell_results: CellResults, *, records: Mapping[str, Record] | None = None
) -> Walk:
    """Run a sweep on as many workers as there are trials: the quickest to work out."""
    planner, records, submitted = Planner(space, DATASET_INFO), dict(records or {}), list[str]()
    while (plan := planner.plan(records)).missing:
        submitted += [trial.key for trial in plan.missing]
        records |= {trial.key: cell_results(trial) for trial in plan.missing}
    return Walk(plan, records, submitted)


def finished(trial: Trial, accuracy: float, *, test_accuracy: float | None = None) -> Record:
    """A finished trial's record with that validation accuracy, and test accuracy too."""
    reached = accuracy if test_accuracy is None else test_accuracy
    return _record(
        trial,
        Status.FINISHED,
        epochs=(Epoch(0.1, accuracy, 0.1, accuracy),),
        test=Evaluation(trial.cell.shift, reached, 0.1, 200, b""),
        costs=Costs(1.0, 2.0, 0.5, 400_000_000),
    )


def failed(trial: Trial, error: str = "ValueError: no such luck") -> Record:
    """A failed trial's record."""
    return _record(trial, Status.FAILED, error=error)


def cut_short(trial: Trial, accuracy: float) -> Record:
    """The record of a trial that was stopped early."""
    return replace(finished(trial, accuracy), status=Status.CUT_SHORT, test=None)


def _record(trial: Trial, status: Status, **figures: Any) -> Record:
    return Record(
        key=trial.key,
        identity=trial.identity,
        dataset="digits",
        architecture=trial.cell.architecture,
        variant=trial.cell.variant,
        trial_seed=0,  # `Trial.record` would work it out, which takes longer than all the rest
        status=status,
        **figures,
    )


def noise(trial: Trial, std: float) -> float:
    """Normal, and the same for a trial whenever it runs."""
    return float(np.random.default_rng(int(trial.key, 16)).normal(0, std))


def chosen(trial: Trial, share: float) -> bool:
    """Whether a trial is one of a share of all, taken at random."""
    return int(trial.key[:8], 16) < share * 16**8


def _search_gist(search: Any) -> Any:
    tried = [(e.cell, [t.key for t in e.trials], e.scores, e.stage) for e in search.configurations]
    winner = search.winner.number if search.winner else None
    return tried, winner, [trial.key for trial in search.confirmation]


def _counted(plan: Plan) -> Any:
    return [[trial.key for trial in cell.trials] for cell in plan.cells]
