"""Charts of how cells learn, hold against shifts, and confuse classes."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from mnist_ray.ledger.record import Epoch
from mnist_ray.view.cell_views import CellView, Row, choose
from mnist_ray.view.formats import FEWEST
from mnist_ray.view.svg import (
    MUTED,
    WIDTH,
    Chart,
    Drawing,
    Mark,
    page_figure,
    rule_lines,
    series_colour,
)

_MOST_LINES = 8
_MOST_CURVES = 100
"""Trials of a cell that have a line of their own."""
_MOST_POINTS = 400
"""Of a chart, that each say what they are; where there are more, those of the last epochs do."""
_NUMBERED_TICKS = 10
_NAMED_TICKS = 20
_LONGEST_TICK = 16
"""Letters of a class' name on an axis."""
_TICK_INCHES = 0.075
"""Of one letter."""


# Learning curves


@dataclass(frozen=True)
class Curve:
    """One measure over the epochs: a line for each trial, from epoch 1."""

    series: int | None
    """The colour, by number; None for that of notes."""
    lines: Sequence[Sequence[float | None]]
    part: str
    """Of the data: training or validation."""
    trials: Sequence[int]
    """The number of each line's trial."""


_Measure = Callable[[Epoch], float | None]
_MEASURES: dict[str, tuple[_Measure, _Measure]] = {
    "accuracy": (lambda e: e.train_accuracy, lambda e: e.validation_accuracy),
    "loss": (lambda e: e.train_loss, lambda e: e.validation_loss),
}
"""Of training and of validation."""


def learning_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each cell that has epochs, all on the same scales."""
    views = [view for view in views if any(record.epochs for record in view.results.finished)]
    # Accuracies end at 1, losses nowhere.
    highest = {"accuracy": 1.0}
    limits = [
        _shared_limits(views, pair, highest=highest.get(name, math.inf))
        for name, pair in _MEASURES.items()
    ]
    for position, view in enumerate(views):
        shown = min(len(view.results.finished), _MOST_CURVES)
        svg = learning_curves(
            [(name, _curves(view, pair)) for name, pair in _MEASURES.items()],
            limits=limits,
            name=f"learning-{position}",
            alternative=f"Learning curves of {shown} trials of {view.label}: training and "
            "validation accuracy above, loss below.",
        )
        yield Chart(svg, view.label, view.series)


def _curves(view: CellView, pair: tuple[_Measure, _Measure]) -> list[Curve]:
    trials = view.results.finished[:_MOST_CURVES]
    return [
        Curve(
            series,
            [[measure(epoch) for epoch in record.epochs] for record in trials],
            part=part,
            trials=[record.trial for record in trials],
        )
        for series, measure, part in zip(
            (None, view.series), pair, ("training", "validation"), strict=True
        )
    ]


def _shared_limits(
    views: Sequence[CellView], pair: tuple[_Measure, _Measure], *, highest: float
) -> tuple[float, float]:
    """Of all cells, so that their curves can be compared."""
    lines = [line for view in views for curve in _curves(view, pair) for line in curve.lines]
    values = [value for line in lines for value in line if value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.01
    return max(low - margin, 0.0), min(high + margin, highest)


def learning_curves(
    panels: Sequence[tuple[str, Sequence[Curve]]],
    *,
    limits: Sequence[tuple[float, float]],
    name: str,
    alternative: str,
) -> Drawing:
    """Measures over the epochs, one panel (its label and curves) below the other.

    `limits` are those of each panel's y axis.
    """
    lines = [line for _, curves in panels for curve in curves for line in curve.lines]
    points = sum(map(len, lines))
    with page_figure(3.5, 1.45 * len(panels) + 0.35) as figure:
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        marks: list[Mark] = []
        for axes, (label, curves), low_and_high in zip(grid, panels, limits, strict=True):
            for curve in curves:
                marks += _points(axes, label, curve, every=points <= _MOST_POINTS)
                axes.add_patch(_lines(curve))
            axes.set(ylim=low_and_high, ylabel=label)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        last = max([1, *map(len, lines)])
        grid[-1].set(xlabel="epoch", xlim=(0.9, last + 0.1))
        if last == 1:
            grid[-1].set_xticks([1])
        else:
            grid[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return Drawing(figure, name, alternative, marks)


def _points(axes: Axes, measure: str, curve: Curve, *, every: bool) -> Iterator[Mark]:
    """What each epoch of a curve says, or only each line's last."""
    for trial, line in zip(curve.trials, curve.lines, strict=True):
        for epoch, value in enumerate(line, start=1):
            if value is not None and (every or epoch == len(line)):
                said = f"trial {trial}, epoch {epoch}: {curve.part} {measure} {value:.4f}"
                yield Mark(axes, epoch, value, said)


