"""Forest plots: means with their intervals, one row below the other, and the values as dots."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mnist_ray.analysis.numbers import FEWEST, no_spread, number
from mnist_ray.ledger.record import Record
from mnist_ray.view.svg import (
    INK,
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

MOST_ROWS = 60
"""Rows of a figure; the rest is in the Parquet files."""
_ALTERNATIVES = 12
"""Rows that a text alternative names."""
_ROW_CHARACTERS = 58
"""Of label and text together that fit beside each other."""
_LINE_CHARACTERS = 60
_MOST_MARKS = 5000
"""Dots of a figure that say what they are; more would make the page large."""
_TEXT_LINE, _DOTS_LANE, _MEAN_LANE, _GAP = 0.17, 0.17, 0.13, 0.09
"""Heights in inches: of a line of text, of lanes for dots and for means, and between rows."""


@dataclass(frozen=True)
class ChartRow:
    """Values as dots, their mean and its interval, and text beside it."""

    label: str
    text: str
    series: int | None
    """The colour, by number; None for that of text."""
    mean: float | None
    interval: tuple[float | None, float | None] = (None, None)
    """Of the mean: its ends."""
    dots: Sequence[tuple[float, str]] = ()
    """Values, and what each says when it is pointed at; nothing where that is empty."""
    n: int | None = None
    """How many values the mean is over; that over few is marked."""

    @property
    def drawn(self) -> list[float | None]:
        """All values that have a place on the axis."""
        return [self.mean, *self.interval, *(value for value, _ in self.dots)]


def estimate(value: float | None, row: Mapping[str, Any], n: int) -> str:
    """A mean over `n` values with its interval, where there is one."""
    if row["ci95_low"] is None:
        return number(value) + (", no spread seen" if no_spread(row, n) else "")
    return f"{number(value)} [{number(row['ci95_low'])}, {number(row['ci95_high'])}]"


def trial_dot(record: Record, accuracy: float) -> tuple[float, str]:
    """A trial as a dot."""
    seconds = record.costs.train_seconds
    took = "" if seconds is None else f", {seconds:.1f} s of training"
    return accuracy, f"trial {record.trial}: {number(accuracy)}{took}"


def forest_plot(
    rows: Sequence[ChartRow],
    *,
    name: str,
    caption: str,
    what: str,
    x_label: str,
    around_zero: bool = False,
    reference: float | None = None,
) -> Chart:
    """Rows of a label, its values as dots (where any row has values), and their mean and interval.

    Args:
        rows: at least one.
        name, caption: as those of `Chart`.
        what: what the rows show, for the text alternative.
        x_label: what is below the axis.
        around_zero: whether values are differences, from -1 to 1, and zero has a line in each row;
            else they are shares, from 0 to 1.
        reference: where a line crosses all rows.
    """
    bounds = (-1.0, 1.0) if around_zero else (0.0, 1.0)
    is_stacked = any(len(row.label) + len(row.text) > _ROW_CHARACTERS for row in rows)
    above = _TEXT_LINE * (max(len(_wrapped(row.label)) for row in rows) + is_stacked)
    has_dots = any(row.dots for row in rows)
    height = above + (_MEAN_LANE + (_DOTS_LANE if has_dots else 0.0)) + _GAP
    with page_figure(WIDTH, height * len(rows) + 0.5) as figure:
        axes = _axes(figure, x_label, height * len(rows))
        values = [value for row in rows for value in row.drawn]
        values += [0.0] if around_zero else []
        axes.set_xlim(limits(values, bounds, margin=(0.05, 0.005)))
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        marks: list[Mark] = []
        for position, row in enumerate(rows):
            top = height * position
            _write(axes, row, top, is_stacked=is_stacked)
            dots = _draw(axes, row, top + above, bounds=bounds, has_dots=has_dots)
            marks += dots if len(marks) + len(dots) <= _MOST_MARKS else []
        return Chart(figure, name, caption, alternative=_describe(what, rows), marks=marks)


def _wrapped(label: str) -> list[str]:
    """In at most two lines that fit a phone."""
    lines = textwrap.wrap(
        label, _LINE_CHARACTERS, max_lines=2, placeholder="…", break_on_hyphens=False
    )
    return lines or [label]


def _describe(what: str, rows: Sequence[ChartRow]) -> str:
    described = "; ".join(f"{row.label} {row.text}" for row in rows[:_ALTERNATIVES])
    more = f"; and {len(rows) - _ALTERNATIVES} more" if len(rows) > _ALTERNATIVES else ""
    return f"{what}: {described}{more}."


def _axes(figure: Figure, x_label: str, height: float) -> Axes:
    """Axes whose y is in inches, from above."""
    # By hand, so that the labels of all figures begin where their captions do.
    figure.set_layout_engine("none")
    total = figure.get_figheight()
    margins = {"left": 0, "right": 1, "bottom": 0.47 / total, "top": 1 - 0.03 / total}
    axes = figure.subplots(gridspec_kw=margins)
    axes.set(ylim=(height, 0), yticks=[], xlabel=x_label)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    rule_lines(axes, "x")
    return axes


def _write(axes: Axes, row: ChartRow, top: float, *, is_stacked: bool) -> None:
    """The lines of a row's label, and beside or below them its text."""
    style: dict[str, Any] = {"va": "center", "fontsize": 8.5}
    style["transform"] = axes.get_yaxis_transform()
    label = _wrapped(row.label)
    for index, line in enumerate(label):
        axes.text(0, top + (index + 0.5) * _TEXT_LINE, line, ha="left", color=INK, **style)
    x, side = (0, "left") if is_stacked else (1, "right")
    y = top + (len(label) + is_stacked - 0.5) * _TEXT_LINE
    axes.text(x, y, row.text, ha=side, color=MUTED, **style)


