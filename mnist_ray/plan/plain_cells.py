"""The cells that no search is needed for, and how many trials each of them needs."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mnist_ray.ledger.record import Record
from mnist_ray.plan.budget import Budget, Mean
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.estimates import Timings
from mnist_ray.plan.plan import CellPlan
from mnist_ray.plan.stopping import (
    Demand,
    Series,
    finished_in_all,
    fixed,
    known_accuracies,
    larger,
    to_precision,
)
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.space import Cell, Space, StoppingRule


class PlainCells:
    """The cells that no search is needed for."""

    def __init__(self, space: Space, dataset_info: DatasetInfo) -> None:
        self._space, self._dataset_info = space, dataset_info
        self.cells = space.cells(dataset_info.image_shape)
        self._made: list[tuple[Trial, ...]] = [()] * len(self.cells)
        self._pairs = _compared_pairs(self.cells, space.until.difference) if space.until else []

    def plans(
        self, records: Mapping[str, Record], timings: Timings, others: Iterable[Trial] = ()
    ) -> tuple[list[CellPlan], Budget | None]:
        """Each with as many trials as its mean needs, and the differences that it is part of.

        Args:
            records: what is recorded.
            timings: how long trials take, for a budget of working time.
            others: trials whose time such a budget counts too.

        Returns:
            the plans, and the budget if there is one.
        """
        goal = self._space.trials
        budget = None
        if isinstance(goal, int):
            demands = [fixed(goal)] * len(self.cells)
        else:
            most = min(goal.at_most, len(records))
            known = [
                known_accuracies(records.get(t.key) for t in self._first(number, most))
                for number in range(len(self.cells))
            ]
            means = self._means(goal, known)
            demands = self._demands_of_goals(goal, means)
            if goal.within is not None:
                budget = self._budget(goal, means, records, demands=demands, others=others)
                demands = self._demands_of_budget(budget, known, timings, demands=demands)
        plans = [
            CellPlan(
                self._first(number, demand.counted),
                self._first(number, demand.started),
                demand.priority,
                demand.is_open,
            )
            for number, demand in enumerate(demands)
        ]
        return plans, budget

    def _means(self, goal: StoppingRule, known: Sequence[Series]) -> list[Mean]:
        """What is to become precise: the means of cells, the differences of pairs, or both."""
        until = self._space.until
        means = [
            _mean(goal, pair, [known[number] for number in pair], half_width=until.ci95)
            for pair in self._pairs
            if until is not None
        ]
        if goal.until_ci95 is not None or until is None:
            means += [
                _mean(goal, (number,), [series], half_width=goal.until_ci95)
                for number, series in enumerate(known)
            ]
        return means

    def _demands_of_goals(self, goal: StoppingRule, means: Sequence[Mean]) -> list[Demand]:
        demands: list[list[Demand]] = [[] for _ in self.cells]
        for mean in means:
            for number in mean.cells:
                demands[number] += [mean.demand] if mean.demand else []
        return [larger(own) if own else fixed(goal.at_least) for own in demands]

    def _budget(
        self,
        goal: StoppingRule,
        means: Sequence[Mean],
        records: Mapping[str, Record],
        *,
        demands: Sequence[Demand],
        others: Iterable[Trial],
    ) -> Budget:
        needed = {number for mean in means if not mean.is_settled for number in mean.cells}
        begun = [
            max(goal.at_least, self._recorded(number, records))
            if number in needed
            else demands[number].counted
            for number in range(len(self.cells))
        ]
        firsts = [self._first(number, count) for number, count in enumerate(begun)]
        made = (trial for trials in self._made for trial in trials)
        return Budget(
            goal=goal,
            cell_keys=tuple(trials[0].cell_key for trials in firsts),
            spent=sum(_seconds_of(records.get(trial.key)) for trial in (*made, *others)),
            begun=np.array(begun),
            unrecorded=np.array([sum(t.key not in records for t in trials) for trials in firsts]),
            means=tuple(means),
        )

    def _recorded(self, number: int, records: Mapping[str, Record]) -> int:
        """Trials of a cell up to the last that is recorded."""
        indices = (trial.index for trial in reversed(self._made[number]) if trial.key in records)
        return next(indices, -1) + 1

    def _demands_of_budget(
        self,
        budget: Budget,
        known: Sequence[Series],
        timings: Timings,
        *,
        demands: Sequence[Demand],
    ) -> list[Demand]:
        firsts = [self._first(number, 1)[0] for number in range(len(self.cells))]
        allocation = budget.allocate(timings.seconds(firsts))
        priority = np.zeros(len(self.cells))
        for mean, half_width in zip(budget.means, allocation.present, strict=True):
            if not mean.is_settled:
                urgency = math.inf if math.isnan(half_width) else half_width / mean.unit
                priority[list(mean.cells)] = np.maximum(priority[list(mean.cells)], urgency)
        return [
            demand
            if not urgency
            else Demand(
                counted=max(budget.goal.at_least, len(series)),
                started=int(started),
                is_open=int(started) > len(series),
                priority=float(urgency),
            )
            for demand, series, started, urgency in zip(
                demands, known, allocation.trials, priority, strict=True
            )
        ]

    def _first(self, number: int, count: int) -> tuple[Trial, ...]:
        """The first trials of a cell, each made once: their keys are hashes."""
        made, cell = self._made[number], self.cells[number]
        if len(made) < count:
            lacking = count - len(made)
            made += trials_of(self._space, cell, self._dataset_info, lacking, first=len(made))
            self._made[number] = made
        return made[:count]


def _mean(
    goal: StoppingRule,
    cells: tuple[int, ...],
    series: Sequence[Series],
    *,
    half_width: float | None,
) -> Mean:
    recorded = min(len(known) for known in series)
    _, values = finished_in_all(series, goal)
    if half_width is not None:
        return Mean(cells, values, half_width, to_precision(goal, half_width, tuple(series)))
    all_first_failed = recorded >= goal.at_least and not values
    return Mean(cells, values, demand=fixed(goal.at_least) if all_first_failed else None)


def _seconds_of(record: Record | None) -> float:
    return record.costs.seconds if record else 0.0


def _compared_pairs(cells: Sequence[Cell], names: tuple[str, str]) -> list[tuple[int, int]]:
    """The cells, by number, of two architectures that agree in variant and training."""
    first, second = (
        [number for number, cell in enumerate(cells) if cell.architecture == name] for name in names
    )
    return [
        (a, b)
        for a in first
        for b in second
        if cells[a].variant == cells[b].variant and cells[a].training == cells[b].training
    ]
