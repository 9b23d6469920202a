"""Heat maps: confusion matrices, and the means of two hyperparameters of a grid."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from mnist_ray.analysis.grids import FactorPair, Grid
from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.settings import shown_value
from mnist_ray.stats.predictions import confusion_matrix
from mnist_ray.view.cell_views import CellView
from mnist_ray.view.svg import INK, MUTED, Chart, Mark, page_figure, series_colour

_CLASSES_WITH_NUMBERS = 12
_NUMBERED_TICKS = 10
_NAMED_TICKS = 20
_LONGEST_TICK = 16
"""Letters of a class' name on an axis."""
_TICK_INCHES = 0.075
"""Of one letter."""
_MOST_NUMBERS = 12
"""Columns of a grid whose squares have numbers."""
_CORNERS = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
# They are inside the axes anyway, and there are many.
_IN_SQUARE: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5, "in_layout": False}

Counts = NDArray[np.int64]
"""Images of a true class (row) that are taken for a class (column): int64 [classes, classes]."""


# Confusion matrices


def confusion_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each cell whose predictions are known, all on the same scale."""
    known = [(view, *found) for view in views if (found := _confusion(view))]
    full_scale = max((float(_errors(matrix).max()) for *_, matrix in known), default=1.0)
    for position, (view, names, matrix) in enumerate(known):
        yield confusion(
            matrix,
            names,
            series=view.series,
            full_scale=full_scale,
            name=f"confusion-{position}",
            caption=view.label,
        )


def _confusion(view: CellView) -> tuple[Sequence[str], Counts] | None:
    """The names of the classes, and the matrix of all trials together."""
    test_set, predictions = view.test_set, view.predictions()
    if test_set is None or predictions is None:
        return None
    return test_set.names, confusion_matrix(test_set.labels, predictions, test_set.classes)


def confusion(
    matrix: Counts,
    names: Sequence[str],
    *,
    series: int,
    full_scale: float,
    name: str,
    caption: str,
) -> Chart:
    """How often each class is taken for each other one; of few classes with shares in percent.

    Args:
        matrix: at least one row has a count.
        names: of the classes.
        series: the colour, and that beside the caption.
        full_scale: share of a class' images, from 0 to 1, that has the deepest colour.
        name, caption: as those of `Chart`; the caption says what the matrix is of.
    """
    errors = _errors(matrix)
    # Errors are rare: a square root keeps the small ones visible.
    depths = np.sqrt(np.minimum(errors / max(full_scale, 1e-9), 1))
    ticks = [_tick(name) for name in names]
    margin = _TICK_INCHES * (max(map(len, ticks)) - 1)
    with page_figure(2.7 + margin, 2.7 + margin) as figure:
        axes = _heat_map(figure, depths, series, x_label="predicted", y_label="truth")
        _class_ticks(axes, ticks)
        marks = list(_mark_counts(axes, matrix, names))
        alternative = f"Confusion matrix of {caption}: {_worst(errors, names)}."
        return Chart(figure, name, caption, alternative, series=series, marks=marks)


def _mark_counts(axes: Axes, matrix: Counts, names: Sequence[str]) -> Iterator[Mark]:
    """Write the shares in percent, if the classes are few; gives what the squares say."""
    for truth, predicted in np.argwhere(matrix > 0):
        count, images = matrix[truth, predicted], matrix[truth].sum()
        title = f"truth {names[truth]}, predicted {names[predicted]}: {count:,} of {images:,}"
        yield Mark(axes, predicted, truth, title, is_square=True)
        if len(matrix) <= _CLASSES_WITH_NUMBERS and count / images >= 0.005:
            colour = MUTED if truth == predicted else INK
            axes.text(predicted, truth, f"{100 * count / images:.0f}", color=colour, **_IN_SQUARE)


def _errors(matrix: Counts) -> NDArray[np.float64]:
    """The shares of each class that are taken for each other one."""
    shares: NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    return shares


def _worst(errors: NDArray[np.float64], names: Sequence[str]) -> str:
    order = np.argsort(-errors, axis=None)[:3]
    worst = ", ".join(
        f"{100 * errors[truth, predicted]:.1f} % of {names[truth]} as {names[predicted]}"
        for truth, predicted in zip(*np.unravel_index(order, errors.shape), strict=True)
        if errors[truth, predicted] > 0
    )
    return f"most often it classifies {worst}" if worst else "no errors"


def _tick(name: str) -> str:
    return name if len(name) <= _LONGEST_TICK else f"{name[: _LONGEST_TICK - 1]}…"


def _class_ticks(axes: Axes, names: Sequence[str]) -> None:
    are_long = max(map(len, names)) > 3
    step = max(1, len(names) // (_NAMED_TICKS if are_long else _NUMBERED_TICKS))
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=90 if are_long else 0)
    axes.set_yticks(range(0, len(names), step), names[::step])
    axes.set_aspect("equal")


# Grids


def grid_charts(grid: Grid, *, series: int, position: int) -> Iterator[Chart]:
    """One for every two hyperparameters; `position` is that of the grid on the page."""
    for index, pair in enumerate(grid.pairs):
        yield _pair_chart(pair, series, name=f"grid-{position}-{index}")


def _pair_chart(pair: FactorPair, series: int, *, name: str) -> Chart:
    """The means of all cells, the deeper the colour the higher; rows are those of `pair`."""
    means = pair.means
    rows, columns = means.shape
    low, high = np.nanmin(means), np.nanmax(means)
    best = divmod(int(np.nanargmax(means)), columns)
    worst = divmod(int(np.nanargmin(means)), columns)
    caption = f"{pair.rows.name} and {pair.columns.name}: mean test accuracy"
    with page_figure(min(4.4, 1.3 + 0.45 * columns), 0.75 + 0.32 * rows) as figure:
        depths = (means - low) / ((high - low) or 1.0)
        names = {"x_label": pair.columns.name, "y_label": pair.rows.name}
        axes = _heat_map(figure, depths, series, **names)
        axes.set_xticks(range(columns), [shown_value(value) for value in pair.columns.values])
        axes.set_yticks(range(rows), [shown_value(value) for value in pair.rows.values])
        marks = list(_mark_means(axes, pair, best))
        ends = (
            f"highest {number(means[best])} at {_place(pair, *best)}, "
            f"lowest {number(means[worst])} at {_place(pair, *worst)}"
        )
        return Chart(figure, name, caption, alternative=f"{caption}: {ends}.", marks=marks)


def _mark_means(axes: Axes, pair: FactorPair, best: tuple[int, int]) -> Iterator[Mark]:
    """Write the means, if the columns are few; gives what the squares say."""
    for row, column in np.argwhere(~np.isnan(pair.means)):
        mean = pair.means[row, column]
        title = f"{_place(pair, row, column)}: {number(mean)}"
        yield Mark(axes, column, row, title, is_square=True)
        if pair.means.shape[1] <= _MOST_NUMBERS:
            weight = "bold" if (row, column) == best else "normal"
            shown = f"{mean:.3f}".removeprefix("0")
            axes.text(column, row, shown, fontweight=weight, **_IN_SQUARE)


def _place(pair: FactorPair, row: int, column: int) -> str:
    return f"{pair.rows.setting(row)}, {pair.columns.setting(column)}"


# Drawing


def _heat_map(
    figure: Figure, depths: NDArray[np.float64], series: int, *, x_label: str, y_label: str
) -> Axes:
    """Axes with the squares of `depths`, float64 [rows, columns] from 0 to 1; NaN is no square."""
    axes = figure.subplots()
    levels = np.ceil(10 * np.nan_to_num(depths))
    for level in range(1, 11):
        places = np.argwhere(levels == level)
        if len(places):
            # All squares of a depth as one path.
            points = (places[:, np.newaxis, ::-1] + _CORNERS).reshape(-1, 2)
            codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(places))
            style = {"facecolor": series_colour(series), "alpha": 0.065 * level, "linewidth": 0}
            axes.add_patch(PathPatch(Path(points, codes), **style))
    rows, columns = depths.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylabel(y_label, fontsize=8)
    axes.spines[:].set_visible(True)
    return axes
