"""Charts of grids: heat maps of two hyperparameters, and the marginal means of each one."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mnist_ray.analysis.grids import Factor, FactorPair, Grid
from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.settings import shown_value
from mnist_ray.view.forest_plot import SHARES, ChartRow, describe, estimate, forest
from mnist_ray.view.formats import FEWEST
from mnist_ray.view.heat_map import squares
from mnist_ray.view.svg import INK, MUTED, Chart, Drawing, Mark, page_figure

_MOST_NUMBERS = 12
"""Columns of a heat map whose squares have numbers."""


def grid_charts(grid: Grid, *, series: int, position: int) -> Iterator[Chart]:
    """Heat maps of every two hyperparameters, then the marginal means of each one.

    `position` is that of the grid on the page.
    """
    for number_, pair in enumerate(grid.pairs):
        name = f"grid-{position}-{number_}"
        caption = f"{pair.rows.name} and {pair.columns.name}: mean test accuracy"
        yield Chart(_heat_map(pair, series=series, name=name, caption=caption), caption)
    for number_, factor in enumerate(grid.factors):
        if factor.levels:
            yield _marginal_chart(factor, series, name=f"levels-{position}-{number_}")


def _marginal_chart(factor: Factor, series: int, *, name: str) -> Chart:
    rows = [
        ChartRow(
            label=factor.setting(position),
            text=_level_text(factor, position),
            series=series,
            mean=level.mean.mean,
            low=level.mean.ci95_low,
            high=level.mean.ci95_high,
            is_few=level.mean.n < FEWEST,
        )
        for position, level in enumerate(factor.levels)
    ]
    caption = f"{factor.name}: mean over all other settings"
    drawing = forest(
        rows,
        name=name,
        alternative=describe(caption, rows),
        x_label="mean test accuracy",
        around_zero=False,
        bounds=SHARES,
    )
    return Chart(drawing, caption)


def _level_text(factor: Factor, position: int) -> str:
    level = factor.levels[position]
    if position == factor.best:
        return f"{number(level.mean.mean)}, the highest"
    to_best = estimate(level.to_best.mean, vars(level.to_best), level.to_best.n)
    return f"{number(level.mean.mean)}, minus the highest: {to_best}"


def _heat_map(pair: FactorPair, *, series: int, name: str, caption: str) -> Drawing:
    """The means of all cells, the deeper the colour the higher; rows are those of `pair`."""
    rows, columns = pair.means.shape
    width = min(4.4, 1.3 + 0.45 * columns)
    with page_figure(width, 0.75 + 0.32 * rows) as figure:
        axes = figure.subplots()
        for level, places in _by_depth(pair.means):
            axes.add_patch(squares(places, series, opacity=0.065 * level))
        if columns <= _MOST_NUMBERS:
            _write_means(axes, pair.means)
        _value_axes(axes, pair)
        return Drawing(figure, name, _alternative(pair, caption), _marks(axes, pair))


def _by_depth(means: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The places of each of ten depths, from the lowest mean to the highest."""
    low, high = np.nanmin(means), np.nanmax(means)
    share = (means - low) / ((high - low) or 1.0)
    depth = np.where(np.isnan(means), 0, np.ceil(10 * share))
    for level in range(1, 11):
        places = np.argwhere(depth == level)
        if len(places):
            yield level, places


def _write_means(axes: Axes, means: NDArray[np.float64]) -> None:
    best = np.nanargmax(means)
    for place, mean in enumerate(means.flat):
        if not math.isnan(mean):
            row, column = divmod(place, means.shape[1])
            weight = "bold" if place == best else "normal"
            style: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "fontsize": 6.5,
                "fontweight": weight,
            }
            axes.text(column, row, f"{mean:.3f}"[1:], color=INK, in_layout=False, **style)


def _value_axes(axes: Axes, pair: FactorPair) -> None:
    rows, columns = pair.means.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_xticks(range(columns), _ticks(pair.columns))
    axes.set_yticks(range(rows), _ticks(pair.rows))
    axes.tick_params(length=0, labelsize=7.5, labelcolor=MUTED)
    axes.set_xlabel(pair.columns.name, fontsize=8)
    axes.set_ylabel(pair.rows.name, fontsize=8)
    for spine in axes.spines.values():
        spine.set_visible(True)


def _ticks(factor: Factor) -> list[str]:
    return [shown_value(value) for value in factor.values]


def _marks(axes: Axes, pair: FactorPair) -> Sequence[Mark]:
    return [
        Mark(axes, column, row, f"{_place(pair, row, column)}: {number(mean)}", is_square=True)
        for (row, column), mean in np.ndenumerate(pair.means)
        if not math.isnan(mean)
    ]


def _place(pair: FactorPair, row: int, column: int) -> str:
    return f"{pair.rows.setting(row)}, {pair.columns.setting(column)}"


def _alternative(pair: FactorPair, caption: str) -> str:
    best = divmod(int(np.nanargmax(pair.means)), pair.means.shape[1])
    worst = divmod(int(np.nanargmin(pair.means)), pair.means.shape[1])
    ends = [
        f"{what} {number(float(pair.means[place]))} at {_place(pair, *place)}"
        for what, place in (("highest", best), ("lowest", worst))
    ]
    return f"{caption}: {', '.join(ends)}."
