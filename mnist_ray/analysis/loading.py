"""The tables of a report, read as tidy pandas DataFrames."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mnist_ray.analysis.reading import find_sweep
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder

_FREE_TEXT = {"key", "error", "traceback"}
"""Text that is hardly ever the same twice: no categories."""


def load_report(path: str | Path) -> pd.DataFrame:
    """One row a cell: means over trials with their uncertainty.

    `path` is a sweep's folder, or its URI. Names are categories, whole numbers Int64, lists tuples;
    what the columns mean stands in `mnist_ray.space.columns`.

    Raises:
        InputError: there is no report.
    """
    return _load(path, "report")


def load_trials(path: str | Path) -> pd.DataFrame:
    """One row a recorded trial; see `load_report`."""
    return _load(path, "trials")


def load_epochs(path: str | Path) -> pd.DataFrame:
    """One row a trial and epoch; see `load_report`."""
    return _load(path, "epochs")


def load_comparisons(path: str | Path) -> pd.DataFrame:
    """One row a pair of cells compared; see `load_report`."""
    return _load(path, "comparisons")


def load_robustness(path: str | Path) -> pd.DataFrame:
    """One row a cell and shift of the test images; see `load_report`."""
    return _load(path, "robustness")


def load_search(path: str | Path) -> pd.DataFrame:
    """One row a configuration of a search, and one for the default; see `load_report`."""
    return _load(path, "search")


def load_spread(path: str | Path) -> pd.DataFrame:
    """One row a cell and source of randomness, and one for all together; see `load_report`."""
    return _load(path, "spread")


def to_frame(table: pa.Table) -> pd.DataFrame:
    """`table` with names as categories in order of appearance, whole numbers as Int64, yes and no
    as boolean, times as UTC timestamps, and lists as tuples, which can be grouped by."""
    return pd.DataFrame(
        {
            field.name: _to_series(table[field.name], field.type, field.name)
            for field in table.schema
        }
    )


def _load(path: str | Path, name: str) -> pd.DataFrame:
    folder = ResultsFolder.open(path)
    if not folder.exists(folder.table(name)):
        folder = find_sweep(folder)
    try:
        content = folder.read(folder.table(name))
    except FileNotFoundError:
        raise InputError(
            f"results: {folder.uri} has no {folder.table(name)}; make it with: "
            f"mnist-ray report {folder.uri}"
        ) from None
    # Arrow's threads can abort a process that ends soon after them.
    return to_frame(pq.read_table(pa.BufferReader(content), use_threads=False))


def _to_series(column: pa.ChunkedArray, type_: pa.DataType, name: str) -> "pd.Series[object]":
    values = column.to_pylist()
    if pa.types.is_integer(type_):
        return pd.Series(pd.array(values, dtype="Int64"))
    if pa.types.is_boolean(type_):
        return pd.Series(pd.array(values, dtype="boolean"))
    if pa.types.is_list(type_):
        lists = [None if value is None else tuple(value) for value in values]
        return pd.Series(lists, dtype=object)
    if pa.types.is_string(type_):
        if name in _FREE_TEXT:
            return pd.Series(values, dtype="string")
        categories = list(dict.fromkeys(value for value in values if value is not None))
        return pd.Series(pd.Categorical(values, categories=categories))
    return column.to_pandas()
