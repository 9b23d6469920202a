"""The Arrow schemas of the tables, from the list of their columns."""

from collections.abc import Collection, Mapping

import pyarrow as pa

from mnist_ray.space.columns import SWEEP, TABLES, ColumnType, Hyperparameters, Only

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
