"""Where the spread comes from: the standard deviation of each source that varies alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.spread import ALL, IN_WORDS, percent
from mnist_ray.analysis.tables import CELL, Tables
from mnist_ray.view.cell_views import CellView, Row
from mnist_ray.view.forest_plot import ChartRow, estimate, forest_plot
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
