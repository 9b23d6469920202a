"""What the page shows: each cell and each search, joined once with its rows of the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnist_ray.analysis.agreement import Predictions, predictions_of
from mnist_ray.analysis.search_findings import search_findings
from mnist_ray.analysis.settings import shown_value
from mnist_ray.analysis.sweep_results import CellResults, Selection, SweepResults, search_key
from mnist_ray.analysis.tables import CELL, CELL_A, CELL_B, SEARCH, Tables
from mnist_ray.ledger.ledger import TestSet
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.search import Configuration, SearchState
from mnist_ray.space.space import Cell
from mnist_ray.view.labels import Parts, drawn_value, label, name_parts, pair_label
from mnist_ray.view.svg import SERIES

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class CellView:
    """A cell on one kind of device, with all that the page shows of it."""

    results: CellResults
    row: Row
    """Of report.parquet."""
    robustness: Sequence[Row]
    """Of robustness.parquet, one a test shift."""
    parts: Parts
    """Of its name."""
    series: int
    """The number of its architecture's colour."""
    test_set: TestSet | None

    @property
    def cell(self) -> Cell:
        """What the trials have in common."""
        return self.results.cell

    @property
    def label(self) -> str:
        """Its name, which no other cell of the report has."""
        return label(self.parts)

    @property
    def short_label(self) -> str:
        """Its name where the variant is known."""
        return label(self.parts, variant=False)

    @property
    def presentation(self) -> tuple[str, str, int, int]:
        """Equal where the test digits are the same, in several sweeps, too."""
        first = next(iter(self.results.records), None)
        digits = (
            f"{first.identity['data']} {first.identity['seed']}" if first else self.results.sweep
        )
        return digits, self.cell.variant, self.cell.shift, self.cell.canvas

    def setting(self, name: str) -> str:
        """The value of a hyperparameter; empty where the cell has none."""
        columns = self.cell.columns()
        # What a search drew has more digits than anyone reads.
        show = drawn_value if self.results.selection else shown_value
        return show(columns[name]) if name in columns else ""

    def predictions(self) -> Predictions | None:
        """As `predictions_of` gives them; not kept, since those of many trials are large."""
        return predictions_of(self.results.finished, self.test_set)


@dataclass(frozen=True, eq=False)
class SearchView:
    """A search, with all that the page shows of it."""

    results: SweepResults
    state: SearchState
    rows: Sequence[Row]
    """Of search.parquet: one a configuration, and one of the default where it was none."""
    columns: Sequence[str]
    """The hyperparameters that are searched, in the tables' order."""
    label: str
    series: int
    """The number of the architecture's colour."""
    sentence: str
    """What it found."""

    @property
    def measured(self) -> list[tuple[Selection, Row]]:
        """The winner's row and the default's, or the one of both; none without a winner."""
        winner = next((row for row in self.rows if row["is_winner"]), None)
        if winner is None:
            return []
        if winner["is_default"]:
            return [(Selection.BOTH, winner)]
        default = next(row for row in self.rows if row["is_default"])
        return [(Selection.WINNER, winner), (Selection.DEFAULT, default)]

    def fresh_scores(self, selection: Selection) -> list[float]:
        """The validation accuracies of the fresh trials of the winner or of the default."""
        winner = self.state.winner
        if winner is None:
            return []
        cell = self.state.default if selection is Selection.DEFAULT else winner.cell
        fresh = [trial for trial in self.state.confirmation if trial.cell.name == cell.name]
        records = [self.results.record_of(trial, Status.FINISHED) for trial in fresh]
        scores = [record.validation_accuracy for record in records if record]
        return [score for score in scores if score is not None]

    def failures(self) -> list[tuple[str, Record]]:
        """The failed trials of its configurations, each with a label."""
        place = f"{self.state.architecture} · {self.state.variant}"
        # By key: the same configuration may have been drawn twice.
        failures = {
            trial.key: (f"{place} · configuration {each.number}", record)
            for each in self.state.configurations
            for trial in each.trials
            if (record := self.results.record_of(trial, Status.FAILED)) is not None
        }
        return [*failures.values()]

    def setting(self, row: Row, name: str) -> str:
        """The value of a hyperparameter; empty where this search has none."""
        return drawn_value(row[name]) if name in self.columns else ""

    def describe(self, configuration: Configuration) -> str:
        """A configuration's number, and its values in the order of `columns`."""
        values = configuration.cell.columns()
        drawn = " · ".join(drawn_value(values[name]) for name in self.columns)
        return f"{configuration.number}: {drawn}"


