"""What the page shows: rows of the tables, each with its records, label and colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnist_ray.analysis.comparisons import ARCHITECTURE, DROP
from mnist_ray.analysis.findings import search_findings
from mnist_ray.analysis.sweep_results import (
    CellResults,
    Selection,
    SweepResults,
    drawn_value,
    labels,
    search_key,
    shown_value,
)
from mnist_ray.analysis.tables import Tables
from mnist_ray.ledger.ledger import TestSet
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.search import Configuration, SearchState
from mnist_ray.space.columns import SWEEP
from mnist_ray.view.svg import SERIES

LabelledRow = tuple[str, dict[str, Any]]
"""A row of comparisons.parquet with its label."""

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, eq=False)
class CellView:
    """A row of the report, with all that the page shows of it."""

    cell_results: CellResults
    row: dict[str, Any]
    """Of report.parquet."""
    label: str
    short_label: str
    """Without the variant, where that is said already."""
    series: int
    """The number of its architecture's colour."""
    test_set: TestSet | None
    shifts: tuple[int, ...]

    def setting(self, name: str) -> str:
        """The value of a hyperparameter; empty where the cell has none."""
        columns = self.cell_results.cell.columns()
        # What a search drew has more digits than anyone reads.
        show = drawn_value if self.cell_results.selection else shown_value
        return show(columns[name]) if name in columns else ""

    @property
    def presentation(self) -> tuple[str, str, int, int]:
        """Equal where the test digits are the same."""
        cell = self.cell_results.cell
        return self.cell_results.sweep, cell.variant, cell.shift, cell.canvas


@dataclass(frozen=True, eq=False)
class SearchView:
    """A search, with all that the page shows of it."""

    state: SearchState
    rows: Sequence[dict[str, Any]]
    """Of search.parquet: one a configuration, and one of the default where it was none."""
    columns: Sequence[str]
    """The hyperparameters that are searched, in the tables' order."""
    label: str
    series: int
    """The number of the architecture's colour."""
    sentence: str
    """What it found."""
    failures: Sequence[tuple[str, Record]]
    """The failed trials of its configurations, each with a label."""

    @property
    def measured(self) -> list[tuple[Selection, dict[str, Any]]]:
        """The winner's row and the default's, or the one of both; none without a winner."""
        winner = next((row for row in self.rows if row["is_winner"]), None)
        if winner is None:
            return []
        if winner["is_default"]:
            return [(Selection.BOTH, winner)]
        default = next(row for row in self.rows if row["is_default"])
        return [(Selection.WINNER, winner), (Selection.DEFAULT, default)]

    def setting(self, row: dict[str, Any], name: str) -> str:
        """The value of a hyperparameter; empty where this search has none."""
        return drawn_value(row[name]) if name in self.columns else ""

    def describe(self, configuration: Configuration) -> str:
        """A configuration's number, and its values in the order of `columns`."""
        values = configuration.cell.columns()
        drawn = " · ".join(drawn_value(values[name]) for name in self.columns)
        return f"{configuration.number}: {drawn}"


def make_search_views(sweeps: Sequence[SweepResults], tables: Tables) -> list[SearchView]:
    """The searches, in order; `tables` are those of `sweeps`."""
    series = architecture_series(sweeps)
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in tables.search.to_pylist():
        sweep = row.get(SWEEP.name, sweeps[0].name)
        rows.setdefault((sweep, row["architecture"], row["variant"]), []).append(row)
    found = [(results, state) for results in sweeps for state in results.searches]
    sentences = search_findings(tables)
    return [
        SearchView(
            state=state,
            rows=rows[results.name, state.architecture, state.variant],
            columns=_searched_columns(results, state),
            label=_search_label(results, state, several=len(sweeps) > 1),
            series=series[state.architecture],
            sentence=sentences[search_key(results.name, state)],
            failures=_search_failures(results, state),
        )
        for results, state in found
    ]


def _searched_columns(results: SweepResults, state: SearchState) -> list[str]:
    spaces = results.space.search_spaces() if results.space else {}
    searched = spaces[state.architecture, state.variant]
    return [name for name in state.default.columns() if name in searched]


def _search_label(results: SweepResults, state: SearchState, *, several: bool) -> str:
    sweep = f", {results.name}" if several else ""
    return f"{state.architecture} on {state.variant} digits{sweep}"


def _search_failures(results: SweepResults, state: SearchState) -> list[tuple[str, Record]]:
    # By key: the same configuration may have been drawn twice.
    failures = {
        trial.key: (f"{state.architecture} · {state.variant} · configuration {each.number}", record)
        for each in state.configurations
        for trial in each.trials
        if (record := results.record_of(trial, Status.FAILED)) is not None
    }
    return [*failures.values()]


