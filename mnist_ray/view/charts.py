"""The page's figures, with their captions and text alternatives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray.analysis.comparisons import ARCHITECTURE, DROP, WINNER_TO_DEFAULT
from mnist_ray.analysis.sweep_results import Selection
from mnist_ray.ledger.record import Epoch
from mnist_ray.plan.search import Configuration, Stage
from mnist_ray.stats.predictions import confusion_matrix
from mnist_ray.stats.summary import summarize
from mnist_ray.view import figures
from mnist_ray.view.cell_views import (
    CellView,
    Row,
    SearchView,
    by_presentation,
    choose,
    describe_presentation,
)
from mnist_ray.view.formats import DASH, first_letter, has_no_spread, number

_MOST_ROWS = 60
"""Rows of a figure; the rest is in the Parquet files."""
_MOST_PAIRS = 24
"""Comparisons of a kind in a figure."""
_ALTERNATIVES = 12
"""Rows that a text alternative names."""
_MOST_LINES = 8
_MOST_CURVES = 100
"""Trials of a cell that have a line of their own."""
_CLASSES_WITH_NUMBERS = 12


@dataclass(frozen=True)
class Chart:
    """A figure with its caption."""

    svg: str
    caption: str
    series: int | None = None
    """The number of the colour beside the caption."""


def dot_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each presentation: accuracies on different test digits have scales of their own."""
    for position, group in enumerate(by_presentation(views)):
        shown = [view for view in group if view.results.finished][:_MOST_ROWS]
        if not shown:
            continue
        rows = [_accuracy_row(view) for view in shown]
        where = describe_presentation(group[0], views)
        svg = figures.dots(
            rows,
            name=f"trials-{position}",
            alternative=_alternative(f"Test accuracy of every trial on {where}", rows),
            x_label="test accuracy",
        )
        yield Chart(svg, first_letter(where))


def _accuracy_row(view: CellView) -> figures.Row:
    row = view.row
    estimate = _estimate(row["mean_test_accuracy"], row, row["trials"])
    mark = "*" if row["left_skewed"] else ""
    return figures.Row(
        label=view.short_label,
        text=f"{estimate}{mark}, n = {row['trials']}",
        series=view.series,
        mean=row["mean_test_accuracy"],
        low=row["ci95_low"],
        high=row["ci95_high"],
        values=[record.test.accuracy for record in view.results.finished if record.test],
    )


# Searches


def search_chart(search: SearchView, *, position: int) -> Chart | None:
    """What the winner and the default reached afresh, then every trial of the search.

    Configurations with the highest score come first, and what is out of the running has the colour
    of text. None before any trial has finished. `position` is that of the search on the page.
    """
    shown = sorted(search.state.configurations, key=_rank)
    if not any(each.scores for each in shown):
        return None
    rows = [
        *(_fresh_row(search, selection) for selection, _ in search.measured),
        *(_search_row(search, each) for each in shown[:_MOST_ROWS]),
    ]
    caption = f"Number: {' · '.join(search.columns)}"
    what = f"Validation accuracy of every trial in the search for {search.label}"
    svg = figures.dots(
        rows,
        name=f"search-{position}",
        alternative=_alternative(f"{what}, by score ({caption})", rows),
        x_label="validation accuracy",
    )
    if len(shown) > _MOST_ROWS:
        caption += f" (the first {_MOST_ROWS} of {len(shown)} configurations)"
    return Chart(svg, caption)


def _rank(configuration: Configuration) -> tuple[bool, float, int]:
    """Those that can't win come last, then those without a score."""
    spoilt = configuration.stage in (Stage.FAILED, Stage.CUT_SHORT)
    return spoilt, -(configuration.mean or 0.0), configuration.number


def _fresh_row(search: SearchView, selection: Selection) -> figures.Row:
    scores = search.fresh_scores(selection)
    fresh = summarize(scores)
    return figures.Row(
        label=f"{selection}, afresh",
        text=f"{_estimate(fresh.mean, vars(fresh), fresh.n)}, n = {fresh.n}",
        series=search.series,
        mean=fresh.mean,
        low=fresh.ci95_low,
        high=fresh.ci95_high,
        values=scores,
    )


