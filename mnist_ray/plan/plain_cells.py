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
        self._space = space
        self.cells = space.cells(dataset_info.image_shape)
        self._made = [[*trials_of(space, cell, dataset_info, 1)] for cell in self.cells]
        self._pairs = _compared_pairs(self.cells, space.until.difference) if space.until else []

    def plans(
        self, records: Mapping[str, Record], timings: Timings, others: Iterable[Trial]
    ) -> tuple[list[CellPlan], Budget | None]:
        """Each with as many trials as its mean needs, and the differences that it is part of.

        Also the budget of working time if there is one. It depends on `timings`, and counts the
        time of `others` too: trials that are planned elsewhere.
        """
        goal, numbers = self._space.trials, range(len(self.cells))
        if isinstance(goal, int):
            return [self._plan(number, fixed(goal)) for number in numbers], None
        most = min(goal.at_most, len(records))
        known = [
            known_accuracies(records.get(trial.key) for trial in self._first(number, most))
            for number in numbers
        ]
        means = self._means(goal, known)
        demands = [fixed(goal.at_least)] * len(self.cells)
        for mean in means:
            if mean.demand:
                for number in mean.cells:
                    demands[number] = larger(demands[number], mean.demand)
        budget = None
        if goal.within is not None:
            budget = self._budget(goal, means, records, demands=demands, others=others)
            demands = self._demands_of_budget(budget, known, timings, demands=demands)
        return [self._plan(number, demand) for number, demand in enumerate(demands)], budget

    def _plan(self, number: int, demand: Demand) -> CellPlan:
        counted, started = (self._first(number, n) for n in (demand.counted, demand.started))
        return CellPlan(counted, started, demand.priority, demand.is_open)

    def _means(self, goal: StoppingRule, known: Sequence[Series]) -> list[Mean]:
        """What is to become precise: the means of cells, the differences of pairs, or both."""
        until = self._space.until
        means = [_mean(goal, pair, known, until.ci95) for pair in self._pairs if until]
        if goal.until_ci95 is not None or until is None:
            numbers = range(len(self.cells))
            means += [_mean(goal, (number,), known, goal.until_ci95) for number in numbers]
        return means

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
            else demand.counted
            for number, demand in enumerate(demands)
        ]
        firsts = [self._first(number, count) for number, count in enumerate(begun)]
        made = (trial for trials in self._made for trial in trials)
        recorded = (records[trial.key] for trial in (*made, *others) if trial.key in records)
        return Budget(
            goal=goal,
            cell_keys=tuple(made[0].cell_key for made in self._made),
            spent=sum(record.costs.seconds for record in recorded),
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
        seconds = timings.seconds(made[0] for made in self._made)
        trials = budget.trials(seconds) if budget.is_spread_known else budget.begun
        least = budget.goal.at_least
        cells = zip(demands, known, trials.tolist(), _priorities(budget), strict=True)
        return [
            Demand(
                counted=max(least, len(series)),
                started=started,
                is_open=started > len(series),
                priority=priority,
            )
            if priority
            else demand
            for demand, series, started, priority in cells
        ]

    def _first(self, number: int, count: int) -> tuple[Trial, ...]:
        """The first trials of a cell, each made once: their keys are hashes."""
        made = self._made[number]
        made += [made[0].with_index(index) for index in range(len(made), count)]
        return tuple(made[:count])


def _priorities(budget: Budget) -> list[float]:
    """Of each cell, how many times too wide the widest interval is that it is part of.

    0 where none of its means needs more trials, ∞ where nothing is known of the spread.
    """
    priorities = [0.0] * len(budget.cell_keys)
    for mean, half_width in zip(budget.means, budget.present_half_widths.tolist(), strict=True):
        if not mean.is_settled:
            priority = math.inf if math.isnan(half_width) else half_width / mean.unit
            for cell in mean.cells:
                priorities[cell] = max(priorities[cell], priority)
    return priorities


def _mean(
    goal: StoppingRule,
    cells: tuple[int, ...],
    known: Sequence[Series],
    half_width: float | None,
) -> Mean:
    series = tuple(known[number] for number in cells)
    _, values = finished_in_all(series, goal)
    if half_width is not None:
        return Mean(cells, values, half_width, to_precision(goal, half_width, series))
    all_first_failed = not values and min(map(len, series)) >= goal.at_least
    return Mean(cells, values, demand=fixed(goal.at_least) if all_first_failed else None)


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
