"""The Arrow schemas of the tables, from the list of their columns."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

import pyarrow as pa
from pydantic import JsonValue

from mnist_ray.space.columns import SWEEP, TABLES, ColumnType, Hyperparameters, Only
from mnist_ray.space.hyperparameters import kind_of
from mnist_ray.space.space import Cell

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
    kinds = {kind_of(value) for value in values} - {None}
    if any(kind.startswith("list") for kind in kinds if kind):
        items = [item for value in values if isinstance(value, list) for item in value]
        lists_only = all(kind.startswith("list") for kind in kinds if kind)
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
