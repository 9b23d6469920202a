"""What the page shows: each cell and each search with its name and its rows of the tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from mnist_ray.analysis import phrases
from mnist_ray.analysis.agreement import Predictions, predictions_of
from mnist_ray.analysis.settings import canonical, grouped, shown_value, varying, varying_by_family
from mnist_ray.analysis.sweep_results import CellResults, Selection, SweepResults, search_key
from mnist_ray.analysis.tables import CELL, CELL_A, CELL_B, SEARCH, Row, Tables
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.test_images import TestSet
from mnist_ray.plan.search import SearchState
from mnist_ray.space.space import Cell

Parts = Mapping[str, str]
"""The parts of a cell's name in order, by what they name: `architecture`, `variant`, `dropout` …"""

MOST_CELLS = 12
"""Cells that have figures of their own."""
_SERIES = 8
"""How many colours `report.css` has; the ninth architecture has the first one again."""
_SUBTRACTED = "\N{NO-BREAK SPACE}\N{MINUS SIGN}\N{NO-BREAK SPACE}"


@dataclass(frozen=True, eq=False)
class CellView:
    """A cell on one kind of device, with all that the page shows of it."""

    sweep: SweepResults
    results: CellResults
    row: Row
    """Of report.parquet."""
    robustness: Sequence[Row]
    """Of robustness.parquet."""
    parts: Parts
    series: int
    """The number of its architecture's colour."""

    @property
    def cell(self) -> Cell:
        return self.results.cell

    @property
    def label(self) -> str:
        """Its name, which no other cell of the report has."""
        return label(self.parts)

    @property
    def presentation(self) -> tuple[str, str, str]:
        """Equal where the test images are the same, in several sweeps, too."""
        first = next(iter(self.results.records), None)
        images = (
            f"{first.identity['data']} {first.identity['seed']}" if first else self.results.sweep
        )
        return images, self.cell.variant, canonical(self.cell.presentation.columns())

    @property
    def images(self) -> str:
        """What its images are called."""
        return phrases.images(self.results.dataset)

    @property
    def on_shifts(self) -> list[Row]:
        """Of robustness.parquet, one a test shift that was asked for."""
        shifts = self.sweep.tests.shifts
        own = [row for row in self.robustness if row["test_variant"] == row["variant"]]
        return [row for row in own if row["test_shift"] in shifts]

    @property
    def on_variants(self) -> dict[str, Row]:
        """Of robustness.parquet, by the variant's test set that was asked for."""
        asked = [(test.name, test.presentation.shift) for test in self.sweep.tests.variants]
        rows = {(row["test_variant"], row["test_shift"]): row for row in self.robustness}
        return {name: rows[name, shift] for name, shift in asked if (name, shift) in rows}

    @property
    def test_set(self) -> TestSet | None:
        return self.sweep.test_set

    def graded_on(self) -> TestSet | None:
        """The test set with its images transformed; None where they are not kept."""
        return self.sweep.test_set_of(self.results)

    @property
    def distinction(self) -> str:
        """Its name without the architecture."""
        return label({kind: text for kind, text in self.parts.items() if kind != "architecture"})

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

    key: str
    """That of `search_findings`."""
    results: SweepResults
    state: SearchState
    rows: Sequence[Row]
    """Of search.parquet: one a configuration, and one of the default where it was none."""
    label: str
    series: int
    """The number of the architecture's colour."""

    @property
    def columns(self) -> list[str]:
        """The hyperparameters that are searched, in the tables' order."""
        spaces = self.results.space.search_spaces() if self.results.space else {}
        searched = spaces[self.state.architecture, self.state.variant]
        return [name for name in self.state.default.columns() if name in searched]

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
        records = self.results.records_of(fresh, Status.FINISHED)
        scores = [record.validation_accuracy for record in records]
        return [score for score in scores if score is not None]

    def failures(self) -> list[tuple[str, Record]]:
        """The failed trials of its configurations, each with a label."""
        place = f"{self.state.architecture} · {self.state.variant}"
        return [
            (f"{place} · configuration {each.number}", record)
            for each in self.state.configurations
            for record in self.results.records_of(each.trials, Status.FAILED)
        ]

    def setting(self, row: Row, name: str) -> str:
        """The value of a hyperparameter; empty where this search has none."""
        return drawn_value(row[name]) if name in self.columns else ""

    def drawn(self, cell: Cell) -> str:
        """The values of a cell in the order of `columns`."""
        values = cell.columns()
        return " · ".join(drawn_value(values[name]) for name in self.columns)


def make_cell_views(sweeps: Sequence[SweepResults], tables: Tables) -> list[CellView]:
    """The cells of the report, in order; `tables` are those of `sweeps`."""
    rows = {row[CELL]: row for row in tables.rows("report")}
    robustness = grouped(tables.rows("robustness"), lambda row: str(row[CELL]))
    parts = name_parts([cell for results in sweeps for cell in results.cells])
    series = architecture_series(sweeps)
    return [
        CellView(
            sweep=results,
            results=cell,
            row=rows[cell.key],
            robustness=robustness.get(cell.key, []),
            parts=parts[cell.key],
            series=series[cell.cell.architecture],
        )
        for results in sweeps
        for cell in results.cells
    ]


def make_search_views(sweeps: Sequence[SweepResults], tables: Tables) -> list[SearchView]:
    """The searches, in order; `tables` are those of `sweeps`."""
    series = architecture_series(sweeps)
    rows = grouped(tables.rows("search"), lambda row: str(row[SEARCH]))
    return [
        SearchView(
            key=(key := search_key(results.name, state)),
            results=results,
            state=state,
            rows=rows[key],
            label=f"{state.architecture} on {state.variant} {phrases.images(results.dataset)}"
            + (f", {results.name}" if len(sweeps) > 1 else ""),
            series=series[state.architecture],
        )
        for results in sweeps
        for state in results.searches
    ]