def _draw(
    axes: Axes, row: ChartRow, top: float, *, bounds: tuple[float, float], has_dots: bool
) -> list[Mark]:
    """A row's lane of dots, if there is one, and that of its mean; gives what the dots say."""
    marks = []
    if has_dots:
        marks = _draw_dots(axes, row, top)
        top += _DOTS_LANE
    if bounds[0] < 0:  # Zero, in the lane alone: a label may stand where it is.
        axes.vlines(0, top, top + _MEAN_LANE, color=MUTED, linewidth=0.8, zorder=1)
    _draw_mean(axes, row, top + _MEAN_LANE / 2, bounds)
    return marks


def _draw_dots(axes: Axes, row: ChartRow, top: float) -> list[Mark]:
    """A row's values, apart where several are close; gives what they say."""
    low, high = axes.get_xlim()
    dots = sorted(row.dots, key=itemgetter(0))
    x = np.asarray([value for value, _ in dots], np.float64)
    y = top + _DOTS_LANE * (0.5 + _swarm(x, (high - low) / 100))
    # One path of strokes without length takes a tenth of the text that markers take.
    points, codes = np.repeat(np.column_stack([x, y]), 2, axis=0), [Path.MOVETO, Path.LINETO]
    size = 4.5 if len(x) <= 200 else 2.0
    colour = series_colour(row.series)
    axes.add_patch(round_strokes(points, np.tile(codes, len(x)), colour, width=size, opacity=0.6))
    return [
        Mark(axes, value, place, said) for (value, said), place in zip(dots, y, strict=True) if said
    ]


def _swarm(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Offsets, from -0.5 to 0.5, that keep sorted values apart where many are within `width`."""
    offsets = np.zeros(len(values))
    bins = np.floor(values / width)
    for bin_ in np.unique(bins):
        members = np.flatnonzero(bins == bin_)
        steps = (np.arange(len(members)) + 1) // 2 * np.where(np.arange(len(members)) % 2, 1, -1)
        offsets[members] = steps * min(0.25, 1 / len(members))
    return offsets


def _draw_mean(axes: Axes, row: ChartRow, y: float, bounds: tuple[float, float]) -> None:
    if row.mean is None:
        return
    colour, (low, high) = series_colour(row.series), row.interval
    if low is not None and high is not None:
        axes.plot(np.clip([low, high], *bounds), [y, y], color=colour, linewidth=1.6)
    fill: Any = "full" if row.n is None or row.n >= FEWEST else "none"
    axes.plot([row.mean], [y], "D", color=colour, markersize=4.2, fillstyle=fill, clip_on=False)
