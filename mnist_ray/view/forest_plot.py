"""Forest plots: means with their intervals, one row below the other, and the values as dots."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mnist_ray.analysis.numbers import DASH, number
from mnist_ray.ledger.record import Record
from mnist_ray.view.formats import has_no_spread
from mnist_ray.view.svg import (
    INK,
    MUTED,
    WIDTH,
    Drawing,
    Mark,
    page_figure,
    rule_lines,
    series_colour,
)

MOST_ROWS = 60
"""Rows of a figure; the rest is in the Parquet files."""
_ALTERNATIVES = 12
"""Rows that a text alternative names."""
_ROW_CHARACTERS = 58
"""Of label and text together that fit beside each other."""
_LINE_CHARACTERS = 60
_MOST_MARKS = 5000
"""Dots of a figure that say what they are; more would make the page large."""
SHARES = (0.0, 1.0)
"""Between which accuracies lie."""
_TEXT_LINE, _DOTS_LANE, _MEAN_LANE, _GAP = 0.17, 0.17, 0.13, 0.09
"""Heights in inches: of a line of text, of lanes for dots and for means, and between rows."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ChartRow:
    """Values as dots, their mean and its interval, and text beside it."""

    label: str
    text: str
    series: int | None
    """The colour, by number; None for that of text."""
    mean: float | None
    low: float | None = None
    high: float | None = None
    values: Sequence[float] = ()
    titles: Sequence[str] = ()
    """What each value says when it is pointed at."""
    is_few: bool = False
    """Whether the mean is over too few values for its interval to say much."""


def estimate(value: float | None, row: Mapping[str, Any], n: int) -> str:
    """A mean over `n` values with its interval, where there is one."""
    if value is None:
        return DASH
    if has_no_spread(row, n):
        return f"{number(value)}, no spread seen"
    if row["ci95_low"] is None:
        return number(value)
    return f"{number(value)} [{number(row['ci95_low'])}, {number(row['ci95_high'])}]"


def describe(what: str, rows: Sequence[ChartRow]) -> str:
    described = "; ".join(f"{row.label} {row.text}" for row in rows[:_ALTERNATIVES])
    more = f"; and {len(rows) - _ALTERNATIVES} more" if len(rows) > _ALTERNATIVES else ""
    return f"{what}: {described}{more}."


def trial_title(record: Record, accuracy: float) -> str:
    """What a dot says of its trial."""
    seconds = record.costs.train_seconds
    took = "" if seconds is None else f", {seconds:.1f} s of training"
    return f"trial {record.trial}: {number(accuracy)}{took}"


# Drawing


def dots(
    rows: Sequence[ChartRow],
    *,
    name: str,
    alternative: str,
    x_label: str,
    reference: float | None = None,
) -> Drawing:
    """Every value, a share from 0 to 1, as a dot, below them mean and interval.

    At `reference` is a line across all rows.
    """
    with _lanes(rows, x_label, _DOTS_LANE + _MEAN_LANE) as (figure, axes, inch, tops):
        low, high = _limits([x for row in rows for x in _extent(row)], SHARES)
        axes.set_xlim(low, high)
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        marks: list[Mark] = []
        for row, top in zip(rows, tops, strict=True):
            order = np.argsort(np.asarray(row.values, np.float64), kind="stable")
            values = np.asarray(row.values, np.float64)[order]
            offsets = _swarm(values, width=(high - low) / 100)
            y = top + inch * _DOTS_LANE * (0.5 + offsets)
            size = 4.5 if len(values) <= 200 else 2.0
            axes.add_patch(_round_dots(values, y, row.series, size))
            if len(marks) + len(row.titles) <= _MOST_MARKS:
                places = zip(values, y, (row.titles[i] for i in order), strict=True)
                marks += [Mark(axes, *place) for place in places] if row.titles else []
            _draw_mean(axes, row, top + inch * (_DOTS_LANE + _MEAN_LANE / 2), SHARES)
        return Drawing(figure, name, alternative, marks)


