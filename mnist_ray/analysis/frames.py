"""Tables as tidy pandas DataFrames."""

import pandas as pd
import pyarrow as pa

_FREE_TEXT = {"key", "error", "traceback"}
"""Text that is hardly ever the same twice: no categories."""


def to_frame(table: pa.Table) -> pd.DataFrame:
    """`table` with names as categories in order of appearance, whole numbers as Int64, yes and no
    as boolean, times as UTC timestamps, and lists as tuples, which can be grouped by."""
    columns = {
        field.name: _to_series(table[field.name], field.type, field.name) for field in table.schema
    }
    return pd.DataFrame(columns)


def _to_series(column: pa.ChunkedArray, type_: pa.DataType, name: str) -> "pd.Series[object]":
    if pa.types.is_integer(type_):
        return pd.Series(pd.array(column.to_pylist(), dtype="Int64"))
    if pa.types.is_boolean(type_):
        return pd.Series(pd.array(column.to_pylist(), dtype="boolean"))
    if pa.types.is_list(type_):
        lists = [None if value is None else tuple(value) for value in column.to_pylist()]
        return pd.Series(lists, dtype=object)
    if pa.types.is_string(type_) and name in _FREE_TEXT:
        return pd.Series(column.to_pylist(), dtype="string")
    if pa.types.is_string(type_):
        values = column.to_pylist()
        categories = list(dict.fromkeys(value for value in values if value is not None))
        return pd.Series(pd.Categorical(values, categories=categories))
    return column.to_pandas()