def architecture_series(sweeps: Sequence[SweepResults]) -> dict[str, int]:
    """The number of each architecture's colour, by name."""
    measured = [cell.cell.architecture for results in sweeps for cell in results.cells]
    searched = [search.architecture for results in sweeps for search in results.searches]
    names = dict.fromkeys([*measured, *searched])
    return {name: number % _SERIES for number, name in enumerate(names)}


def choose(views: Sequence[CellView], limit: int) -> list[CellView]:
    """At most `limit` cells with finished trials, in order.

    Of each architecture and variant in turn the one with the highest validation accuracy left.
    """
    finished = [view for view in views if view.results.finished]
    best_first = sorted(finished, key=lambda v: -(v.row["mean_validation_accuracy"] or 0.0))
    families = grouped(best_first, lambda v: (v.sweep.name, v.cell.architecture, v.cell.variant))
    turn = {view: number for family in families.values() for number, view in enumerate(family)}
    chosen = set(sorted(finished, key=turn.__getitem__)[:limit])
    return [view for view in finished if view in chosen]


def by_presentation(views: Sequence[CellView]) -> list[list[CellView]]:
    return [*grouped(views, lambda view: view.presentation).values()]


def describe_presentation(view: CellView, views: Sequence[CellView]) -> str:
    """The presentation of `view` in words that distinguish it from those of `views`."""
    variant = view.cell.variant
    alike = [each for each in views if each.cell.variant == variant]
    words = f"{variant} {view.images}"
    words += distinction(view.cell, [each.cell for each in alike])
    if len({each.presentation[0] for each in alike}) > 1:
        same = [each.results.sweep for each in views if each.presentation == view.presentation]
        words += f", {' and '.join(dict.fromkeys(same))}"
    return words


def distinction(cell: Cell, cells: Iterable[Cell]) -> str:
    """What tells the presentation of `cell` from those of `cells`: ` (shift 4, canvas 32)`."""
    own = cell.presentation.columns()
    names = varying(each.presentation.columns() for each in cells)
    if {"shift", "canvas"} & set(names):  # The one is not understood without the other.
        names = [*(name for name in names if name not in ("shift", "canvas")), "shift", "canvas"]
    shown = ", ".join(f"{name} {shown_value(own.get(name))}" for name in names)
    return f" ({shown})" if shown else ""


def label_comparisons(tables: Tables, views: Sequence[CellView]) -> list[tuple[str, Row]]:
    """The rows of comparisons.parquet, each with what is subtracted from what, and where."""
    parts = {view.results.key: view.parts for view in views}
    return [
        (pair_label(parts[row[CELL_A]], parts[row[CELL_B]]), row)
        for row in tables.rows("comparisons")
    ]


# Names


def name_parts(cells: Sequence[CellResults]) -> dict[str, Parts]:
    """The parts of each cell's name, by the cell's key.

    Besides architecture and variant there is only what varies; after a search, winner and default
    take the place of their hyperparameters.
    """
    varying = _varying_by_family(cells)
    several_sweeps = len({cell.sweep for cell in cells}) > 1
    several_devices = len({cell.device for cell in cells if cell.device}) > 1
    return {
        cell.key: {
            **({"sweep": cell.sweep} if several_sweeps else {}),
            "architecture": cell.cell.architecture,
            "variant": cell.cell.variant,
            **_distinction(cell, varying[_family(cell)]),
            **({"device": cell.device} if several_devices and cell.device else {}),
        }
        for cell in cells
    }


def label(parts: Parts, *, variant: bool = True) -> str:
    """A cell's name: `cnn · shifted · dropout=0.3`; without the variant where that is known."""
    return " · ".join(text for kind, text in parts.items() if variant or kind != "variant")


def pair_label(a: Parts, b: Parts) -> str:
    """What two cells share, and what is subtracted from what: `cnn: centered - shifted`."""
    shared = [text for kind, text in a.items() if b.get(kind) == text]
    of_a = [text for kind, text in a.items() if b.get(kind) != text]
    of_b = {kind: text for kind, text in b.items() if a.get(kind) != text}
    if len(of_b) == 1:
        # A hyperparameter is named once: `dropout=0.3 - 0.5`.
        of_b = {k: text.removeprefix(f"{k}=") if k in a else text for k, text in of_b.items()}
    return f"{' · '.join(shared)}: {' · '.join(of_a)}{_SUBTRACTED}{' · '.join(of_b.values())}"


def varying_hyperparameters(cells: Sequence[CellResults]) -> list[str]:
    """Those that vary within an architecture and variant, by the names of their columns."""
    families = _varying_by_family(cells).values()
    return list(dict.fromkeys(name for names in families for name in names))


def drawn_value(value: JsonValue) -> str:
    """A hyperparameter's value that a search drew, to three significant digits."""
    return shown_value(float(f"{value:.3g}") if isinstance(value, float) else value)


def _distinction(cell: CellResults, varying: Sequence[str]) -> dict[str, str]:
    if cell.selection:
        return {"selection": cell.selection.value}
    columns = cell.cell.columns()
    return {name: f"{name}={shown_value(columns[name])}" for name in varying if name in columns}


def _varying_by_family(cells: Sequence[CellResults]) -> dict[tuple[str, str], list[str]]:
    return varying_by_family((_family(cell), cell.cell.columns()) for cell in cells)


def _family(cell: CellResults) -> tuple[str, str]:
    return cell.cell.architecture, cell.cell.variant
