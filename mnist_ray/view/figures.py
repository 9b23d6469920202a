"""The figures of a report: the page shows them, and the export writes them to files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mnist_ray.analysis.grid_findings import grid_sentences
from mnist_ray.analysis.grids import Grid, grids
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.view.cell_table import in_order
from mnist_ray.view.cell_views import (
    MOST_CELLS,
    Row,
    SearchView,
    architecture_series,
    choose,
    label,
    label_comparisons,
    make_cell_views,
    make_search_views,
)
from mnist_ray.view.confusion_charts import confusion_charts
from mnist_ray.view.grid_charts import grid_charts
from mnist_ray.view.panel_charts import learning_charts, robustness_chart
from mnist_ray.view.row_charts import difference_charts, trial_charts
from mnist_ray.view.search_charts import search_chart
from mnist_ray.view.spread_charts import SpreadView, spread_views
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
    """The figures of one sweep, or of several side by side, each drawn when it is asked for.

    Attributes:
        views: of all cells whose means are reported.
        chosen: those that have examples, curves and matrices of their own.
        series: the number of each architecture's colour.
    """

    def __init__(self, sweeps: Sequence[SweepResults], tables: Tables) -> None:
        """`tables` are those of `sweeps`."""
        self._sweeps, self._tables = sweeps, tables
        self.views = make_cell_views(sweeps, tables)
        self.chosen = choose(self.views, MOST_CELLS)
        self.series = architecture_series(sweeps)

    def all(self) -> Iterator[Chart]:
        """In the order of the page."""
        for grid in self.grids():
            yield from grid.charts
        yield from (chart for _, chart in self.searches if chart)
        yield from self.trials
        yield from (spread.chart for spread in self.spread)
        yield from self.differences
        yield from self.learning
        yield from [self.robustness] if self.robustness else []
        yield from self.confusion

    @cached_property
    def found_grids(self) -> list[Grid]:
        return [grid for results in self._sweeps for grid in grids(results)]

    def grids(self, most: int | None = None) -> Iterator[GridView]:
        """The first `most` of the grids, or all."""
        by_key = {view.results.key: view for view in self.views}
        for position, grid in enumerate(self.found_grids[:most]):
            cell = by_key[grid.cells[0].key]
            kinds = ("sweep", "architecture", "variant", "device")
            yield GridView(
                title=label({kind: text for kind, text in cell.parts.items() if kind in kinds}),
                series=cell.series,
                sentences=list(grid_sentences(grid)),
                charts=list(grid_charts(grid, series=cell.series, position=position)),
            )

    @cached_property
    def searches(self) -> list[tuple[SearchView, Chart | None]]:
        views = make_search_views(self._sweeps, self._tables)
        return [(view, search_chart(view, position=n)) for n, view in enumerate(views)]

    @cached_property
    def comparisons(self) -> list[tuple[str, Row]]:
        return label_comparisons(self._tables, self.views)

    @cached_property
    def trials(self) -> list[Chart]:
        return list(trial_charts(in_order(self.views)))

    @cached_property
    def spread(self) -> list[SpreadView]:
        return list(spread_views(self.chosen, self._tables))

    @cached_property
    def differences(self) -> list[Chart]:
        return list(difference_charts(self.comparisons, self.series))

    @cached_property
    def learning(self) -> list[Chart]:
        return list(learning_charts(self.chosen))

    @cached_property
    def robustness(self) -> Chart | None:
        return robustness_chart(self.views)

    @cached_property
    def confusion(self) -> list[Chart]:
        return list(confusion_charts(self.chosen))
