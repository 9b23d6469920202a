"""The folder of records: the only state of a sweep.

A record is one row of a Parquet file. It is written alone, as `ledger/<key>.parquet`, when its
trial ends. Once there are more than a thousand such files, all but those of failed trials are
packed together. A pack is complete before the files in it are removed, so a crash at any moment
loses nothing. A key that is found twice, for example in the packs of two sweeps at once, counts
once.

Reading changes nothing in the folder. A damaged file is left out with a warning; only a sweep that
runs sets it aside. What another version wrote and this one does not understand is an error.
"""

import hashlib
import io
import json
import logging
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import JSON
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.record_file import (
    DamagedFileError,
    ForeignVersionError,
    read_table,
    to_parquet,
    to_records,
    write_table,
)
from mnist_ray.ledger.results_folder import ResultsFolder, StorageError

_LOOSE_LIMIT = 1000
_READERS = 16
_NPZ_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)

_LOG = logging.getLogger(__name__)


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
    """For each custom architecture, the digest of its source."""
    command: str = ""
    """The command that runs what is missing, in the folder where it was given; empty where that is
    not known."""


@dataclass(frozen=True)
class _File:
    """What a file of records holds."""

    name: str
    table: pa.Table | None = None
    records: Sequence[Record] = ()
    damage: str | None = None
    is_gone: bool = False

    @property
    def is_pack(self) -> bool:
        return self.name.startswith("pack-")

    @property
    def packable(self) -> int:
        """How many of its records may be packed: a failed one is to be replaced."""
        return sum(record.status is not Status.FAILED for record in self.records)


