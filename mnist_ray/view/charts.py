"""The page's figures, from its entries."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mnist_ray.analysis.agreement import predictions_of
from mnist_ray.analysis.comparisons import ARCHITECTURE, DROP
from mnist_ray.analysis.tables import Tables
from mnist_ray.ledger.record import Epoch
from mnist_ray.plan.search import Configuration, Stage
from mnist_ray.stats.predictions import confusion_matrix
from mnist_ray.view import figures
from mnist_ray.view.cell_views import (
    CellView,
    LabelledRow,
    SearchView,
    by_presentation,
    choose,
    describe_presentation,
)

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
_MINUS, _DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True)
class Chart:
    """A figure with its caption."""

    svg: Markup
    caption: str
    series: int | None = None


def dot_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each presentation: accuracies on different test digits have scales of their own."""
    for number, group in enumerate(by_presentation(views)):
        shown = [view for view in group if view.cell_results.finished][:_MOST_ROWS]
        if not shown:
            continue
        rows = [_accuracy_row(view) for view in shown]
        where = describe_presentation(group[0], views)
        alternative = _alternative(f"Test accuracy of every trial on {where}", rows)
        svg = figures.dots(
            rows, name=f"trials-{number}", alternative=alternative, x_label="test accuracy"
        )
        yield Chart(Markup(svg), first_letter(where))  # noqa: S704 (escaped by figures)


def _accuracy_row(view: CellView) -> figures.Row:
    row = view.row
    return figures.Row(
        label=view.short_label,
        text=f"{_estimate(row['mean_test_accuracy'], row)}, n = {row['trials']}",
        series=view.series,
        mean=row["mean_test_accuracy"],
        low=row["ci95_low"],
        high=row["ci95_high"],
        values=[record.test.accuracy for record in view.cell_results.finished if record.test],
    )


def search_chart(search: SearchView, *, number: int) -> Chart | None:
    """Every configuration's trials, those with the highest score first; None before any finished.

    `number` is that of the search on the page. What is out of the running has the colour of text.
    """
    shown = sorted(search.state.configurations, key=_rank)
    if not any(each.scores for each in shown):
        return None
    rows = [_search_row(search, each) for each in shown[:_MOST_ROWS]]
    caption = f"Number: {' · '.join(search.columns)}"
    what = f"Validation accuracy of every trial in the search for {search.label}"
    svg = figures.dots(
        rows,
        name=f"search-{number}",
        alternative=_alternative(f"{what}, by score ({caption})", rows),
        x_label="validation accuracy",
    )
    if len(shown) > len(rows):
        caption += f" (the first {len(rows)} of {len(shown)} configurations)"
    return Chart(Markup(svg), caption)  # noqa: S704


def _rank(configuration: Configuration) -> tuple[bool, float, int]:
    """Those that can't win come last, then those without a score."""
    spoilt = configuration.stage in (Stage.FAILED, Stage.CUT_SHORT)
    return spoilt, -(configuration.mean or 0.0), configuration.number


