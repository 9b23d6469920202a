"""Charts of grids: heat maps of two hyperparameters, and the marginal means of each one."""

from collections.abc import Iterator

import numpy as np

from mnist_ray.analysis.grids import Factor, FactorPair, Grid
from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.settings import shown_value
from mnist_ray.view.forest_plot import ChartRow, estimate, forest_plot
from mnist_ray.view.formats import FEWEST
from mnist_ray.view.heat_map import heat_map, write_in_square
from mnist_ray.view.svg import Chart, Mark, page_figure

_MOST_NUMBERS = 12
"""Columns of a heat map whose squares have numbers."""


def grid_charts(grid: Grid, *, series: int, position: int) -> Iterator[Chart]:
    """Heat maps of every two hyperparameters, then the marginal means of each one.

    `position` is that of the grid on the page.
    """
    for number_, pair in enumerate(grid.pairs):
        yield _heat_map(pair, series, name=f"grid-{position}-{number_}")
    for number_, factor in enumerate(grid.factors):
        if factor.levels:
            caption = f"{factor.name}: mean over all other settings"
            yield forest_plot(
                list(_level_rows(factor, series)),
                name=f"levels-{position}-{number_}",
                caption=caption,
                what=caption,
                x_label="mean test accuracy",
            )


def _level_rows(factor: Factor, series: int) -> Iterator[ChartRow]:
    for position, level in enumerate(factor.levels):
        if position == factor.best:
            below = "the highest"
        else:
            to_best = level.to_best
            below = f"minus the highest: {estimate(to_best.mean, vars(to_best), to_best.n)}"
        yield ChartRow(
            label=factor.setting(position),
            text=f"{number(level.mean.mean)}, {below}",
            series=series,
            mean=level.mean.mean,
            low=level.mean.ci95_low,
            high=level.mean.ci95_high,
            is_few=level.mean.n < FEWEST,
        )


def _heat_map(pair: FactorPair, series: int, *, name: str) -> Chart:
    """The means of all cells, the deeper the colour the higher; rows are those of `pair`."""
    means, marks = pair.means, []
    rows, columns = means.shape
    low, high = np.nanmin(means), np.nanmax(means)
    best = divmod(int(np.nanargmax(means)), columns)
    worst = divmod(int(np.nanargmin(means)), columns)
    caption = f"{pair.rows.name} and {pair.columns.name}: mean test accuracy"
    with page_figure(min(4.4, 1.3 + 0.45 * columns), 0.75 + 0.32 * rows) as figure:
        depths = (means - low) / ((high - low) or 1.0)
        names = {"x_label": pair.columns.name, "y_label": pair.rows.name}
        axes = heat_map(figure, depths, series, **names)
        axes.set_xticks(range(columns), [shown_value(value) for value in pair.columns.values])
        axes.set_yticks(range(rows), [shown_value(value) for value in pair.rows.values])
        for row, column in np.argwhere(~np.isnan(means)):
            mean = means[row, column]
            title = f"{_place(pair, row, column)}: {number(mean)}"
            marks.append(Mark(axes, column, row, title, is_square=True))
            if columns <= _MOST_NUMBERS:
                weight = "bold" if (row, column) == best else "normal"
                write_in_square(axes, (row, column), f"{mean:.3f}"[1:], weight=weight)
        ends = (
            f"highest {number(means[best])} at {_place(pair, *best)}, "
            f"lowest {number(means[worst])} at {_place(pair, *worst)}"
        )
        return Chart(figure, name, caption, alternative=f"{caption}: {ends}.", marks=marks)


def _place(pair: FactorPair, row: int, column: int) -> str:
    return f"{pair.rows.setting(row)}, {pair.columns.setting(column)}"