def _search_row(search: SearchView, configuration: Configuration) -> figures.Row:
    is_winner = configuration is search.state.winner
    stage = "winner" if is_winner else _STAGES[configuration.stage]
    facts = []
    if configuration.mean is not None:
        facts = [number(configuration.mean), f"n = {len(configuration.scores)}"]
    can_win = configuration.stage in (Stage.COMPLETE, Stage.RUNNING)
    return figures.Row(
        label=search.describe(configuration),
        text=", ".join([*facts, stage] if stage else facts),
        series=search.series if can_win else None,
        mean=configuration.mean,
        low=None,
        high=None,
        values=configuration.scores,
    )


_STAGES = {
    Stage.COMPLETE: "",
    Stage.RUNNING: "not complete yet",
    Stage.RACED_OUT: "raced out",
    Stage.CUT_SHORT: "cut short",
    Stage.FAILED: "failed",
}


# Comparisons


def difference_charts(
    comparisons: Sequence[tuple[str, Row]], series: Mapping[str, int]
) -> list[Chart]:
    """One for each kind of comparison.

    Args:
        comparisons: rows of comparisons.parquet with their labels.
        series: the numbers of the architectures' colours.
    """
    charts = []
    for position, kind in enumerate(dict.fromkeys(row["kind"] for _, row in comparisons)):
        chosen = [(label, row) for label, row in comparisons if row["kind"] == kind]
        rows = [_difference_row(label, row, series) for label, row in chosen[:_MOST_PAIRS]]
        caption = _KINDS.get(kind, f"Between values of {kind}")
        if len(chosen) > len(rows):
            caption += f": the first {len(rows)} of {len(chosen)}, all in comparisons.parquet"
        svg = figures.forest(
            rows,
            name=f"differences-{position}",
            alternative=_alternative(f"{caption}: difference of mean test accuracy", rows),
            x_label="difference of mean test accuracy",
        )
        charts.append(Chart(svg, caption))
    return charts


_KINDS = {
    DROP: "The drop from centered to shifted digits",
    ARCHITECTURE: "Between architectures",
    WINNER_TO_DEFAULT: "Between the winner of a search and the default",
}


def _difference_row(label: str, row: Row, series: Mapping[str, int]) -> figures.Row:
    same = row["architecture_a"] == row["architecture_b"]
    return figures.Row(
        label=label,
        text=_estimate(row["mean_difference"], row, min(row["trials_a"], row["trials_b"])),
        series=series[row["architecture_a"]] if same else None,
        mean=row["mean_difference"],
        low=row["ci95_low"],
        high=row["ci95_high"],
    )


# Learning curves

_Measure = Callable[[Epoch], float | None]
_MEASURES: dict[str, tuple[_Measure, _Measure]] = {
    "accuracy": (lambda e: e.train_accuracy, lambda e: e.validation_accuracy),
    "loss": (lambda e: e.train_loss, lambda e: e.validation_loss),
}
"""Of training and of validation."""


def learning_charts(views: Sequence[CellView]) -> list[Chart]:
    """One for each cell that has epochs, all on the same scales."""
    views = [view for view in views if any(record.epochs for record in view.results.finished)]
    limits = [_shared_limits(views, pair) for pair in _MEASURES.values()]
    charts = []
    for position, view in enumerate(views):
        shown = min(len(view.results.finished), _MOST_CURVES)
        svg = figures.learning_curves(
            [(name, _curves(view, pair)) for name, pair in _MEASURES.items()],
            limits=limits,
            name=f"learning-{position}",
            alternative=f"Learning curves of {shown} trials of {view.label}: training and "
            "validation accuracy above, loss below.",
        )
        charts.append(Chart(svg, view.label, view.series))
    return charts


def _curves(view: CellView, pair: tuple[_Measure, _Measure]) -> list[figures.Curve]:
    trials = view.results.finished[:_MOST_CURVES]
    return [
        figures.Curve(series, [[measure(epoch) for epoch in record.epochs] for record in trials])
        for series, measure in zip((None, view.series), pair, strict=True)
    ]


