"""The tables of a report, read as pandas DataFrames."""

from pathlib import Path
from typing import TYPE_CHECKING

from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder

if TYPE_CHECKING:
    import pandas as pd


def load_report(path: str | Path) -> "pd.DataFrame":
    """One row a cell: means over trials with their uncertainty.

    `path` is a sweep's folder, or its URI. Names are categories, whole numbers Int64, lists tuples;
    what the columns mean stands in `mnist_ray.space.columns`.

    Raises:
        InputError: there is no report.
    """
    return _load(path, "report")


def load_trials(path: str | Path) -> "pd.DataFrame":
    """One row a recorded trial; see `load_report`."""
    return _load(path, "trials")


def load_epochs(path: str | Path) -> "pd.DataFrame":
    """One row a trial and epoch; see `load_report`."""
    return _load(path, "epochs")


def load_comparisons(path: str | Path) -> "pd.DataFrame":
    """One row a pair of cells compared; see `load_report`."""
    return _load(path, "comparisons")


def load_robustness(path: str | Path) -> "pd.DataFrame":
    """One row a cell and shift of the test digits; see `load_report`."""
    return _load(path, "robustness")


def load_search(path: str | Path) -> "pd.DataFrame":
    """One row a configuration of a search, and one for the default; see `load_report`."""
    return _load(path, "search")


def _load(path: str | Path, name: str) -> "pd.DataFrame":
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mnist_ray.analysis.frames import to_frame
    from mnist_ray.analysis.reading import find_sweep

    folder = ResultsFolder.open(path)
    if not folder.exists(folder.table(name)):
        folder = find_sweep(folder)
    try:
        content = folder.read(folder.table(name))
    except FileNotFoundError:
        raise InputError(
            f"results: {folder.uri} has no {folder.table(name)}; make it with: "
            f"python -m mnist_ray.report {folder.uri}"
        ) from None
    return to_frame(pq.read_table(pa.BufferReader(content)))