def make_cell_views(sweeps: Sequence[SweepResults], tables: Tables) -> list[CellView]:
    """The rows of the report, in order; `tables` are those of `sweeps`."""
    cells_results = [cell_results for results in sweeps for cell_results in results.cells_results]
    owners = [results for results in sweeps for _ in results.cells_results]
    series = architecture_series(sweeps)
    rows = tables.report.to_pylist()
    names = zip(labels(cells_results), labels(cells_results, variants=False), strict=True)
    return [
        CellView(
            cell_results=cell_results,
            row=row,
            label=label,
            short_label=short_label,
            series=series[cell_results.cell.architecture],
            test_set=results.test_set,
            shifts=results.shifts,
        )
        for cell_results, results, row, (label, short_label) in zip(
            cells_results, owners, rows, names, strict=True
        )
    ]


def architecture_series(sweeps: Sequence[SweepResults]) -> dict[str, int]:
    """The number of each architecture's colour, by name."""
    reported = [
        cell_results.cell.architecture
        for results in sweeps
        for cell_results in results.cells_results
    ]
    searched = [search.architecture for results in sweeps for search in results.searches]
    names = dict.fromkeys([*reported, *searched])
    return {name: number % SERIES for number, name in enumerate(names)}


def choose(views: Sequence[CellView], limit: int) -> list[CellView]:
    """At most `limit` finished entries, in order.

    Of each architecture and variant in turn the one with the highest validation accuracy left.
    """
    finished = [view for view in views if view.cell_results.finished]
    families: dict[tuple[str, str, str], list[CellView]] = {}
    for view in finished:
        cell = view.cell_results.cell
        place = (view.cell_results.sweep, cell.architecture, cell.variant)
        families.setdefault(place, []).append(view)
    rank: dict[int, int] = {}
    for family in families.values():
        family.sort(key=lambda view: -(view.row["mean_validation_accuracy"] or 0.0))
        rank |= {id(view): place for place, view in enumerate(family)}
    best = {id(view) for view in sorted(finished, key=lambda e: rank[id(e)])[:limit]}
    return [view for view in finished if id(view) in best]


def by_presentation(views: Sequence[CellView]) -> list[list[CellView]]:
    """The entries of each presentation."""
    groups: dict[tuple[str, str, int, int], list[CellView]] = {}
    for view in views:
        groups.setdefault(view.presentation, []).append(view)
    return list(groups.values())


def describe_presentation(view: CellView, views: Sequence[CellView]) -> str:
    """The entry's presentation in words, beside those of `views`."""
    cell = view.cell_results.cell
    names = {e.presentation: (e.cell_results.sweep, e.cell_results.cell.variant) for e in views}
    doubled = list(names.values()).count((view.cell_results.sweep, cell.variant)) > 1
    several = len({e.cell_results.sweep for e in views}) > 1
    return (
        f"{cell.variant} digits"
        + (f" (shift {cell.shift}, canvas {cell.canvas})" if doubled else "")
        + (f", {view.cell_results.sweep}" if several else "")
    )


def label_comparisons(comparisons: Sequence[dict[str, Any]]) -> list[LabelledRow]:
    """Each with what is subtracted from what, where, and the settings that tell it from others."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in comparisons:
        groups.setdefault(_pair_label(row), []).append(row)
    varying = {label: _varying_settings(rows) for label, rows in groups.items()}
    labels_ = [_pair_label(row) for row in comparisons]
    return [
        (" · ".join([label, *(_pair_setting(row, name) for name in varying[label])]), row)
        for label, row in zip(labels_, comparisons, strict=True)
    ]


def _pair_label(row: dict[str, Any]) -> str:
    sweep = f"{row['sweep']} · " if "sweep" in row else ""
    kind = row["kind"]
    a, b = _selected_name(row, "_a"), _selected_name(row, "_b")
    if kind == DROP:
        name = a if a == b else f"{a} {_MINUS} {b}"
        return f"{sweep}{name}: {row['variant_a']} {_MINUS} {row['variant_b']}"
    if kind == ARCHITECTURE:
        return f"{sweep}{row['variant_a']}: {a} {_MINUS} {b}"
    values = f"{kind} {shown_value(row[f'{kind}_a'])} {_MINUS} {shown_value(row[f'{kind}_b'])}"
    name = a if a == b else f"{a} {_MINUS} {b}"
    return f"{sweep}{name} · {row['variant_a']}: {values}"


def _selected_name(row: dict[str, Any], suffix: str) -> str:
    """An architecture, and where it was searched, whether it is the winner or the default."""
    selection = row.get(f"selection{suffix}")
    name = str(row[f"architecture{suffix}"])
    return f"{name} ({selection})" if selection else name


def _varying_settings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The hyperparameters that differ between rows of equal names."""
    named = {"architecture", "variant", "selection", "trials", rows[0]["kind"]}
    both = [column.removesuffix("_a") for column in rows[0] if column.endswith("_a")]
    return [
        name
        for name in both
        if name not in named and len({_pair_setting(row, name) for row in rows}) > 1
    ]


def _pair_setting(row: dict[str, Any], name: str) -> str:
    values = [row[f"{name}_a"], row[f"{name}_b"]]
    shown = dict.fromkeys(shown_value(value) for value in values if value is not None)
    return f"{name}={'/'.join(shown)}"
