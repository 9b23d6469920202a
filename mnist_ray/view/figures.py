"""The kinds of plots on the page, drawn with matplotlib and given as SVG."""

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mnist_ray.view.svg import INK, MUTED, RULE, page_figure, series_colour, to_svg

_WIDTH = 4.4
"""Inches of a figure as wide as the text; narrow enough to be read on a phone."""
_ROW_CHARACTERS = 58
"""Of label and text together that fit beside each other."""
_LINE_CHARACTERS = 60
_TEXT_LINE, _DOTS_LANE, _MEAN_LANE, _GAP = 0.17, 0.17, 0.13, 0.09
"""Heights in inches: of a line of text, of lanes for dots and for means, and between rows."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One line of a plot: values as dots, their mean and its interval, and text beside it."""

    label: str
    text: str
    series: int | None
    """The colour, by number; None for that of text."""
    mean: float | None
    low: float | None
    high: float | None
    values: Sequence[float] = ()


@dataclass(frozen=True)
class Curve:
    """One measure over the epochs: a line for each trial, from epoch 1."""

    series: int | None
    """The colour, by number; None for that of notes."""
    lines: Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Line:
    """Means with their intervals over `x`; None where there is none."""

    label: str
    series: int
    """The colour, by number."""
    style: int
    """The dash pattern, by number."""
    x: Sequence[float]
    means: Sequence[float | None]
    lows: Sequence[float | None]
    highs: Sequence[float | None]


def dots(rows: Sequence[Row], *, name: str, alternative: str, x_label: str) -> str:
    """Every value as a dot, below them mean and interval; one row below the other."""
    with _lanes(rows, x_label, _DOTS_LANE + _MEAN_LANE) as (figure, axes, inch, tops):
        low, high = _limits([x for row in rows for x in _extent(row)])
        axes.set_xlim(low, high)
        for row, top in zip(rows, tops, strict=True):
            values = np.sort(np.asarray(row.values, np.float64))
            offsets = _swarm(values, width=(high - low) / 100)
            middle = top + inch * _DOTS_LANE / 2
            size = 4.5 if len(values) <= 200 else 2.0
            axes.add_patch(
                _round_dots(values, middle + inch * _DOTS_LANE * offsets, row.series, size)
            )
            _draw_mean(axes, row, top + inch * (_DOTS_LANE + _MEAN_LANE / 2))
        return to_svg(figure, name, alternative)


def forest(rows: Sequence[Row], *, name: str, alternative: str, x_label: str) -> str:
    """Differences with their intervals around zero, one row below the other."""
    with _lanes(rows, x_label, _MEAN_LANE) as (figure, axes, inch, tops):
        low, high = _limits([0.0, *(x for row in rows for x in _extent(row))])
        axes.set_xlim(low, high)
        for row, top in zip(rows, tops, strict=True):
            # Zero, in the lane alone: a label may stand where it is.
            axes.vlines(0, top, top + inch * _MEAN_LANE, color=MUTED, linewidth=0.8, zorder=1)
            _draw_mean(axes, row, top + inch * _MEAN_LANE / 2)
        return to_svg(figure, name, alternative)


