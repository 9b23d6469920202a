"""What a grid says of each hyperparameter, and of each two of them together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mnist_ray.analysis.settings import canonical, shown_value
from mnist_ray.analysis.sweep_results import CellResults, SweepResults
from mnist_ray.stats.factorial import Interaction, Level, interaction, levels

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
    if results.space is None:
        return
    for (architecture, variant), names in results.space.grids().items():
        own = [
            each
            for each in results.cells
            if (each.cell.architecture, each.cell.variant) == (architecture, variant)
        ]
        for device in dict.fromkeys(each.device for each in own):
            on_device = [each for each in own if each.device == device]
            found = _grid(on_device, names)
            if found.factors and any(each.finished for each in on_device):
                yield found


def _grid(cells: Sequence[CellResults], names: Iterable[str]) -> Grid:
    values = {name: _values(cells, name) for name in names}
    varying = {name: found for name, found in values.items() if len(found) > 1}
    by_place = {_place(each.cell.columns(), varying): each for each in cells}
    # Trials of every combination; none where one is missing or ran on another device.
    combined = list(product(*(range(len(found)) for found in varying.values())))
    found = (by_place.get(place) for place in combined)
    series = [each.accuracies if each else {} for each in found]
    common = [i for i in series[0] if all(i in each for each in series)] if series else []
    shape = [len(found) for found in varying.values()]
    accuracies = np.asarray([[each[i] for i in common] for each in series])
    complete = accuracies.reshape(*shape, len(common)) if common else None
    means = np.asarray([np.mean(list(each.values())) if each else np.nan for each in series])
    factors = [
        Factor(name, found, _levels(complete, axis))
        for axis, (name, found) in enumerate(varying.items())
    ]
    pairs = [
        _pair(factors, axes, means.reshape(shape), complete)
        for axes in combinations(range(len(factors)), 2)
    ]
    return Grid(cells, factors, pairs, len(common))


def _values(cells: Sequence[CellResults], name: str) -> list[JsonValue]:
    """The different values, numbers ascending."""
    found = {canonical(each.cell.columns()[name]): each.cell.columns()[name] for each in cells}
    values = list(found.values())
    numbers = [value for value in values if isinstance(value, int | float)]
    return [*sorted(numbers)] if len(numbers) == len(values) else values


def _place(
    columns: Mapping[str, JsonValue], varying: Mapping[str, Sequence[JsonValue]]
) -> tuple[int, ...]:
    return tuple(
        [canonical(each) for each in found].index(canonical(columns[name]))
        for name, found in varying.items()
    )


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
