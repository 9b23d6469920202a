"""What the page shows: rows of the tables, each with its records, label and colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnist_ray.columns import SWEEP
from mnist_ray.comparisons import ARCHITECTURE, DROP
from mnist_ray.figures import SERIES
from mnist_ray.findings import search_findings
from mnist_ray.ledger import TestSet
from mnist_ray.record import Record, Status
from mnist_ray.review import Outcome, Review, Selection, drawn_value, labels, shown_value
from mnist_ray.search import Configuration, SearchState
from mnist_ray.tables import Tables

LabelledRow = tuple[str, dict[str, Any]]
"""A row of comparisons.parquet with its label."""

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of the report, with all that the page shows of it."""

    outcome: Outcome
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
        columns = self.outcome.cell.columns()
        # What a search drew has more digits than anyone reads.
        show = drawn_value if self.outcome.selection else shown_value
        return show(columns[name]) if name in columns else ""

    @property
    def presentation(self) -> tuple[str, str, int, int]:
        """Equal where the test digits are the same."""
        cell = self.outcome.cell
        return self.outcome.sweep, cell.variant, cell.shift, cell.canvas


@dataclass(frozen=True, eq=False)
class SearchEntry:
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


def make_searches(reviews: Sequence[Review], tables: Tables) -> list[SearchEntry]:
    """The searches, in order; `tables` are those of `reviews`."""
    series = architecture_series(reviews)
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in tables.search.to_pylist():
        sweep = row.get(SWEEP.name, reviews[0].name)
        rows.setdefault((sweep, row["architecture"], row["variant"]), []).append(row)
    found = [(review, state) for review in reviews for state in review.searches]
    return [
        SearchEntry(
            state=state,
            rows=rows[review.name, state.architecture, state.variant],
            columns=_searched_columns(review, state),
            label=_search_label(review, state, several=len(reviews) > 1),
            series=series[state.architecture],
            sentence=sentence,
            failures=_search_failures(review, state),
        )
        for (review, state), sentence in zip(found, search_findings(tables), strict=True)
    ]


def _searched_columns(review: Review, state: SearchState) -> list[str]:
    spaces = review.space.search_spaces() if review.space else {}
    searched = spaces[state.architecture, state.variant]
    return [name for name in state.default.columns() if name in searched]


def _search_label(review: Review, state: SearchState, *, several: bool) -> str:
    sweep = f", {review.name}" if several else ""
    return f"{state.architecture} on {state.variant} digits{sweep}"


def _search_failures(review: Review, state: SearchState) -> list[tuple[str, Record]]:
    # By key: the same configuration may have been drawn twice.
    failures = {
        trial.key: (f"{state.architecture} · {state.variant} · configuration {each.number}", record)
        for each in state.configurations
        for trial in each.trials
        if (record := review.record_of(trial, Status.FAILED)) is not None
    }
    return [*failures.values()]


def make_entries(reviews: Sequence[Review], tables: Tables) -> list[Entry]:
    """The rows of the report, in order; `tables` are those of `reviews`."""
    outcomes = [outcome for review in reviews for outcome in review.outcomes]
    owners = [review for review in reviews for _ in review.outcomes]
    series = architecture_series(reviews)
    rows = tables.report.to_pylist()
    names = zip(labels(outcomes), labels(outcomes, variants=False), strict=True)
    return [
        Entry(
            outcome=outcome,
            row=row,
            label=label,
            short_label=short_label,
            series=series[outcome.cell.architecture],
            test_set=review.test_set,
            shifts=review.shifts,
        )
        for outcome, review, row, (label, short_label) in zip(
            outcomes, owners, rows, names, strict=True
        )
    ]


def architecture_series(reviews: Sequence[Review]) -> dict[str, int]:
    """The number of each architecture's colour, by name."""
    reported = [outcome.cell.architecture for review in reviews for outcome in review.outcomes]
    searched = [search.architecture for review in reviews for search in review.searches]
    names = dict.fromkeys([*reported, *searched])
    return {name: number % SERIES for number, name in enumerate(names)}


def choose(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """At most `limit` finished entries, in order.

    Of each architecture and variant in turn the one with the highest validation accuracy left.
    """
    finished = [entry for entry in entries if entry.outcome.finished]
    families: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in finished:
        cell = entry.outcome.cell
        place = (entry.outcome.sweep, cell.architecture, cell.variant)
        families.setdefault(place, []).append(entry)
    rank: dict[int, int] = {}
    for family in families.values():
        family.sort(key=lambda entry: -(entry.row["mean_validation_accuracy"] or 0.0))
        rank |= {id(entry): place for place, entry in enumerate(family)}
    best = {id(entry) for entry in sorted(finished, key=lambda e: rank[id(e)])[:limit]}
    return [entry for entry in finished if id(entry) in best]


def by_presentation(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of each presentation."""
    groups: dict[tuple[str, str, int, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.presentation, []).append(entry)
    return list(groups.values())


def describe_presentation(entry: Entry, entries: Sequence[Entry]) -> str:
    """The entry's presentation in words, beside those of `entries`."""
    cell = entry.outcome.cell
    names = {e.presentation: (e.outcome.sweep, e.outcome.cell.variant) for e in entries}
    doubled = list(names.values()).count((entry.outcome.sweep, cell.variant)) > 1
    several = len({e.outcome.sweep for e in entries}) > 1
    return (
        f"{cell.variant} digits"
        + (f" (shift {cell.shift}, canvas {cell.canvas})" if doubled else "")
        + (f", {entry.outcome.sweep}" if several else "")
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