class Ledger:
    """The records in a sweep's folder."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self._loose = 0
        self._damaged: list[str] = []

    def read(self) -> dict[str, Record]:
        """All records by key. Damaged files are left out with a warning; nothing is changed.

        Raises:
            InputError: the folder cannot be reached at all, or a record was written by another
                version and is not understood.
            StorageError: the folder cannot be read any more, or there is too little memory.
        """
        files = self._read_all()
        self._damaged = [file.name for file in files if file.damage]
        for file in files:
            if file.damage:
                self._warn(self._path(file.name), file.damage)
        self._loose = sum(file.packable for file in files if not file.is_pack)
        return _by_key(record for file in files for record in file.records)

    def find(self, key: str) -> Record | None:
        """The record of one trial, if it has a file of its own; another sweep may have made it."""
        records = self._find(key).records
        return records[0] if records else None

    def write(self, record: Record) -> None:
        """Keep a record, together with what another sweep may have recorded of the trial.

        Raises:
            StorageError: it cannot be written.
        """
        file = self._find(record.key)
        if file.damage:
            self._set_aside(self._path(file.name))
        known = file.records[0] if file.records else None
        joined = record if known is None else known.joined(record)
        if joined is known:
            return
        self._folder.write(self._folder.record(record.key), to_parquet([joined]))
        self._loose += joined.status is not Status.FAILED

    def set_aside_damaged(self) -> None:
        """Rename the files that `read` found damaged, unless they have been replaced since then."""
        for name in self._damaged:
            if self._read_file(name).damage:
                self._set_aside(self._path(name))
        self._damaged = []

    def pack(self) -> None:
        """Put records into one file, if there are too many files of single ones.

        Raises:
            StorageError: it cannot be written.
        """
        if self._loose <= _LOOSE_LIMIT:
            return
        names = [name for name in self._names() if not _File(name).is_pack]
        for start in range(0, len(names), _LOOSE_LIMIT):
            self._pack(names[start : start + _LOOSE_LIMIT])
        self._loose = 0

    def write_test_set(self, test_set: TestSet) -> None:
        """Keep the test images, unless they are there already."""
        name = self._folder.test_set(test_set.fingerprint)
        if self._folder.exists(name):
            if self.read_test_set(test_set.fingerprint):
                return
            self._set_aside(name)
        description = {
            name: getattr(test_set, name) for name in ("dataset", "classes", "fingerprint")
        }
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            images=test_set.images,
            labels=test_set.labels,
            facts=np.array(json.dumps(description)),
        )
        self._folder.write(name, buffer.getvalue())

    def read_test_set(self, fingerprint: str) -> TestSet | None:
        """The test images with that fingerprint; None where there are none, or damaged ones.

        Raises:
            InputError: they were written by another version and are not understood.
        """
        name = self._folder.test_set(fingerprint)
        try:
            content = self._folder.read(name)
        except FileNotFoundError:
            return None
        try:
            return _to_test_set(content)
        except _NPZ_DAMAGE as error:
            self._warn(name, _reason(error))
            return None
        except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
            raise self._not_understood(name, error) from error

    def write_manifest(self, manifest: SweepManifest) -> None:
        text = json.dumps(asdict(manifest), indent=1)
        self._folder.write(self._folder.latest, text.encode())

    def read_manifest(self) -> SweepManifest | None:
        """What the last sweep asked for, if that is known."""
        try:
            document = json.loads(self._folder.read(self._folder.latest))
            return SweepManifest(**_known_fields(SweepManifest, document))
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None

    def _names(self) -> list[str]:
        """The files of records, those of single ones first."""
        names = self._folder.names(self._folder.ledger)
        return [name for name in names if name.endswith(".parquet")]

    def _path(self, name: str) -> str:
        return f"{self._folder.ledger}/{name}"

    def _read_all(self) -> list[_File]:
        """All files, as of one moment: another sweep may pack records in the meantime."""
        while True:
            names = self._names()
            files = self._read_files(names)
            packs = {name for name in self._names() if _File(name).is_pack}
            if packs <= set(names) and not any(file.is_gone for file in files):
                return files

    def _read_files(self, names: Sequence[str], *, with_table: bool = False) -> list[_File]:
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(partial(self._read_file, with_table=with_table), names))

    def _find(self, key: str) -> _File:
        if not self._folder.exists(self._folder.record(key)):
            return _File(f"{key}.parquet", is_gone=True)
        return self._read_file(f"{key}.parquet")

    def _read_file(self, name: str, *, with_table: bool = False) -> _File:
        path = self._path(name)
        try:
            table = read_table(self._folder.read(path))
            file = _File(name, table if with_table else None, to_records(table))
            if not file.is_pack and [f"{r.key}.parquet" for r in file.records] != [name]:
                raise DamagedFileError("its record is of another trial than its name says")
        except FileNotFoundError:
            return _File(name, is_gone=True)
        except DamagedFileError as error:
            return _File(name, damage=_reason(error))
        except ForeignVersionError as error:
            raise self._not_understood(path, error) from error
        except (MemoryError, NotImplementedError) as error:
            raise StorageError(
                f"{self._folder.uri}/{path} cannot be read on this machine: {_reason(error)}. It "
                "is left as it is; read it with more memory, or with another build of pyarrow."
            ) from error
        return file

    def _not_understood(self, path: str, error: Exception) -> InputError:
        return InputError(
            f"results: {self._folder.uri}/{path} was written by another version of mnist_ray: "
            f"{error}. It is left as it is. Install a newer mnist_ray, or name another folder with "
            "--results; if you know that the file is damaged, move it away."
        )

    def _warn(self, path: str, damage: str) -> None:
        _LOG.warning(
            "%s is damaged (%s): it is left out, and a sweep runs again what was in it",
            path,
            damage,
        )

    def _set_aside(self, path: str) -> None:
        try:
            self._folder.rename(path, f"{path}.damaged")
        except StorageError as refusal:
            _LOG.warning("%s is damaged, but cannot be renamed: %s", path, refusal)
        else:
            _LOG.warning("%s is damaged: it was renamed to %s.damaged", path, path)

    def _pack(self, names: Sequence[str]) -> None:
        """Put what those files hold into one, then remove them."""
        files = [file for file in self._read_files(names, with_table=True) if file.packable]
        if not files:
            return
        keys = [record.key for file in files for record in file.records]
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
        # Columns that only some of them have, since a later version wrote those, are kept.
        table = pa.concat_tables([file.table for file in files], promote_options="permissive")
        self._folder.write(self._folder.pack(name), write_table(table))
        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(lambda key: self._folder.delete(self._folder.record(key)), keys))


def _reason(error: BaseException) -> str:
    """The first line of what the error says, or what kind it is."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _by_key(records: Iterable[Record]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for record in records:
        known = found.get(record.key)
        found[record.key] = record if known is None else known.joined(record)
    return found


def _to_test_set(content: bytes) -> TestSet:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        description = _known_fields(TestSet, json.loads(str(file["facts"])))
        return TestSet(images=file["images"], labels=file["labels"], **description)


def _known_fields(kind: type, document: JSON) -> JSON:
    """Those of the values that `kind` has fields for; a later version may keep more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in document.items() if name in names}