def _shared_limits(
    views: Sequence[CellView], pair: tuple[_Measure, _Measure]
) -> tuple[float, float]:
    """Of all cells, so that their curves can be compared."""
    values = [
        value
        for view in views
        for curve in _curves(view, pair)
        for line in curve.lines
        for value in line
        if value is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


# Robustness


def robustness_chart(views: Sequence[CellView]) -> Chart | None:
    """Mean accuracy over the test shift; None where no other test shifts are asked for."""
    variants = list(dict.fromkeys(view.cell.variant for view in views))
    chosen = [view for view in choose(views, _MOST_LINES) if view.robustness]
    lines = [_line(view, variants.index(view.cell.variant)) for view in chosen]
    if not lines:
        return None
    svg = figures.curves_over(
        lines,
        name="robustness",
        alternative="Mean test accuracy by shift of the test digits. "
        f"{'; '.join(map(_describe_line, lines))}.",
        x_label="shift of the test digits, pixels",
        y_label="mean test accuracy",
    )
    return Chart(svg, "")


def _line(view: CellView, style: int) -> figures.Line:
    rows = sorted(view.robustness, key=lambda row: int(row["test_shift"]))
    return figures.Line(
        label=view.label,
        series=view.series,
        style=style,
        x=[row["test_shift"] for row in rows],
        means=[row["mean_test_accuracy"] for row in rows],
        lows=[row["ci95_low"] for row in rows],
        highs=[row["ci95_high"] for row in rows],
    )


def _describe_line(line: figures.Line) -> str:
    points = zip(line.x, line.means, strict=True)
    return f"{line.label} " + ", ".join(
        f"{mean:.3f} at {shift:.0f}" for shift, mean in points if mean is not None
    )


# Confusion


def confusion_charts(views: Sequence[CellView]) -> list[Chart]:
    """One for each cell whose predictions are known, all on the same scale."""
    known = [(view, matrix) for view in views if (matrix := _confusion(view)) is not None]
    full_scale = max((float(_errors(matrix).max()) for _, matrix in known), default=1.0)
    charts = []
    for position, (view, matrix) in enumerate(known):
        svg = figures.confusion(
            matrix,
            series=view.series,
            full_scale=full_scale,
            numbers=len(matrix) <= _CLASSES_WITH_NUMBERS,
            name=f"confusion-{position}",
            alternative=_confusion_alternative(view.label, matrix),
        )
        charts.append(Chart(svg, view.label, view.series))
    return charts


def _confusion(view: CellView) -> NDArray[np.int64] | None:
    predictions = view.predictions()
    if predictions is None or view.test_set is None:
        return None
    return confusion_matrix(view.test_set.labels, predictions, view.test_set.classes)


def _errors(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """The shares of each class that are taken for each other one."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    return np.asarray(shares, np.float64)


def _confusion_alternative(label: str, matrix: NDArray[np.int64]) -> str:
    errors = _errors(matrix)
    order = np.argsort(-errors, axis=None)[:3]
    places = [divmod(int(place), len(matrix)) for place in order if errors.flat[place] > 0]
    worst = ", ".join(
        f"{100 * errors[truth, predicted]:.1f} % of {truth} for {predicted}"
        for truth, predicted in places
    )
    summary = f"most often it takes {worst}" if worst else "no errors"
    return f"Confusion matrix of {label}: {summary}."


# Text


def _estimate(value: float | None, row: Mapping[str, Any], n: int) -> str:
    """A mean over `n` values with its interval, where there is one."""
    if value is None:
        return DASH
    if has_no_spread(row, n):
        return f"{number(value)}, no spread seen"
    if row["ci95_low"] is None:
        return number(value)
    return f"{number(value)} [{number(row['ci95_low'])}, {number(row['ci95_high'])}]"


def _alternative(what: str, rows: Sequence[figures.Row]) -> str:
    described = "; ".join(f"{row.label} {row.text}" for row in rows[:_ALTERNATIVES])
    more = f"; and {len(rows) - _ALTERNATIVES} more" if len(rows) > _ALTERNATIVES else ""
    return f"{what}: {described}{more}."
