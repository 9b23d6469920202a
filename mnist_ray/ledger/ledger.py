"""The folder of records: the only state of a sweep.

A record is one row of a Parquet file. It is written alone, as `ledger/<key>.parquet`, when its
trial ends; once there are more than a thousand such files, all but the failed ones are packed
together. A pack is complete before the files in it are removed, so a crash at any moment loses
nothing, and a key that is found twice (in two packs, say, of two sweeps at once) counts once.
"""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import JSON, PROTOCOL, digest
from mnist_ray.ledger.record import (
    Costs,
    Epoch,
    Evaluation,
    Record,
    RunEnvironment,
    Status,
    Versions,
)
from mnist_ray.ledger.results_folder import ResultsFolder, StorageError

T = TypeVar("T")

_LOOSE_LIMIT = 1000
_READERS = 16

_LOG = logging.getLogger(__name__)

_GRADING = pa.struct(
    [
        ("shift", pa.int32()),
        ("accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("size", pa.int64()),
        ("packed_predictions", pa.binary()),
    ]
)
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("identity", pa.string()),
        ("dataset", pa.string()),
        ("architecture", pa.string()),
        ("variant", pa.string()),
        ("trial_seed", pa.int64()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("traceback", pa.string()),
        ("parameters", pa.int64()),
        ("epochs", pa.list_(pa.struct([(name.name, pa.float64()) for name in fields(Epoch)]))),
        ("test", _GRADING),
        ("robustness", pa.list_(_GRADING)),
        (
            "setting",
            pa.struct(
                [
                    ("started_at", pa.timestamp("us", tz="UTC")),
                    ("node", pa.string()),
                    ("device", pa.string()),
                    ("threads", pa.int32()),
                    ("versions", pa.struct([(v.name, pa.string()) for v in fields(Versions)])),
                    ("git_commit", pa.string()),
                ]
            ),
        ),
        (
            "costs",
            pa.struct(
                [
                    ("setup_seconds", pa.float64()),
                    ("train_seconds", pa.float64()),
                    ("evaluate_seconds", pa.float64()),
                    ("peak_memory_bytes", pa.int64()),
                ]
            ),
        ),
    ]
)


@dataclass(frozen=True, eq=False)
class TestSet:
    """The images that predictions are of, kept so that a ledger explains itself.

    `images` are uint8 [N, height, width], `labels` int32 [N].
    """

    __test__ = False  # Not a test case, whatever its name suggests to pytest.

    dataset: str
    fingerprint: str
    classes: int
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[1], self.images.shape[2]


@dataclass(frozen=True)
class SweepManifest:
    """What the last sweep into the ledger asked for, beside its space."""

    fingerprint: str
    sources: dict[str, str]
    """For each architecture of the user's own, the digest of its module's source."""


