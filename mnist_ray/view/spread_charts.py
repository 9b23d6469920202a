"""Where the spread comes from: the standard deviation of each source that varies alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.spread import ALL, IN_WORDS, percent
from mnist_ray.analysis.tables import CELL, Tables
from mnist_ray.view.cell_views import CellView, Row, grouped
from mnist_ray.view.forest_plot import ChartRow, forest_plot
from mnist_ray.view.svg import Chart


@dataclass(frozen=True, eq=False)
class SpreadView:
    """The sources of one cell's spread."""

    cell: CellView
    rows: Sequence[Row]
    """Of spread.parquet: all together, then each source."""
    chart: Chart


def spread_views(views: Sequence[CellView], tables: Tables) -> Iterator[SpreadView]:
    """Those of the cells whose sources have a spread to show."""
    by_cell = grouped(tables.rows("spread"), lambda row: str(row[CELL]))
    for position, view in enumerate(views):
        rows = by_cell.get(view.results.key, [])
        if any(row["std_test_accuracy"] is not None for row in rows):
            yield SpreadView(view, rows, _chart(view, rows, position))


def _chart(view: CellView, rows: Sequence[Row], position: int) -> Chart:
    shown = [_source_row(row, view.series) for row in rows]
    test_set = view.row["test_set_sem"]
    if test_set is not None:
        label = "the test set (standard error of the mean)"
        shown.append(ChartRow(label, number(test_set), series=None, mean=test_set))
    counts = sorted({row["trials"] for row in rows})
    caption = f"{view.label}, n = {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}"
    what = "standard deviation of test accuracy"
    return forest_plot(
        shown,
        name=f"spread-{position}",
        caption=caption,
        what=f"{caption}: {what} by what varies",
        x_label=what,
        around_zero=True,
    )


def _source_row(row: Row, series: int) -> ChartRow:
    low, high = row["std_ci95_low"], row["std_ci95_high"]
    text = number(row["std_test_accuracy"])
    if low is not None:
        text += f" [{number(low)}, {number(high)}]"
    elif row["std_test_accuracy"] == 0:
        text += ", no spread seen"
    if row["variance_share"] is not None:
        text += f", {percent(row['variance_share'])}"
    return ChartRow(
        label=IN_WORDS[row["source"]],
        text=text,
        series=None if row["source"] == ALL else series,
        mean=row["std_test_accuracy"],
        low=low,
        high=high,
    )


def share(row: Row) -> str:
    """The share of variance of a row of spread.parquet, with its interval."""
    return _with_interval(row["variance_share"], row["share_ci95_low"], row["share_ci95_high"])


def remainder(row: Row) -> str:
    """What the shares lack to the whole, with its interval, in the row of all together."""
    ends = row["remainder_ci95_low"], row["remainder_ci95_high"]
    return _with_interval(row["remainder"], *ends)


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None:
        return percent(value)
    return f"{percent(value)} ({percent(low)} to {percent(high)})"
