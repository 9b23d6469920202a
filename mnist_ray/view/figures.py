"""The figures of a report: the page shows them, and the export writes them to files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnist_ray.analysis.grids import Grid, grid_sentences, grids
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.view.cell_table import in_order
from mnist_ray.view.cell_views import (
    MOST_CELLS,
    CellView,
    architecture_series,
    choose,
    label,
    label_comparisons,
    make_cell_views,
    make_search_views,
)
from mnist_ray.view.heat_maps import confusion_charts, grid_charts
from mnist_ray.view.line_charts import learning_charts, robustness_chart
from mnist_ray.view.row_charts import difference_charts, level_charts, spread_charts, trial_charts
from mnist_ray.view.search_charts import search_chart
from mnist_ray.view.svg import Chart


@dataclass(frozen=True, eq=False)
class GridView:
    """A grid, with all that the page shows of it."""

    title: str
    series: int
    """The number of the architecture's colour."""
    sentences: Sequence[str]
    charts: Sequence[Chart]


class Figures:
    """The figures of one sweep, or of several side by side.

    Attributes:
        views: of all cells whose means are reported.
        chosen: those that have examples, curves and matrices of their own.
        series: the number of each architecture's colour.
        grids_left_out: how many grids have no figures.
        comparisons: rows of comparisons.parquet with their labels.
    """

    def __init__(
        self, sweeps: Sequence[SweepResults], tables: Tables, *, most_grids: int | None = None
    ) -> None:
        """`tables` are those of `sweeps`; of the grids the first `most_grids` are drawn, or all."""
        self.views = make_cell_views(sweeps, tables)
        self.chosen = choose(self.views, MOST_CELLS)
        self.series = architecture_series(sweeps)
        found = [grid for results in sweeps for grid in grids(results)]
        self.grids = list(_grid_views(found[:most_grids], self.views))
        self.grids_left_out = len(found) - len(self.grids)
        searches = enumerate(make_search_views(sweeps, tables))
        self.searches = [(view, search_chart(view, position=n)) for n, view in searches]
        self.trials = list(trial_charts(in_order(self.views)))
        self.spread = list(spread_charts(self.chosen, tables))
        self.comparisons = label_comparisons(tables, self.views)
        self.differences = list(difference_charts(self.comparisons, self.series))
        self.learning = list(learning_charts(self.chosen))
        self.robustness = robustness_chart(self.views)
        self.confusion = list(confusion_charts(self.chosen))

    def all(self) -> Iterator[Chart]:
        """In the order of the page."""
        for grid in self.grids:
            yield from grid.charts
        yield from (chart for _, chart in self.searches if chart)
        yield from self.trials
        yield from (chart for *_, chart in self.spread)
        yield from self.differences
        yield from self.learning
        yield from [self.robustness] if self.robustness else []
        yield from self.confusion


def _grid_views(found: Sequence[Grid], views: Sequence[CellView]) -> Iterator[GridView]:
    by_key = {view.results.key: view for view in views}
    kinds = ("sweep", "architecture", "variant", "device")
    for position, grid in enumerate(found):
        cell = by_key[grid.cells[0].key]
        yield GridView(
            title=label({kind: text for kind, text in cell.parts.items() if kind in kinds}),
            series=cell.series,
            sentences=list(grid_sentences(grid)),
            charts=[
                *grid_charts(grid, series=cell.series, position=position),
                *level_charts(grid, series=cell.series, position=position),
            ],
        )
