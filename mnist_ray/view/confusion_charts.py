"""Charts of confusion matrices: how often each class is taken for each other one."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mnist_ray.stats.predictions import confusion_matrix
from mnist_ray.view.cell_views import CellView
from mnist_ray.view.heat_map import squares
from mnist_ray.view.svg import (
    INK,
    MUTED,
    Chart,
    Drawing,
    Mark,
    page_figure,
)

_MOST_LINES = 8
_MOST_CURVES = 100
"""Trials of a cell that have a line of their own."""
_CLASSES_WITH_NUMBERS = 12
_NUMBERED_TICKS = 10
_NAMED_TICKS = 20
_LONGEST_TICK = 16
"""Letters of a class' name on an axis."""
_TICK_INCHES = 0.075
"""Of one letter."""


def confusion_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each cell whose predictions are known, all on the same scale."""
    known = [(view, matrix) for view in views if (matrix := _confusion(view)) is not None]
    full_scale = max((float(_errors(matrix).max()) for _, matrix in known), default=1.0)
    for position, (view, matrix) in enumerate(known):
        svg = confusion(
            matrix,
            view.test_set.names if view.test_set else (),
            series=view.series,
            full_scale=full_scale,
            numbers=len(matrix) <= _CLASSES_WITH_NUMBERS,
            name=f"confusion-{position}",
            alternative=_confusion_alternative(view, matrix),
        )
        yield Chart(svg, view.label, view.series)


def _confusion(view: CellView) -> NDArray[np.int64] | None:
    predictions = view.predictions()
    if predictions is None or view.test_set is None:
        return None
    return confusion_matrix(view.test_set.labels, predictions, view.test_set.classes)


def _shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """The shares of each true class that are taken for each class."""
    shares: NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _errors(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """The shares of each class that are taken for each other one."""
    shares = _shares(matrix)
    np.fill_diagonal(shares, 0)
    return shares


def _confusion_alternative(view: CellView, matrix: NDArray[np.int64]) -> str:
    errors, names = _errors(matrix), view.test_set.names if view.test_set else ()
    order = np.argsort(-errors, axis=None)[:3]
    places = [divmod(int(place), len(matrix)) for place in order if errors.flat[place] > 0]
    worst = ", ".join(
        f"{100 * errors[truth, predicted]:.1f} % of {names[truth]} as {names[predicted]}"
        for truth, predicted in places
    )
    summary = f"most often it classifies {worst}" if worst else "no errors"
    return f"Confusion matrix of {view.label}: {summary}."


def confusion(
    matrix: NDArray[np.int64],
    names: Sequence[str],
    *,
    series: int,
    full_scale: float,
    numbers: bool,
    name: str,
    alternative: str,
) -> Drawing:
    """How often each class is taken for each other one.

    Args:
        matrix: int64 [classes, classes], rows the truth; at least one row with a count.
        names: of the classes.
        series: the colour.
        full_scale: share of a class' images, from 0 to 1, that has the deepest colour.
        numbers: write shares in percent into the squares, on the diagonal those that are right.
        name: of the figure in the page.
        alternative: its text alternative.
    """
    # Errors are rare: a square root keeps the small ones visible.
    depth = np.ceil(10 * np.sqrt(np.minimum(_errors(matrix) / max(full_scale, 1e-9), 1)))
    ticks = [_shortened(name) for name in names]
    margin = _TICK_INCHES * (max(map(len, ticks)) - 1)
    with page_figure(2.7 + margin, 2.7 + margin) as figure:
        axes = figure.subplots()
        for level in range(1, 11):
            places = np.argwhere(depth == level)
            if len(places):
                axes.add_patch(squares(places, series, opacity=0.065 * level))
        if numbers:
            _write_shares(axes, _shares(matrix))
        _class_axes(axes, ticks)
        return Drawing(figure, name, alternative, _counts(axes, matrix, names))


def _counts(axes: Axes, matrix: NDArray[np.int64], names: Sequence[str]) -> list[Mark]:
    return [
        Mark(
            axes,
            predicted,
            truth,
            f"truth {names[truth]}, predicted {names[predicted]}: {matrix[truth, predicted]:,} of "
            f"{matrix[truth].sum():,}",
            is_square=True,
        )
        for truth, predicted in np.argwhere(matrix > 0)
    ]


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    for truth, predicted in np.argwhere(shares >= 0.005):
        axes.text(
            predicted,
            truth,
            f"{100 * shares[truth, predicted]:.0f}",
            ha="center",
            va="center",
            fontsize=6.5,
            in_layout=False,  # they are inside anyway, and there are many
            color=MUTED if truth == predicted else INK,
        )


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_TICK else f"{name[: _LONGEST_TICK - 1]}…"


def _class_axes(axes: Axes, names: Sequence[str]) -> None:
    classes, are_long = len(names), max(map(len, names)) > 3
    step = max(1, classes // (_NAMED_TICKS if are_long else _NUMBERED_TICKS))
    ticks = range(0, classes, step)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5))
    axes.set_xticks(ticks, names[::step], rotation=90 if are_long else 0, parse_math=False)
    axes.set_yticks(ticks, names[::step], parse_math=False)
    axes.set_aspect("equal")
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("truth", fontsize=8)
    for spine in axes.spines.values():
        spine.set_visible(True)
