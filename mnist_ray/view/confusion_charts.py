"""Charts of confusion matrices: how often each class is taken for each other one."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mnist_ray.stats.predictions import confusion_matrix
from mnist_ray.view.cell_views import CellView
from mnist_ray.view.heat_map import heat_map, write_in_square
from mnist_ray.view.svg import INK, MUTED, Chart, Mark, page_figure

_CLASSES_WITH_NUMBERS = 12
_NUMBERED_TICKS = 10
_NAMED_TICKS = 20
_LONGEST_TICK = 16
"""Letters of a class' name on an axis."""
_TICK_INCHES = 0.075
"""Of one letter."""

Counts = NDArray[np.int64]
"""Images of a true class (row) that are taken for a class (column): int64 [classes, classes]."""


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
        name: of the chart.
        caption: what the matrix is of.
    """
    shares, errors = _shares(matrix), _errors(matrix)
    # Errors are rare: a square root keeps the small ones visible.
    depths = np.sqrt(np.minimum(errors / max(full_scale, 1e-9), 1))
    ticks = [_shortened(name) for name in names]
    margin = _TICK_INCHES * (max(map(len, ticks)) - 1)
    with page_figure(2.7 + margin, 2.7 + margin) as figure:
        axes = heat_map(figure, depths, series, x_label="predicted", y_label="truth")
        if len(matrix) <= _CLASSES_WITH_NUMBERS:
            for truth, predicted in np.argwhere(shares >= 0.005):
                text = f"{100 * shares[truth, predicted]:.0f}"
                colour = MUTED if truth == predicted else INK
                write_in_square(axes, (truth, predicted), text, colour=colour)
        _class_ticks(axes, ticks)
        return Chart(
            figure,
            name,
            caption,
            alternative=f"Confusion matrix of {caption}: {_worst(errors, names)}.",
            series=series,
            marks=list(_marks(axes, matrix, names)),
        )


def _shares(matrix: Counts) -> NDArray[np.float64]:
    """The shares of each true class that are taken for each class."""
    shares: NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _errors(matrix: Counts) -> NDArray[np.float64]:
    """The shares of each class that are taken for each other one."""
    shares = _shares(matrix)
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


def _marks(axes: Axes, matrix: Counts, names: Sequence[str]) -> Iterator[Mark]:
    for truth, predicted in np.argwhere(matrix > 0):
        count, of = matrix[truth, predicted], matrix[truth].sum()
        title = f"truth {names[truth]}, predicted {names[predicted]}: {count:,} of {of:,}"
        yield Mark(axes, predicted, truth, title, is_square=True)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_TICK else f"{name[: _LONGEST_TICK - 1]}…"


def _class_ticks(axes: Axes, names: Sequence[str]) -> None:
    are_long = max(map(len, names)) > 3
    step = max(1, len(names) // (_NAMED_TICKS if are_long else _NUMBERED_TICKS))
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=90 if are_long else 0)
    axes.set_yticks(range(0, len(names), step), names[::step])
    axes.set_aspect("equal")