class Ledger:
    """The records in a sweep's folder."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self._loose = 0

    def read(self) -> dict[str, Record]:
        """All records by key; damaged files are set aside with a warning.

        Raises:
            InputError: a record was made by a newer protocol than this program's, or the folder
                can't be reached at all.
            StorageError: the folder can't be read any more.
        """
        names = self._names()
        found = self._read_files(names)
        while any(file is None for file in found) or not set(names) >= self._packs():
            # Another sweep packed records in the meantime: they are in the listing of now.
            names = self._names()
            found = self._read_files(names)
        loose = (file for name, file in zip(names, found, strict=True) if not _is_pack(name))
        self._loose = sum(_is_packable(record) for file in loose for record in file or ())
        records: dict[str, Record] = {}
        for record in (record for file in found for record in file or ()):
            known = records.get(record.key)
            records[record.key] = record if known is None else known.joined(record)
        return records

    def find(self, key: str) -> Record | None:
        """The record of one trial, if it has a file of its own; another sweep may have made it."""
        if not self._folder.exists(self._folder.record(key)):
            return None
        records = self._read_file(f"{key}.parquet")
        return records[0] if records else None

    def write(self, record: Record) -> None:
        """Keep a record, together with what another sweep may have recorded of the trial.

        Raises:
            StorageError: it can't be written.
        """
        known = self.find(record.key)
        joined = record if known is None else known.joined(record)
        if joined is known:
            return
        self._folder.write(self._folder.record(record.key), _to_parquet([joined]))
        self._loose += _is_packable(joined)

    def pack(self) -> None:
        """Put records into one file, if there are too many files of single ones.

        Failed ones stay single: they are to be replaced.

        Raises:
            StorageError: it can't be written.
        """
        if self._loose <= _LOOSE_LIMIT:
            return
        names = [name for name in self._names() if not _is_pack(name)]
        for start in range(0, len(names), _LOOSE_LIMIT):
            self._pack(names[start : start + _LOOSE_LIMIT])
        self._loose = 0

    def write_test_set(self, test_set: TestSet) -> None:
        """Keep the test images, unless they are there already."""
        name = self._folder.test_set(test_set.fingerprint)
        if self._folder.exists(name):
            return
        buffer = io.BytesIO()
        description = {
            "dataset": test_set.dataset,
            "classes": test_set.classes,
            "fingerprint": test_set.fingerprint,
        }
        np.savez_compressed(
            buffer,
            images=test_set.images,
            labels=test_set.labels,
            facts=np.array(json.dumps(description)),
        )
        self._folder.write(name, buffer.getvalue())

    def read_test_set(self, fingerprint: str) -> TestSet | None:
        """The test images with that fingerprint, if they are there and whole."""
        try:
            content = self._folder.read(self._folder.test_set(fingerprint))
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                description = json.loads(str(file["facts"]))
                return TestSet(images=file["images"], labels=file["labels"], **description)
        except FileNotFoundError:
            return None
        except Exception as error:  # Whatever a damaged archive makes numpy raise.
            name = self._folder.test_set(fingerprint)
            self._set_aside(name, error)
            return None

    def write_manifest(self, manifest: SweepManifest) -> None:
        """Keep what this sweep asks for."""
        text = json.dumps(asdict(manifest), indent=1)
        self._folder.write(self._folder.latest, text.encode())

    def read_manifest(self) -> SweepManifest | None:
        """What the last sweep asked for, if that is known."""
        try:
            return SweepManifest(**json.loads(self._folder.read(self._folder.latest)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _names(self) -> list[str]:
        """The files of records, those of single ones first."""
        names = self._folder.names(self._folder.ledger)
        return [name for name in names if name.endswith(".parquet")]

    def _packs(self) -> set[str]:
        return set(filter(_is_pack, self._names()))

    def _read_files(self, names: Sequence[str]) -> list[Sequence[Record] | None]:
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self._read_file, names))

    def _read_file(self, name: str) -> Sequence[Record] | None:
        """The records in a file; none if it is damaged, None if it is gone."""
        path = f"{self._folder.ledger}/{name}"
        try:
            content = self._folder.read(path)
        except FileNotFoundError:
            return None
        try:
            rows = _rows_of(content)
            _refuse_newer(rows, self._folder)
            records = [_from_row(row) for row in rows]
            if not _is_pack(name) and [f"{r.key}.parquet" for r in records] != [name]:
                raise ValueError("its record is of another trial than its name says")
        except InputError:
            raise
        except Exception as error:  # Whatever damage makes of a file, and pyarrow of that.
            self._set_aside(path, error)
            return []
        return records

    def _set_aside(self, path: str, error: Exception) -> None:
        where = f"set aside as {path}.damaged"
        try:
            self._folder.rename(path, f"{path}.damaged")
        except StorageError as refusal:  # Someone else's folder can still be reported on.
            where = f"left out where it is ({refusal})"
        _LOG.warning(
            "%s is damaged (%s): %s; what was in it runs again",
            path,
            str(error).splitlines()[0] if str(error) else type(error).__name__,
            where,
        )

    def _pack(self, names: Sequence[str]) -> None:
        """Put what those files hold into one, then remove them."""
        found = [record for file in self._read_files(names) for record in file or ()]
        records = [record for record in found if _is_packable(record)]
        if not records:
            return
        keys = "".join(record.key for record in records)
        name = hashlib.sha256(keys.encode()).hexdigest()[:16]
        self._folder.write(self._folder.pack(name), _to_parquet(records))
        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(lambda r: self._folder.delete(self._folder.record(r.key)), records))


def _is_pack(name: str) -> bool:
    return name.startswith("pack-")


def _is_packable(record: Record) -> bool:
    return record.status is not Status.FAILED


def _refuse_newer(rows: Sequence[JSON], folder: ResultsFolder) -> None:
    """Before anything else is made of a record: a newer one may look like a damaged one."""
    newest = max((json.loads(row["identity"])["protocol"] for row in rows), default=PROTOCOL)
    if newest > PROTOCOL:
        raise InputError(
            f"results: {folder.uri} holds records of protocol {newest}, and this mnist_ray knows "
            f"protocol {PROTOCOL} and older. Install a newer mnist_ray, or name another folder "
            "with --results."
        )


def _to_parquet(records: Sequence[Record]) -> bytes:
    table = pa.Table.from_pylist([_to_row(record) for record in records], schema=_SCHEMA)
    buffer = io.BytesIO()
    # A file of one row is mostly metadata: leave out what nobody reads.
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    )
    return buffer.getvalue()


def _rows_of(content: bytes) -> list[JSON]:
    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    rows: list[JSON] = file.read().to_pylist()
    return rows


def _to_row(record: Record) -> JSON:
    return {
        **asdict(record),
        "identity": json.dumps(record.identity, sort_keys=True),
        "status": record.status.value,
        "error": _encodable(record.error),
        "traceback": _encodable(record.traceback),
    }


def _encodable(text: str | None) -> str | None:
    """`text`, if need be with escapes: messages may hold file names that are no Unicode."""
    return text and text.encode(errors="backslashreplace").decode()


def _from_row(row: JSON) -> Record:
    identity = json.loads(row["identity"])
    if digest(identity) != row["key"]:
        raise ValueError("its key is not the hash of its identity")
    setting = row["setting"]
    if setting:
        setting = _made(
            RunEnvironment, {**setting, "versions": _made(Versions, setting["versions"])}
        )
    return _made(
        Record,
        {
            **row,
            "identity": identity,
            "status": Status(row["status"]),
            "epochs": tuple(_made(Epoch, epoch) for epoch in row["epochs"]),
            "test": _made(Evaluation, row["test"]) if row["test"] else None,
            "robustness": tuple(_made(Evaluation, evaluation) for evaluation in row["robustness"]),
            "setting": setting,
            "costs": _made(Costs, row["costs"]),
        },
    )


def _made(kind: type[T], values: JSON) -> T:
    """A `kind` of those `values` that it has fields for; a later program may record more."""
    names = _FIELDS[kind]
    return kind(**{name: value for name, value in values.items() if name in names})


_FIELDS: dict[type, frozenset[str]] = {
    kind: frozenset(field.name for field in fields(kind))
    for kind in (Record, RunEnvironment, Versions, Epoch, Evaluation, Costs)
}
