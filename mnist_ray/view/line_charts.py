"""Charts of lines: how cells learn over the epochs, and hold against shifts."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, MaxNLocator

from mnist_ray.analysis.numbers import FEWEST
from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.tables import Row
from mnist_ray.ledger.record import Record
from mnist_ray.view.cell_views import CellView, choose
from mnist_ray.view.svg import (
    MUTED,
    WIDTH,
    Chart,
    Mark,
    limits,
    page_figure,
    round_strokes,
    rule_lines,
    series_colour,
)

_MOST_LINES = 8
_MOST_CURVES = 100
"""Trials of a cell that have a line of their own."""
_MOST_POINTS = 400
"""The most points of a chart that each say what they are; where there are more, only those of the
last epochs do.
"""


# Learning curves

_HIGHEST = {"accuracy": 1.0, "loss": math.inf}
"""Where each measure ends."""
_PARTS = {"training": "train", "validation": "validation"}
"""Of the data, with the names that they have in `Epoch`."""


def learning_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each cell that has epochs, all on the same scales: a line for each trial."""
    shown = {
        view: view.results.finished[:_MOST_CURVES]
        for view in views
        if any(record.epochs for record in view.results.finished)
    }
    # Of all cells, so that their curves can be compared.
    ends = {measure: _ends(shown.values(), measure) for measure in _HIGHEST} if shown else {}
    for position, (view, records) in enumerate(shown.items()):
        yield _learning_chart(view, records, ends, name=f"learning-{position}")


def _learning_chart(
    view: CellView,
    records: Sequence[Record],
    ends: Mapping[str, tuple[float, float]],
    *,
    name: str,
) -> Chart:
    """Each measure over the epochs, one below the other; `ends` are those of its axis."""
    with page_figure(3.5, 1.45 * len(ends) + 0.35) as figure:
        panels = figure.subplots(len(ends), 1, sharex=True)
        marks: list[Mark] = []
        for axes, measure in zip(panels, ends, strict=True):
            marks += _draw_curves(axes, view, records, measure=measure)
            axes.set(ylim=ends[measure], ylabel=measure)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        last = max(len(record.epochs) for record in records)
        axes.set(xlabel="epoch", xlim=(0.9, last + 0.1))
        axes.xaxis.set_major_locator(
            FixedLocator([1]) if last == 1 else MaxNLocator(6, integer=True)
        )
        alternative = (
            f"Learning curves of {len(records)} trials of {view.label}: training and validation "
            "accuracy above, loss below."
        )
        return Chart(figure, name, view.label, alternative, series=view.series, marks=marks)


def _line(record: Record, part: str, measure: str) -> list[float | None]:
    """The values of one measure from epoch 1 on."""
    return [getattr(epoch, f"{_PARTS[part]}_{measure}") for epoch in record.epochs]


def _ends(cells: Iterable[Sequence[Record]], measure: str) -> tuple[float, float]:
    lines = (_line(record, part, measure) for each in cells for record in each for part in _PARTS)
    bounds = (0.0, _HIGHEST[measure])
    return limits((value for line in lines for value in line), bounds, margin=(0.06, 0.01))


def _draw_curves(
    axes: Axes, view: CellView, records: Sequence[Record], *, measure: str
) -> Iterator[Mark]:
    """A line for each trial and part of the data; gives the titles of its epochs, or of the last
    one.
    """
    epochs = [len(record.epochs) for record in records]
    are_few = len(_HIGHEST) * len(_PARTS) * sum(epochs) <= _MOST_POINTS
    for part in _PARTS:
        lines = [_line(record, part, measure) for record in records]
        for record, line in zip(records, lines, strict=True):
            for epoch, value in enumerate(line, start=1):
                if value is not None and (are_few or epoch == len(line)):
                    place = f"trial {record.trial}, epoch {epoch}"
                    yield Mark(axes, epoch, value, f"{place}: {part} {measure} {value:.4f}")
        axes.add_patch(
            round_strokes(
                *_path(lines),
                MUTED if part == "training" else series_colour(view.series),
                width=4.0 if max(epochs) < 2 else 0.9,
                opacity=0.75,
            )
        )


def _path(
    lines: Sequence[Sequence[float | None]],
) -> tuple[Sequence[tuple[float, float]], Sequence[np.uint8]]:
    """All lines as one path; a gap where a value is missing, a dot where it is alone."""
    points: list[tuple[float, float]] = []
    codes: list[np.uint8] = []
    for line in lines:
        pen_down = False
        for epoch, value in enumerate(line, start=1):
            if value is not None:
                points += [(epoch, value)] * (1 if pen_down else 2)
                codes += [Path.LINETO] if pen_down else [Path.MOVETO, Path.LINETO]
            pen_down = value is not None
    return points, codes


