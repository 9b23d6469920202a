"""What a grid says of each hyperparameter and of each two of them, in figures and sentences."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mnist_ray.analysis import phrases
from mnist_ray.analysis.settings import canonical, grouped, shown_value
from mnist_ray.analysis.sweep_results import CellResults, SweepResults
from mnist_ray.stats.factorial import Interaction, Level, interaction, levels
from mnist_ray.stats.summary import Summary

_SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class Factor:
    """A hyperparameter of a grid."""

    name: str
    values: Sequence[JsonValue]
    """In the grid's order; numbers ascending."""
    levels: Sequence[Level]
    """One for each value; empty where no trial has finished in all cells."""

    def setting(self, number: int) -> str:
        """A value with its name: `dropout=0.5`."""
        return f"{self.name}={shown_value(self.values[number])}"

    @property
    def best(self) -> int:
        """The number of the value with the highest mean."""
        return int(np.argmax([level.mean.mean or 0.0 for level in self.levels]))


@dataclass(frozen=True, eq=False)
class FactorPair:
    """Two hyperparameters of a grid, averaged over all others."""

    rows: Factor
    columns: Factor
    means: NDArray[np.float64]
    """Of test accuracy, float64 [rows, columns]; NaN where nothing has finished."""
    interaction: Interaction | None

    @property
    def interacts(self) -> bool:
        """Whether the interaction is larger than its error lets expect (F test, 5 %)."""
        return self.interaction is not None and self.interaction.p_value < _SIGNIFICANT


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of one architecture on one variant that a grid varies, on one kind of device."""

    cells: Sequence[CellResults]
    factors: Sequence[Factor]
    pairs: Sequence[FactorPair]
    trials: int
    """How many have finished in every cell: what intervals are taken over."""


def grids(results: SweepResults) -> Iterator[Grid]:
    """The grids of a sweep of which anything has finished."""
    names = results.space.grids() if results.space else {}
    cells = grouped(results.cells, lambda e: (e.cell.architecture, e.cell.variant, e.device))
    for (architecture, variant, _), on_device in cells.items():
        found = _grid(on_device, names.get((architecture, variant), ()))
        if found.factors and any(each.finished for each in on_device):
            yield found


def _grid(cells: Sequence[CellResults], names: Iterable[str]) -> Grid:
    values = {name: _values(each.cell.columns()[name] for each in cells) for name in names}
    values = {name: found for name, found in values.items() if len(found) > 1}
    by_place = {
        tuple(canonical(each.cell.columns()[name]) for name in values): each.accuracies
        for each in cells
    }
    # Trials of every combination; none where one is missing or ran on another device.
    series = [by_place.get(place, {}) for place in product(*values.values())]
    common = [i for i in series[0] if all(i in each for each in series)]
    shape = [len(found) for found in values.values()]
    accuracies = np.asarray([[each[i] for i in common] for each in series])
    complete = accuracies.reshape(*shape, len(common)) if common else None
    means = np.asarray([np.mean(list(each.values())) if each else np.nan for each in series])
    factors = [
        Factor(name, list(found.values()), _levels(complete, axis))
        for axis, (name, found) in enumerate(values.items())
    ]
    pairs = [
        _pair(factors, axes, means.reshape(shape), complete)
        for axes in combinations(range(len(factors)), 2)
    ]
    return Grid(cells, factors, pairs, len(common))


def _values(given: Iterable[JsonValue]) -> dict[str, Any]:
    """The different values by their canonical text, numbers ascending."""
    found: dict[str, Any] = {canonical(value): value for value in given}
    numbers = {text: value for text, value in found.items() if isinstance(value, int | float)}
    if len(numbers) < len(found):
        return found
    return dict(sorted(numbers.items(), key=itemgetter(1)))


def _levels(complete: NDArray[np.float64] | None, axis: int) -> list[Level]:
    if complete is None:
        return []
    moved = np.moveaxis(complete, axis, 0)
    return levels(moved.reshape(len(moved), -1, complete.shape[-1]))


def _pair(
    factors: Sequence[Factor],
    axes: tuple[int, int],
    means: NDArray[np.float64],
    complete: NDArray[np.float64] | None,
) -> FactorPair:
    others = tuple(axis for axis in range(len(factors)) if axis not in axes)
    rows, columns = (factors[axis] for axis in axes)
    found = None if complete is None else interaction(complete.mean(axis=others))
    return FactorPair(rows, columns, means.mean(axis=others), found)


def grid_sentences(grid: Grid) -> Iterator[str]:
    """The best value of each hyperparameter over all others, and which two interact."""
    if not grid.trials:
        yield "No trial has finished in every cell yet, so there are no means over the others."
        return
    for factor in grid.factors:
        yield _best(factor)
    for pair in grid.pairs:
        yield from _interaction(pair)


def _best(factor: Factor) -> str:
    best = factor.best
    shown = phrases.mean(_row(factor.levels[best].mean))
    sentence = f"{factor.setting(best)} has the highest mean over all other settings, {shown}"
    others = [position for position in range(len(factor.levels)) if position != best]
    second = max(others, key=lambda position: factor.levels[position].mean.mean or 0.0)
    below = phrases.difference(_row(factor.levels[second].to_best), sign=-1)
    return f"{sentence}; {factor.setting(second)} comes next, lower by {below}."


def _interaction(pair: FactorPair) -> Iterator[str]:
    found = pair.interaction
    if found is None:
        return
    names = f"{pair.rows.name} and {pair.columns.name}"
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
    test = f"F({found.degrees[0]}, {found.degrees[1]}) = {found.statistic:.1f}, {p_value}"
    if not pair.interacts:
        yield f"No interaction of {names} is larger than its error ({test})."
        return
    row, column = np.unravel_index(int(np.argmax(np.abs(found.effects))), found.effects.shape)
    size = float(found.effects[row, column])
    side = "above" if size > 0 else "below"
    place = f"{pair.rows.setting(int(row))} with {pair.columns.setting(int(column))}"
    yield (
        f"{names} interact ({test}): the best value of one depends on the other, or how much it "
        f"matters does. {place} is {abs(size):.3f} {side} what their separate effects add up to."
    )


def _row(summary: Summary) -> dict[str, Any]:
    """A summary as a row of a table, which `phrases` takes."""
    n = summary.n
    counts = {"trials": n, "trials_a": n, "trials_b": n}
    means = {"mean_test_accuracy": summary.mean, "mean_difference": summary.mean}
    return {**vars(summary), **means, **counts}