def _search_row(search: SearchView, configuration: Configuration) -> figures.Row:
    is_winner = configuration is search.state.winner
    stage = "winner" if is_winner else _STAGES[configuration.stage]
    dataset_info = [] if configuration.mean is None else [_number(configuration.mean)]
    dataset_info += [f"n = {len(configuration.scores)}"] if dataset_info else []
    dataset_info += [stage] if stage else []
    can_win = configuration.stage in (Stage.COMPLETE, Stage.RUNNING)
    return figures.Row(
        label=search.describe(configuration),
        text=", ".join(dataset_info),
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


def difference_charts(comparisons: Sequence[LabelledRow], series: Mapping[str, int]) -> list[Chart]:
    """One for each kind of comparison; `series` are the architectures' colours."""
    kinds = dict.fromkeys(row["kind"] for _, row in comparisons)
    charts = []
    for number, kind in enumerate(kinds):
        chosen = [(label, row) for label, row in comparisons if row["kind"] == kind]
        rows = [_difference_row(label, row, series) for label, row in chosen[:_MOST_PAIRS]]
        caption = _KINDS.get(kind, f"Between values of {kind}")
        if len(chosen) > len(rows):
            caption += f": the first {len(rows)} of {len(chosen)}, all in comparisons.parquet"
        svg = figures.forest(
            rows,
            name=f"differences-{number}",
            alternative=_alternative(f"{caption}: difference of mean test accuracy", rows),
            x_label="difference of mean test accuracy",
        )
        charts.append(Chart(Markup(svg), caption))  # noqa: S704
    return charts


_KINDS = {
    DROP: "The drop from centered to shifted digits",
    ARCHITECTURE: "Between architectures",
}


def _difference_row(label: str, row: dict[str, Any], series: Mapping[str, int]) -> figures.Row:
    same = row["architecture_a"] == row["architecture_b"]
    return figures.Row(
        label=label,
        text=_estimate(row["mean_difference"], row),
        series=series[row["architecture_a"]] if same else None,
        mean=row["mean_difference"],
        low=row["ci95_low"],
        high=row["ci95_high"],
    )


def learning_charts(views: Sequence[CellView]) -> list[Chart]:
    """One for each entry that has epochs, all on the same scales."""
    views = [view for view in views if any(r.epochs for r in view.cell_results.finished)]
    limits = [_shared_limits(views, pair) for pair in _MEASURES.values()]
    charts = []
    for number, view in enumerate(views):
        panels = [(name, _curves(view, pair)) for name, pair in _MEASURES.items()]
        shown = min(len(view.cell_results.finished), _MOST_CURVES)
        svg = figures.learning_curves(
            panels,
            limits=limits,
            name=f"learning-{number}",
            alternative=f"Learning curves of {shown} trials of {view.label}: training and "
            "validation accuracy above, loss below.",
        )
        charts.append(Chart(Markup(svg), view.label, view.series))  # noqa: S704
    return charts


_Measure = Callable[[Epoch], float | None]
_MEASURES: dict[str, tuple[_Measure, _Measure]] = {
    "accuracy": (lambda e: e.train_accuracy, lambda e: e.validation_accuracy),
    "loss": (lambda e: e.train_loss, lambda e: e.validation_loss),
}
"""Of training and of validation."""


def _curves(view: CellView, pair: tuple[_Measure, _Measure]) -> list[figures.Curve]:
    trials = view.cell_results.finished[:_MOST_CURVES]
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


def robustness_chart(
    views: Sequence[CellView], tables: Tables, variants: Sequence[str]
) -> Chart | None:
    """All in one; None where no other test shifts are asked for. `variants` have a dash each."""
    rows = iter(tables.robustness.to_pylist())
    # As many rows for each entry as its sweep asks for, in the same order.
    by_entry = {id(view): [next(rows) for _ in view.shifts] for view in views}
    chosen = [view for view in choose(views, _MOST_LINES) if view.shifts]
    lines = [_line(view, by_entry[id(view)], variants) for view in chosen]
    if not lines:
        return None
    summary = "; ".join(
        f"{line.label} "
        + ", ".join(
            f"{mean:.3f} at {shift:.0f}"
            for shift, mean in zip(line.x, line.means, strict=True)
            if mean is not None
        )
        for line in lines
    )
    svg = figures.curves_over(
        lines,
        name="robustness",
        alternative=f"Mean test accuracy by shift of the test digits. {summary}.",
        x_label="shift of the test digits, pixels",
        y_label="mean test accuracy",
    )
    return Chart(Markup(svg), "")  # noqa: S704


def _line(view: CellView, rows: Sequence[dict[str, Any]], variants: Sequence[str]) -> figures.Line:
    rows = sorted(rows, key=lambda row: row["test_shift"])
    return figures.Line(
        label=view.label,
        series=view.series,
        style=variants.index(view.cell_results.cell.variant),
        x=[row["test_shift"] for row in rows],
        means=[row["mean_test_accuracy"] for row in rows],
        lows=[row["ci95_low"] for row in rows],
        highs=[row["ci95_high"] for row in rows],
    )


def confusion_charts(views: Sequence[CellView]) -> list[Chart]:
    """One for each entry whose predictions are known, all on the same scale."""
    matrices = [(view, _confusion(view)) for view in views]
    known = [(view, matrix) for view, matrix in matrices if matrix is not None]
    full_scale = max((_largest_error(matrix) for _, matrix in known), default=1.0)
    charts = []
    for number, (view, matrix) in enumerate(known):
        svg = figures.confusion(
            matrix,
            series=view.series,
            full_scale=full_scale,
            numbers=len(matrix) <= _CLASSES_WITH_NUMBERS,
            name=f"confusion-{number}",
            alternative=_confusion_alternative(view.label, matrix),
        )
        charts.append(Chart(Markup(svg), view.label, view.series))  # noqa: S704
    return charts


def _confusion(view: CellView) -> NDArray[np.int64] | None:
    predictions = predictions_of(view.cell_results.finished, view.test_set)
    if predictions is None or view.test_set is None:
        return None
    return confusion_matrix(view.test_set.labels, predictions, view.test_set.classes)


def _errors(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """The shares of each class that are taken for each other one."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    return np.asarray(shares, np.float64)


def _largest_error(matrix: NDArray[np.int64]) -> float:
    return float(_errors(matrix).max())


def _confusion_alternative(label: str, matrix: NDArray[np.int64]) -> str:
    errors = _errors(matrix)
    order = np.argsort(-errors, axis=None)[:3]
    places = [divmod(int(place), len(matrix)) for place in order if errors.flat[place] > 0]
    worst = ", ".join(
        f"{100 * errors[truth, predicted]:.1f} % of {truth} for {predicted}"
        for truth, predicted in places
    )
    told = f"most often it takes {worst}" if worst else "no errors"
    return f"Confusion matrix of {label}: {told}."


# Text


def _estimate(value: float | None, row: dict[str, Any]) -> str:
    if value is None:
        return _DASH
    if row["ci95_low"] is None:
        return _number(value)
    return f"{_number(value)} [{_number(row['ci95_low'])}, {_number(row['ci95_high'])}]"


def _number(value: float) -> str:
    return f"{value:.4f}".replace("-", _MINUS)


def _alternative(what: str, rows: Sequence[figures.Row]) -> str:
    told = "; ".join(f"{row.label} {row.text}" for row in rows[:_ALTERNATIVES])
    more = f"; and {len(rows) - _ALTERNATIVES} more" if len(rows) > _ALTERNATIVES else ""
    return f"{what}: {told}{more}."


def first_letter(text: str) -> str:
    """`text` with a capital at its start, the rest as it is."""
    return text[:1].upper() + text[1:]