# Robustness

_DASHES: Sequence[Any] = (
    *("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))),
    *((0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2, 4, 2))),
)
"""Of lines of one colour; as many as there are lines at most."""


def robustness_chart(views: Sequence[CellView]) -> Chart | None:
    """Mean accuracy over the test shift, with bands for intervals, or whiskers if bands overlap.

    None where no other test shifts are asked for.
    """
    lines = _lines_over_shifts(views)
    if not lines:
        return None
    columns = 2 if all(len(view.label) <= 24 for view in lines) else 1
    legend_rows = math.ceil(len(lines) / columns)
    with page_figure(WIDTH, 2.9 + 0.19 * legend_rows) as figure:
        axes = figure.subplots()
        # Cells of one architecture have its colour, and differ in their dashes.
        drawn: Counter[int] = Counter()
        marks: list[Mark] = []
        has_bands = not _overlap(lines.values())
        for view, rows in lines.items():
            dashes = _DASHES[drawn[view.series]]
            marks += _draw_line(axes, view, rows, dashes=dashes, has_band=has_bands)
            drawn[view.series] += 1
        _scale_over_shifts(axes, {row["test_shift"] for rows in lines.values() for row in rows})
        figure.legend(
            loc="outside upper left", ncols=columns, handlelength=4, borderaxespad=0, fontsize=8.5
        )
        described = "; ".join(_describe(view, rows) for view, rows in lines.items())
        return Chart(
            figure,
            name="robustness",
            caption="",
            alternative=f"Mean test accuracy by shift of the test images. {described}.",
            marks=marks,
        )


def _lines_over_shifts(views: Sequence[CellView]) -> dict[CellView, list[Row]]:
    """The rows of robustness.parquet of each cell that has a line, in the order of the shifts."""
    return {
        view: sorted(view.on_shifts, key=lambda row: int(row["test_shift"]))
        for view in choose(views, _MOST_LINES)
        if view.on_shifts
    }


def _scale_over_shifts(axes: Axes, shifts: Iterable[int]) -> None:
    axes.set(xlabel="shift of the test images, pixels", ylabel="mean test accuracy")
    axes.set_xticks(sorted(shifts))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0.0), min(high, 1.0))
    rule_lines(axes, "y")


def _describe(view: CellView, rows: Sequence[Row]) -> str:
    points = [(row["test_shift"], row["mean_test_accuracy"]) for row in rows]
    shown = [f"{mean:.3f} at {shift:.0f}" for shift, mean in points if mean is not None]
    return f"{view.label} {', '.join(shown)}"


def _overlap(lines: Iterable[Sequence[Row]]) -> bool:
    """Whether intervals of two lines have values in common at any shift."""
    rows = [row for line in lines for row in line if row["ci95_low"] is not None]
    at_shifts = grouped(rows, lambda row: int(row["test_shift"])).values()
    ascending = [sorted((row["ci95_low"], row["ci95_high"]) for row in at) for at in at_shifts]
    return any(
        following[0] <= before[1]
        for intervals in ascending
        for before, following in pairwise(intervals)
    )


def _draw_line(
    axes: Axes, view: CellView, rows: Sequence[Row], *, dashes: Any, has_band: bool
) -> Iterator[Mark]:
    """Means and intervals as far as accuracies go; gives what the points say."""
    colour = series_colour(view.series)
    columns = ("test_shift", "mean_test_accuracy", "ci95_low", "ci95_high")
    x, means, *intervals = np.asarray([[row[name] for name in columns] for row in rows], float).T
    axes.plot(x, means, color=colour, linestyle=dashes, linewidth=1.4, label=view.label)
    for row, shift, mean in zip(rows, x, means, strict=True):
        fill: Any = "none" if row["trials"] < FEWEST else "full"
        axes.plot([shift], [mean], "o", color=colour, markersize=3.2, fillstyle=fill)
        if not np.isnan(mean):
            yield Mark(axes, shift, mean, f"{view.label}, shift {shift:.0f}: {mean:.4f}")
    ends = np.clip(intervals, 0, 1)
    if has_band:
        axes.fill_between(x, *ends, color=colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(x, *ends, color=colour, linewidth=1.0)
        axes.plot([*x, *x], ends.ravel(), "_", color=colour, markersize=5)