def _lines(curve: Curve) -> PathPatch:
    """All lines of a curve as one path; a gap where a value is missing, a dot where it is alone."""
    points: list[tuple[float, float]] = []
    codes: list[np.uint8] = []
    for line in curve.lines:
        pen_down = False
        for epoch, value in enumerate(line, start=1):
            if value is not None:
                points += [(epoch, value)] * (1 if pen_down else 2)
                codes += [Path.LINETO] if pen_down else [Path.MOVETO, Path.LINETO]
            pen_down = value is not None
    single = all(len(line) < 2 for line in curve.lines)
    return PathPatch(
        Path(np.asarray(points, np.float64).reshape(-1, 2), np.asarray(codes, np.uint8)),
        fill=False,
        edgecolor=MUTED if curve.series is None else series_colour(curve.series),
        linewidth=4.0 if single else 0.9,
        capstyle="round",
        alpha=0.75,
        clip_on=False,
    )


# Robustness


@dataclass(frozen=True)
class Line:
    """A cell's mean accuracies over the test shift, with their intervals."""

    label: str
    series: int
    """The colour, by number."""
    style: int
    """The dash pattern, by number."""
    rows: Sequence[Row]
    """Of robustness.parquet, in the order of shifts."""


def robustness_chart(views: Sequence[CellView]) -> Chart | None:
    """Mean accuracy over the test shift; None where no other test shifts are asked for."""
    drawn: Counter[int] = Counter()
    lines = []
    for view in choose(views, _MOST_LINES):
        if view.robustness:
            rows = sorted(view.robustness, key=lambda row: int(row["test_shift"]))
            # Cells of one architecture have its colour, and differ in their dashes.
            lines.append(Line(view.label, view.series, drawn[view.series], rows))
            drawn[view.series] += 1
    if not lines:
        return None
    described = "; ".join(map(_describe_line, lines))
    return Chart(
        robustness_lines(
            lines,
            name="robustness",
            alternative=f"Mean test accuracy by shift of the test images. {described}.",
        ),
        "",
    )


def _describe_line(line: Line) -> str:
    points = [(row["test_shift"], row["mean_test_accuracy"]) for row in line.rows]
    shown = [f"{mean:.3f} at {shift:.0f}" for shift, mean in points if mean is not None]
    return f"{line.label} {', '.join(shown)}"


def robustness_lines(lines: Sequence[Line], *, name: str, alternative: str) -> Drawing:
    """Means over the test shift, with bands for their intervals; whiskers where bands overlap."""
    columns = 2 if all(len(line.label) <= 24 for line in lines) else 1
    legend_rows = math.ceil(len(lines) / columns)
    with page_figure(WIDTH, 2.9 + 0.19 * legend_rows) as figure:
        axes = figure.subplots()
        bands = not _overlap(lines)
        marks = [mark for line in lines for mark in _draw_line(axes, line, band=bands)]
        axes.set(xlabel="shift of the test images, pixels", ylabel="mean test accuracy")
        axes.set_xticks(sorted({row["test_shift"] for line in lines for row in line.rows}))
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0.0), min(high, 1.0))
        rule_lines(axes, "y")
        figure.legend(
            loc="outside upper left", ncols=columns, handlelength=4, borderaxespad=0, fontsize=8.5
        )
        return Drawing(figure, name, alternative, marks)


def _overlap(lines: Sequence[Line]) -> bool:
    """Whether intervals of two lines have values in common at any shift."""
    at: dict[float, list[tuple[float, float]]] = {}
    for row in (row for line in lines for row in line.rows if row["ci95_low"] is not None):
        at.setdefault(row["test_shift"], []).append((row["ci95_low"], row["ci95_high"]))
    ascending = [sorted(intervals) for intervals in at.values()]
    return any(
        following[0] <= before[1]
        for intervals in ascending
        for before, following in pairwise(intervals)
    )


def _draw_line(axes: Axes, line: Line, *, band: bool) -> Iterator[Mark]:
    """A line and its intervals, which end at 0 and 1; gives what its points say."""
    colour = series_colour(line.series)
    columns = ("test_shift", "mean_test_accuracy", "ci95_low", "ci95_high")
    x, means, lows, highs = (
        np.asarray([row[column] for row in line.rows], np.float64) for column in columns
    )
    lows, highs = np.clip(lows, 0, 1), np.clip(highs, 0, 1)
    dashes = _DASHES[line.style % len(_DASHES)]
    axes.plot(x, means, color=colour, linestyle=dashes, linewidth=1.4, label=line.label)
    for row in line.rows:
        few = row.get("trials", FEWEST) < FEWEST
        point = ([row["test_shift"]], [row["mean_test_accuracy"]])
        fill = "none" if few else "full"
        axes.plot(
            *point, color=colour, linestyle="none", marker="o", markersize=3.2, fillstyle=fill
        )
        if row["mean_test_accuracy"] is not None:
            mean, shift = row["mean_test_accuracy"], row["test_shift"]
            yield Mark(axes, shift, mean, f"{line.label}, shift {shift:.0f}: {mean:.4f}")
    if band:
        axes.fill_between(x, lows, highs, color=colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(x, lows, highs, color=colour, linewidth=1.0)
        axes.plot(np.tile(x, 2), np.concatenate([lows, highs]), color=colour, **_WHISKER_ENDS)


_DASHES: Sequence[Any] = (
    *("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))),
    *((0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2, 4, 2))),
)
"""Of lines of one colour; as many as there are lines at most."""
_WHISKER_ENDS: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 5}