def learning_curves(
    panels: Sequence[tuple[str, Sequence[Curve]]],
    *,
    limits: Sequence[tuple[float, float]],
    name: str,
    alternative: str,
) -> str:
    """Measures over the epochs, one panel (its label and curves) below the other.

    `limits` are those of each panel's y axis.
    """
    with page_figure(3.5, 1.45 * len(panels) + 0.35) as figure:
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        last = 1
        for axes, (label, curves), (low, high) in zip(grid, panels, limits, strict=True):
            for curve in curves:
                last = max([last, *(len(line) for line in curve.lines)])
                axes.add_patch(_lines(curve))
            axes.set_ylim(low, high)
            axes.set_ylabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        grid[-1].set_xlabel("epoch")
        grid[-1].set_xlim(0.9, last + 0.1)
        if last == 1:
            grid[-1].set_xticks([1])
        else:
            grid[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return to_svg(figure, name, alternative)


def curves_over(
    lines: Sequence[Line], *, name: str, alternative: str, x_label: str, y_label: str
) -> str:
    """Means as lines over something, with bands for their intervals."""
    columns = 2 if all(len(line.label) <= 24 for line in lines) else 1
    legend_rows = math.ceil(len(lines) / columns)
    with page_figure(_WIDTH, 2.9 + 0.19 * legend_rows) as figure:
        axes = figure.subplots()
        for line in lines:
            colour = series_colour(line.series)
            x, means, lows, highs = (
                np.asarray(part, np.float64) for part in (line.x, line.means, line.lows, line.highs)
            )
            dashes = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))[line.style % 4]
            axes.plot(x, means, color=colour, linestyle=dashes, linewidth=1.4, label=line.label)
            axes.plot(x, means, color=colour, linestyle="none", marker="o", markersize=3.2)
            axes.fill_between(x, lows, highs, color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_xticks(sorted({value for line in lines for value in line.x}))
        _rule_lines(axes, "y")
        figure.legend(
            loc="outside upper left", ncols=columns, handlelength=2.6, borderaxespad=0, fontsize=8.5
        )
        return to_svg(figure, name, alternative)


def confusion(
    matrix: NDArray[np.int64],
    *,
    series: int,
    full_scale: float,
    numbers: bool,
    name: str,
    alternative: str,
) -> str:
    """How often each class is taken for each other one.

    Args:
        matrix: int64 [classes, classes], rows the truth; at least one row with a count.
        series: the colour.
        full_scale: share of a class' images, from 0 to 1, that has the deepest colour.
        numbers: write shares in percent into the squares, on the diagonal those that are right.
        name: of the figure in the page.
        alternative: its text alternative.
    """
    classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    errors = shares * ~np.eye(classes, dtype=bool)
    # Errors are rare: a square root keeps the small ones visible.
    depth = np.ceil(10 * np.sqrt(np.minimum(errors / max(full_scale, 1e-9), 1)))
    with page_figure(2.7, 2.7) as figure:
        axes = figure.subplots()
        for level in range(1, 11):
            places = np.argwhere(depth == level)
            if len(places):
                axes.add_patch(_squares(places, series, opacity=0.065 * level))
        if numbers:
            _write_shares(axes, shares)
        _class_axes(axes, classes)
        return to_svg(figure, name, alternative)


def digit_png(image: NDArray[np.uint8]) -> bytes:
    """A digit as black ink on nothing: a PNG of the size of `image`, uint8 [height, width]."""
    from PIL import Image

    ink = np.zeros((*image.shape, 2), np.uint8)
    ink[..., 1] = image
    buffer = io.BytesIO()
    Image.fromarray(ink, "LA").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# Parts of plots


@contextmanager
def _lanes(
    rows: Sequence[Row], x_label: str, lane: float
) -> Iterator[tuple[Figure, Axes, float, list[float]]]:
    """Axes with a lane, `lane` inches high, for each row, its label and text above it.

    Gives the figure, its axes, what an inch is in y, and the top of each lane in y.
    """
    stacked = any(len(row.label) + len(row.text) > _ROW_CHARACTERS for row in rows)
    labels = [_wrapped(row.label) for row in rows]
    above = _TEXT_LINE * (max(len(label) for label in labels) + stacked)
    height = above + lane + _GAP
    total = height * len(rows) + 0.5
    with page_figure(_WIDTH, total) as figure:
        # By hand, so that the labels of all figures begin where their captions do.
        figure.set_layout_engine("none")
        margins = {"left": 0, "right": 1, "bottom": 0.47 / total, "top": 1 - 0.03 / total}
        axes = figure.subplots(gridspec_kw=margins)
        axes.set_ylim(len(rows), 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _rule_lines(axes, "x")
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


def _rule_lines(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=RULE, linewidth=0.5, alpha=0.7)
    axes.set_axisbelow(True)


def _draw_mean(axes: Axes, row: Row, place: float) -> None:
    colour = series_colour(row.series)
    if row.mean is None:
        return
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.6)
    axes.plot([row.mean], [place], color=colour, marker="D", markersize=4.2, linestyle="none")


def _extent(row: Row) -> list[float]:
    ends = [row.mean, row.low, row.high, *row.values]
    return [value for value in ends if value is not None]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """From below the smallest to above the largest value, never without width."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.05 * (high - low) or 0.005
    return low - margin, high + margin


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
    codes = np.tile([Path.MOVETO, Path.LINETO], len(x))
    return PathPatch(
        Path(points.reshape(-1, 2), codes),
        fill=False,
        edgecolor=series_colour(series),
        linewidth=size,
        capstyle="round",
        alpha=0.6,
    )


def _lines(curve: Curve) -> PathPatch:
    """All lines of a curve as one path; a gap where a value is missing, a dot where it is alone."""
    points: list[tuple[float, float]] = []
    codes: list[np.uint8] = []
    for line in curve.lines:
        pen_down = False
        for epoch, value in enumerate(line, start=1):
            if value is None:
                pen_down = False
                continue
            points += [(epoch, value)] * (1 if pen_down else 2)
            codes += [Path.LINETO] if pen_down else [Path.MOVETO, Path.LINETO]
            pen_down = True
    single = all(len(line) < 2 for line in curve.lines)
    return PathPatch(
        Path(np.asarray(points, np.float64).reshape(-1, 2), np.asarray(codes, np.uint8)),
        fill=False,
        edgecolor=MUTED if curve.series is None else series_colour(curve.series),
        linewidth=4.0 if single else 0.9,
        capstyle="round",
        alpha=0.75,
    )


def _squares(places: NDArray[np.int64], series: int, *, opacity: float) -> PathPatch:
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    points = places[:, np.newaxis, ::-1] + corners
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(places))
    path = Path(points.reshape(-1, 2), codes)
    return PathPatch(path, facecolor=series_colour(series), alpha=opacity, linewidth=0)


def _write_shares(axes: Axes, shares: FloatArray) -> None:
    for truth, predicted in np.argwhere(shares >= 0.005):
        percent = f"{100 * shares[truth, predicted]:.0f}"
        own = truth == predicted
        axes.text(
            predicted,
            truth,
            percent,
            ha="center",
            va="center",
            fontsize=6.5,
            in_layout=False,  # they are inside anyway, and there are many
            color=MUTED if own else INK,
        )


def _class_axes(axes: Axes, classes: int) -> None:
    axes.set_xlim(-0.5, classes - 0.5)
    axes.set_ylim(classes - 0.5, -0.5)
    axes.set_aspect("equal")
    step = max(1, classes // 10)
    axes.set_xticks(range(0, classes, step))
    axes.set_yticks(range(0, classes, step))
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("truth", fontsize=8)
    for spine in axes.spines.values():
        spine.set_visible(True)
