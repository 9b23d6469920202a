"""The tables of a report: their Arrow schemas, and what their rows are of."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import JsonValue

from mnist_ray.space.columns import SWEEP, TABLES, ColumnType, Hyperparameters, Only
from mnist_ray.space.settings import kind_of
from mnist_ray.space.space import Cell
from mnist_ray.stats.summary import summarize

DROP, ARCHITECTURE, WINNER_TO_DEFAULT = "drop", "architecture", "search"
"""Kinds of comparisons; the other kinds are names of hyperparameters."""

CELL, CELL_A, CELL_B, SEARCH = "cell key", "cell key a", "cell key b", "search key"
"""Keys that say what a row is about. They hold spaces, so no hyperparameter, which is a name in
Python, can be equal to one.
"""
REFERENCES = (CELL, CELL_A, CELL_B, SEARCH)


Row = dict[str, Any]
Identity = Callable[..., Row]
"""Gives the columns that say which cell a row is of; a suffix where a row is of two."""


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables that `mnist_ray.space.columns` describes, in the order of the space's cells."""

    report: pa.Table
    trials: pa.Table
    epochs: pa.Table
    comparisons: pa.Table
    robustness: pa.Table
    search: pa.Table
    spread: pa.Table
    references: Mapping[str, Sequence[Mapping[str, str]]]
    """For each row of each table, what it is of: see `rows`."""

    def by_name(self) -> dict[str, pa.Table]:
        """The tables by the names of their files."""
        return {name: getattr(self, name) for name in TABLES}

    def rows(self, name: str) -> list[Row]:
        """The rows of the table `name` as plain data, each with what it is of.

        `CELL` gives the `CellResults.key` in a row of report, robustness and spread, `CELL_A` and
        `CELL_B` give those in a row of comparisons, `SEARCH` the `search_key` in a row of search.
        They are in no file.
        """
        plain = getattr(self, name).to_pylist()
        return [row | of for row, of in zip(plain, self.references[name], strict=True)]


_TYPES: Mapping[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
}


def schema(
    table: str, hyperparameters: Mapping[str, pa.DataType], *, given: Collection[Only] = ()
) -> pa.Schema:
    """The schema of a table.

    Args:
        table: its name.
        hyperparameters: the types of their columns by name, in order.
        given: which of the columns that are not always there are.
    """
    fields: list[tuple[str, pa.DataType]] = []
    for column in (SWEEP, *TABLES[table]):
        if isinstance(column, Hyperparameters):
            fields += [(name + column.suffix, type_) for name, type_ in hyperparameters.items()]
        elif column.only is None or column.only in given:
            fields.append((column.name, _TYPES[column.type]))
    return pa.schema(fields)


def hyperparameter_types(cells: Iterable[Cell]) -> dict[str, pa.DataType]:
    """The type of each hyperparameter's column, in order of first appearance."""
    seen: dict[str, list[JsonValue]] = {}
    for cell in cells:
        for name, value in cell.columns().items():
            seen.setdefault(name, []).append(value)
    return {name: _type_of(values) for name, values in seen.items()}


def _type_of(values: Sequence[JsonValue]) -> pa.DataType:
    """A type that holds all values; text where they are of different kinds in several sweeps."""
    kinds = {kind for value in values if (kind := kind_of(value))}
    if any(kind.startswith("list") for kind in kinds):
        items = [item for value in values if isinstance(value, list) for item in value]
        lists_only = all(kind.startswith("list") for kind in kinds)
        # A list without items is of whole numbers, as hidden_units is.
        return pa.list_(_type_of(items) if items else pa.int64()) if lists_only else pa.string()
    if kinds == {"true or false"}:
        return pa.bool_()
    if kinds != {"number"}:
        return pa.string()
    return pa.float64() if any(isinstance(value, float) for value in values) else pa.int64()


def as_type(value: JsonValue, type_: pa.DataType) -> JsonValue:
    """`value` for a column of that type: as JSON where a column of text holds other kinds too."""
    if value is None or not pa.types.is_string(type_) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def summary_columns(accuracies: Sequence[float]) -> Row:
    """The columns that a mean test accuracy has in every table."""
    summary = summarize(accuracies)
    return {
        "mean_test_accuracy": summary.mean,
        "std_test_accuracy": summary.std,
        "sem_test_accuracy": summary.sem,
        "ci95_low": summary.ci95_low,
        "ci95_high": summary.ci95_high,
        "min_test_accuracy": summary.minimum,
        "max_test_accuracy": summary.maximum,
    }