def forest(
    rows: Sequence[ChartRow],
    *,
    name: str,
    alternative: str,
    x_label: str,
    around_zero: bool = True,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Drawing:
    """Means or differences with their intervals; drawn as far as the values' `bounds`."""
    with _lanes(rows, x_label, _MEAN_LANE) as (figure, axes, inch, tops):
        zero = [0.0] if around_zero else []
        axes.set_xlim(_limits([*zero, *(x for row in rows for x in _extent(row))], bounds))
        for row, top in zip(rows, tops, strict=True):
            if around_zero:
                # Zero, in the lane alone: a label may stand where it is.
                bottom = top + inch * _MEAN_LANE
                axes.vlines(0, top, bottom, color=MUTED, linewidth=0.8, zorder=1)
            _draw_mean(axes, row, top + inch * _MEAN_LANE / 2, bounds)
        return Drawing(figure, name, alternative)


@contextmanager
def _lanes(
    rows: Sequence[ChartRow], x_label: str, lane: float
) -> Iterator[tuple[Figure, Axes, float, list[float]]]:
    """Axes with a lane, `lane` inches high, for each row, its label and text above it.

    Gives the figure, its axes, what an inch is in y, and the top of each lane in y.
    """
    stacked = any(len(row.label) + len(row.text) > _ROW_CHARACTERS for row in rows)
    labels = [_wrapped(row.label) for row in rows]
    above = _TEXT_LINE * (max(len(label) for label in labels) + stacked)
    height = above + lane + _GAP
    total = height * len(rows) + 0.5
    with page_figure(WIDTH, total) as figure:
        # By hand, so that the labels of all figures begin where their captions do.
        figure.set_layout_engine("none")
        margins = {"left": 0, "right": 1, "bottom": 0.47 / total, "top": 1 - 0.03 / total}
        axes = figure.subplots(gridspec_kw=margins)
        axes.set(ylim=(len(rows), 0), yticks=[], xlabel=x_label)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        rule_lines(axes, "x")
        style: dict[str, Any] = {
            "transform": axes.get_yaxis_transform(),
            "va": "center",
            "fontsize": 8.5,
        }
        for top, (row, label) in enumerate(zip(rows, labels, strict=True)):
            for number, line in enumerate(label):
                y = top + (number + 0.5) * _TEXT_LINE / height
                axes.text(0, y, line, ha="left", color=INK, **style)
            x, side = (0, "left") if stacked else (1, "right")
            y = top + (len(label) + stacked - 0.5) * _TEXT_LINE / height
            axes.text(x, y, row.text, ha=side, color=MUTED, **style)
        yield figure, axes, 1 / height, [top + above / height for top in range(len(rows))]


def _wrapped(label: str) -> list[str]:
    """In at most two lines that fit a phone."""
    lines = textwrap.wrap(
        label, _LINE_CHARACTERS, max_lines=2, placeholder="…", break_on_hyphens=False
    )
    return lines or [label]


def _draw_mean(axes: Axes, row: ChartRow, place: float, bounds: tuple[float, float]) -> None:
    if row.mean is None:
        return
    colour = series_colour(row.series)
    if row.low is not None and row.high is not None:
        ends = np.clip([row.low, row.high], *bounds)
        axes.plot(ends, [place, place], color=colour, linewidth=1.6)
    axes.plot(
        [row.mean],
        [place],
        color=colour,
        marker="D",
        markersize=4.2,
        linestyle="none",
        fillstyle="none" if row.is_few else "full",
        clip_on=False,
    )


def _extent(row: ChartRow) -> list[float]:
    ends = [row.mean, row.low, row.high, *row.values]
    return [value for value in ends if value is not None]


def _limits(values: Sequence[float], bounds: tuple[float, float]) -> tuple[float, float]:
    """From below the smallest to above the largest value, as far as values may be; never without
    width."""
    low, high = np.clip([min(values, default=0.0), max(values, default=1.0)], *bounds)
    margin = 0.05 * (high - low) or 0.005
    return max(low - margin, bounds[0]), min(high + margin, bounds[1])


def _swarm(values: FloatArray, *, width: float) -> FloatArray:
    """Offsets, from -0.5 to 0.5, that keep sorted values apart where many are within `width`."""
    offsets = np.zeros(len(values))
    bins = np.floor(values / width)
    for bin_ in np.unique(bins):
        members = np.flatnonzero(bins == bin_)
        steps = (np.arange(len(members)) + 1) // 2 * np.where(np.arange(len(members)) % 2, 1, -1)
        offsets[members] = steps * min(0.25, 1 / max(len(members), 1))
    return offsets


def _round_dots(x: FloatArray, y: FloatArray, series: int | None, size: float) -> PathPatch:
    """Dots as one path of strokes without length: a tenth of the text that markers take."""
    points = np.repeat(np.column_stack([x, y]), 2, axis=0)
    return PathPatch(
        Path(points, np.tile([Path.MOVETO, Path.LINETO], len(x))),
        fill=False,
        edgecolor=series_colour(series),
        linewidth=size,
        capstyle="round",
        alpha=0.6,
        clip_on=False,
    )