def make_cell_views(sweeps: Sequence[SweepResults], tables: Tables) -> list[CellView]:
    """The cells of the report, in order; `tables` are those of `sweeps`."""
    rows = {row[CELL]: row for row in tables.rows("report")}
    robustness = _grouped(tables.rows("robustness"), CELL)
    parts = name_parts([cell for results in sweeps for cell in results.cells])
    series = architecture_series(sweeps)
    return [
        CellView(
            results=cell,
            row=rows[cell.key],
            robustness=robustness.get(cell.key, []),
            parts=parts[cell.key],
            series=series[cell.cell.architecture],
            test_set=results.test_set,
        )
        for results in sweeps
        for cell in results.cells
    ]


def make_search_views(sweeps: Sequence[SweepResults], tables: Tables) -> list[SearchView]:
    """The searches, in order; `tables` are those of `sweeps`."""
    series = architecture_series(sweeps)
    rows = _grouped(tables.rows("search"), SEARCH)
    sentences = search_findings(tables)
    return [
        SearchView(
            results=results,
            state=state,
            rows=rows[search_key(results.name, state)],
            columns=_searched_columns(results, state),
            label=f"{state.architecture} on {state.variant} digits"
            + (f", {results.name}" if len(sweeps) > 1 else ""),
            series=series[state.architecture],
            sentence=sentences[search_key(results.name, state)],
        )
        for results in sweeps
        for state in results.searches
    ]


def _grouped(rows: Sequence[Row], reference: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[reference], []).append(row)
    return groups


def _searched_columns(results: SweepResults, state: SearchState) -> list[str]:
    spaces = results.space.search_spaces() if results.space else {}
    searched = spaces[state.architecture, state.variant]
    return [name for name in state.default.columns() if name in searched]


def architecture_series(sweeps: Sequence[SweepResults]) -> dict[str, int]:
    """The number of each architecture's colour, by name."""
    measured = [cell.cell.architecture for results in sweeps for cell in results.cells]
    searched = [search.architecture for results in sweeps for search in results.searches]
    names = dict.fromkeys([*measured, *searched])
    return {name: number % SERIES for number, name in enumerate(names)}


def choose(views: Sequence[CellView], limit: int) -> list[CellView]:
    """At most `limit` cells with finished trials, in order.

    Of each architecture and variant in turn the one with the highest validation accuracy left.
    """
    finished = [view for view in views if view.results.finished]
    families: dict[tuple[str, str, str], list[CellView]] = {}
    for view in finished:
        family = (view.results.sweep, view.cell.architecture, view.cell.variant)
        families.setdefault(family, []).append(view)
    rank: dict[str, int] = {}
    for members in families.values():
        members.sort(key=lambda view: -(view.row["mean_validation_accuracy"] or 0.0))
        rank |= {view.results.key: place for place, view in enumerate(members)}
    first = sorted(finished, key=lambda view: rank[view.results.key])[:limit]
    chosen = {view.results.key for view in first}
    return [view for view in finished if view.results.key in chosen]


def by_presentation(views: Sequence[CellView]) -> list[list[CellView]]:
    """The cells of each presentation."""
    groups: dict[tuple[str, str, int, int], list[CellView]] = {}
    for view in views:
        groups.setdefault(view.presentation, []).append(view)
    return list(groups.values())


def describe_presentation(view: CellView, views: Sequence[CellView]) -> str:
    """The presentation of `view` in words that distinguish it from those of `views`."""
    _, variant, shift, canvas = view.presentation
    alike = {each.presentation for each in views if each.cell.variant == variant}
    words = f"{variant} digits"
    if len({(shift, canvas) for _, _, shift, canvas in alike}) > 1:
        words += f" (shift {shift}, canvas {canvas})"
    if len({digits for digits, *_ in alike}) > 1:
        same = [each.results.sweep for each in views if each.presentation == view.presentation]
        words += f", {' and '.join(dict.fromkeys(same))}"
    return words


def label_comparisons(tables: Tables, views: Sequence[CellView]) -> list[tuple[str, Row]]:
    """The rows of comparisons.parquet, each with what is subtracted from what, and where."""
    parts = {view.results.key: view.parts for view in views}
    return [
        (pair_label(parts[row[CELL_A]], parts[row[CELL_B]]), row)
        for row in tables.rows("comparisons")
    ]
