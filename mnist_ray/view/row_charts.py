"""Charts of means with their intervals, a row for each: cells, grids, differences, sources."""

from collections.abc import Iterator, Mapping, Sequence

from mnist_ray.analysis.grids import Factor, Grid
from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.phrases import first_letter
from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.spread import ALL, IN_WORDS, percent
from mnist_ray.analysis.tables import ARCHITECTURE, CELL, DROP, WINNER_TO_DEFAULT, Row, Tables
from mnist_ray.view.cell_views import (
    CellView,
    by_presentation,
    describe_presentation,
    label,
)
from mnist_ray.view.forest_plot import MOST_ROWS, ChartRow, estimate, forest_plot, trial_dot
from mnist_ray.view.svg import Chart

_MOST_PAIRS = 24
"""Comparisons of a kind in a figure."""


def trial_charts(views: Sequence[CellView]) -> Iterator[Chart]:
    """One for each presentation: accuracies on different test images have scales of their own."""
    for position, group in enumerate(by_presentation(views)):
        shown = [view for view in group if view.results.finished][:MOST_ROWS]
        if shown:
            where = describe_presentation(group[0], views)
            yield forest_plot(
                [_accuracy_row(view) for view in shown],
                name=f"trials-{position}",
                caption=first_letter(where),
                what=f"Test accuracy of every trial on {where}",
                x_label="test accuracy",
            )


def _accuracy_row(view: CellView) -> ChartRow:
    row, n = view.row, view.row["trials"]
    shown = estimate(row["mean_test_accuracy"], row, n)
    mark = "*" if row["left_skewed"] else ""
    return ChartRow(
        label=label(view.parts, variant=False),
        text=f"{shown}{mark}, n = {n}",
        series=view.series,
        mean=row["mean_test_accuracy"],
        interval=(row["ci95_low"], row["ci95_high"]),
        dots=[trial_dot(each, each.test.accuracy) for each in view.results.finished if each.test],
        n=n,
    )


# Grids


def level_charts(grid: Grid, *, series: int, position: int) -> Iterator[Chart]:
    """The marginal means of each hyperparameter; `position` is that of the grid on the page."""
    for index, factor in enumerate(grid.factors):
        if factor.levels:
            caption = f"{factor.name}: mean over all other settings"
            yield forest_plot(
                list(_level_rows(factor, series)),
                name=f"levels-{position}-{index}",
                caption=caption,
                what=caption,
                x_label="mean test accuracy",
            )


def _level_rows(factor: Factor, series: int) -> Iterator[ChartRow]:
    for position, level in enumerate(factor.levels):
        if position == factor.best:
            below = "the highest"
        else:
            to_best = level.to_best
            below = f"minus the highest: {estimate(to_best.mean, vars(to_best), to_best.n)}"
        yield ChartRow(
            label=factor.setting(position),
            text=f"{number(level.mean.mean)}, {below}",
            series=series,
            mean=level.mean.mean,
            interval=(level.mean.ci95_low, level.mean.ci95_high),
            n=level.mean.n,
        )


# Comparisons


def difference_charts(
    comparisons: Sequence[tuple[str, Row]], series: Mapping[str, int]
) -> Iterator[Chart]:
    """One for each kind of comparison.

    Args:
        comparisons: rows of comparisons.parquet with their labels.
        series: the numbers of the architectures' colours.
    """
    by_kind = grouped(comparisons, lambda comparison: str(comparison[1]["kind"]))
    for position, (kind, chosen) in enumerate(by_kind.items()):
        rows = [_difference_row(label, row, series) for label, row in chosen[:_MOST_PAIRS]]
        caption = _difference_caption(kind, [row for _, row in chosen])
        if len(chosen) > len(rows):
            caption += f": the first {len(rows)} of {len(chosen)}, all in comparisons.parquet"
        what = "difference of mean test accuracy"
        yield forest_plot(
            rows,
            name=f"differences-{position}",
            caption=caption,
            what=f"{caption}: {what}",
            x_label=what,
            around_zero=True,
        )


_KINDS = {
    ARCHITECTURE: "Between architectures",
    WINNER_TO_DEFAULT: "Between the winner of a search and the default",
}


def _difference_caption(kind: str, rows: Sequence[Row]) -> str:
    if kind != DROP:
        return _KINDS.get(kind, f"Between values of {kind}")
    before, after = ({row[f"variant_{side}"] for row in rows} for side in "ab")
    if len(before) > 1:
        return "The drop from one variant to another"
    to = after.pop() if len(after) == 1 else "each other variant"
    return f"The drop from {before.pop()} to {to}"


def _difference_row(label: str, row: Row, series: Mapping[str, int]) -> ChartRow:
    is_of_one = row["architecture_a"] == row["architecture_b"]
    n = min(row["trials_a"], row["trials_b"])
    return ChartRow(
        label=label,
        text=estimate(row["mean_difference"], row, n),
        series=series[row["architecture_a"]] if is_of_one else None,
        mean=row["mean_difference"],
        interval=(row["ci95_low"], row["ci95_high"]),
        n=n,
    )


# Sources of the spread


def spread_charts(
    views: Sequence[CellView], tables: Tables
) -> Iterator[tuple[CellView, Sequence[Row], Chart]]:
    """For each cell whose sources have a spread to show, its rows of spread.parquet and the chart.

    The first row is of all sources together.
    """
    by_cell = grouped(tables.rows("spread"), lambda row: str(row[CELL]))
    for position, view in enumerate(views):
        rows = by_cell.get(view.results.key, [])
        if any(row["std_test_accuracy"] is not None for row in rows):
            yield view, rows, _spread_chart(view, rows, position)


def _spread_chart(view: CellView, rows: Sequence[Row], position: int) -> Chart:
    shown = [_source_row(row, view.series) for row in rows]
    test_set = view.row["test_set_sem"]
    if test_set is not None:
        label = "the test set (standard error of the mean)"
        shown.append(ChartRow(label, number(test_set), series=None, mean=test_set))
    caption = f"{view.label}, n = {_in_words([row['trials'] for row in rows])}"
    what = "standard deviation of test accuracy"
    return forest_plot(
        shown,
        name=f"spread-{position}",
        caption=caption,
        what=f"{caption}: {what} by what varies",
        x_label=what,
        around_zero=True,
    )


def _in_words(counts: Sequence[int]) -> str:
    """`20`, or `18 to 20` where they differ."""
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} to {most}"


def _source_row(row: Row, series: int) -> ChartRow:
    std, low, high = (row[f"std_{name}"] for name in ("test_accuracy", "ci95_low", "ci95_high"))
    text = estimate(std, {"ci95_low": low, "ci95_high": high}, row["trials"])
    if row["variance_share"] is not None:
        text += f", {percent(row['variance_share'])}"
    is_whole = row["source"] == ALL
    return ChartRow(IN_WORDS[row["source"]], text, None if is_whole else series, std, (low, high))


def share(row: Row, column: str = "variance_share") -> str:
    """The share of variance of a row of spread.parquet, or its `remainder`, with the interval."""
    kind = column.removeprefix("variance_")
    value, low, high = (row[name] for name in (column, f"{kind}_ci95_low", f"{kind}_ci95_high"))
    if value is None or low is None:
        return percent(value)
    return f"{percent(value)} ({percent(low)} to {percent(high)})"
