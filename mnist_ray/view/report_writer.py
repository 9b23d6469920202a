"""The report's files: the tables and the page, written into a folder."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_ray.analysis.reading import read_results
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables, tabulate
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.space import Space
from mnist_ray.view.page import render


def rebuild(
    folder: ResultsFolder,
    *,
    space: Space | None = None,
    dataset_info: DatasetInfo | None = None,
    records: Mapping[str, Record] | None = None,
) -> Tables:
    """Make the tables and the page of the sweep in `folder` again, and write them there.

    What is not given is read from the folder; what the folder lacks too is derived from the
    records.

    Raises:
        InputError: its space or its records can't be used.
        StorageError: something can't be read or written.
    """
    results = read_results(folder, space=space, dataset_info=dataset_info, records=records)
    return write_report([results], folder)


def write_report(sweeps: Sequence[SweepResults], folder: ResultsFolder) -> Tables:
    """Write the tables and the page of one sweep, or of several side by side, into `folder`."""
    tables = tabulate(sweeps)
    for name, table in tables.by_name().items():
        folder.write(folder.table(name), _to_parquet(table))
    folder.write(folder.page, render(sweeps, tables).encode())
    return tables


def _to_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
