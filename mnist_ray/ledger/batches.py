"""The files of records in a ledger. Each is written once and never changed after that.

A batch holds the records that came in within about a second. Once there are many small files, they
are packed into a larger one. A pack is complete before the files in it are removed, and only files
whose content is in it are removed. So a crash at any moment loses nothing, and neither do two
sweeps that pack at the same time: at worst a record is in two packs.

Several files may hold records of one trial, which are joined when they are read. Earlier versions
wrote each record alone, as `<key>.parquet`; such files are read and packed like batches.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain

import pyarrow as pa

from mnist_ray.errors import InputError, StorageError
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.record_file import (
    DamagedFileError,
    ForeignVersionError,
    read_table,
    to_records,
    to_table,
    write_table,
)
from mnist_ray.ledger.results_folder import ResultsFolder

MOST_SMALL_FILES = 1000
"""With more small files than that they are packed; a bucket lists as many in one request."""
_SMALL_BYTES = 1 << 20
PACK_BYTES = 32 << 20
"""How much of small files one pack takes at most."""
_THREADS = 16
_BATCH, _PACK = "batch-", "pack-"


@dataclass(frozen=True)
class FileOfRecords:
    """What a file of records holds."""

    name: str
    table: pa.Table | None = None
    records: Sequence[Record] = ()
    size: int = 0
    """In bytes."""
    damage: str | None = None
    is_gone: bool = False

    @property
    def is_small(self) -> bool:
        """Whether it is to be packed once there are many like it."""
        return self.size < _SMALL_BYTES and not self.name.startswith(_PACK)


@dataclass(frozen=True)
class Batches:
    """The files of records in a sweep's folder."""

    folder: ResultsFolder

    def sizes(self) -> dict[str, int]:
        """The names of the files in the order in which they are joined, and their bytes."""
        found = self.folder.sizes(self.folder.ledger)
        names = sorted((name for name in found if name.endswith(".parquet")), key=_age)
        return {name: found[name] for name in names}

    def path(self, name: str) -> str:
        return self.folder.records(name)

    def read_all(self) -> list[FileOfRecords]:
        """All files, as of one moment: a sweep may pack records in the meantime.

        Raises:
            InputError: a file was written by another version and is not understood.
            StorageError: a file cannot be read, or there is too little memory.
        """
        while True:
            names = self.sizes()
            files = self.read(names)
            new_packs = {name for name in self.sizes() if name.startswith(_PACK)} - names.keys()
            if not new_packs and not any(file.is_gone for file in files):
                return files

    def read(self, names: Iterable[str], *, with_table: bool = False) -> list[FileOfRecords]:
        """Those files, in that order; the errors are those of `read_all`."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(partial(self._read, with_table=with_table), names))

    def write(self, records: Sequence[Record]) -> FileOfRecords:
        """Write a batch of records.

        Raises:
            StorageError: it cannot be written.
        """
        # By their names batches are in the order in which they were written.
        name = f"{_BATCH}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}.parquet"
        table = to_table(records)
        content = write_table(table)
        self.folder.write(self.path(name), content)
        return FileOfRecords(name, table, records, len(content))

    def pack_small_files(self) -> set[str]:
        """Pack the small files in the folder, if they are too many; the names of the packs.

        Raises:
            StorageError: a pack cannot be written.
        """
        files = (FileOfRecords(name, size=size) for name, size in self.sizes().items())
        small = {file.name: file.size for file in files if file.is_small}
        if len(small) <= MOST_SMALL_FILES:
            return set()
        groups = (self.read(names, with_table=True) for names in _groups(small))
        whole = ([file for file in files if file.records] for files in groups)
        return {self.pack(files) for files in whole if files}

    def pack(self, files: Sequence[FileOfRecords]) -> str:
        """Write what those files hold into one file, then remove them; the name of that file.

        Raises:
            StorageError: it cannot be written.
        """
        # Columns that only some of them have, since a later version wrote those, are kept.
        table = pa.concat_tables([file.table for file in files], promote_options="permissive")
        places = _needed(list(chain.from_iterable(file.records for file in files)))
        content = write_table(table.take(places))
        name = f"{_PACK}{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        self.folder.write(self.path(name), content)
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda file: self.folder.delete(self.path(file.name)), files))
        return name

    def _read(self, name: str, *, with_table: bool) -> FileOfRecords:
        try:
            table = read_table(self.folder.read(self.path(name)))
            records = to_records(table)
            if not name.startswith((_BATCH, _PACK)):
                _check_single(name, records)
            return FileOfRecords(name, table if with_table else None, records)
        except FileNotFoundError:
            return FileOfRecords(name, is_gone=True)
        except DamagedFileError as error:
            return FileOfRecords(name, damage=first_line(error))
        except ForeignVersionError as error:
            raise not_understood(self.folder, self.path(name), error) from error
        except (MemoryError, NotImplementedError) as error:
            raise StorageError(
                f"{self.folder.uri}/{self.path(name)} cannot be read on this machine: "
                f"{first_line(error)}. It is left as it is; read it with more memory, or with "
                "another build of pyarrow."
            ) from error


def not_understood(folder: ResultsFolder, path: str, error: Exception) -> InputError:
    return InputError(
        f"results: {folder.uri}/{path} was written by another version of mnist_ray: {error}. It is "
        "left as it is. Install a newer mnist_ray, or name another folder with --results; if you "
        "know that the file is damaged, move it away."
    )


def joined_by_key(records: Iterable[Record]) -> dict[str, Record]:
    """What to keep of `records`, which are in the order in which they were written."""
    found: dict[str, Record] = {}
    for record in records:
        known = found.get(record.key)
        found[record.key] = record if known is None else known.joined(record)
    return found


def first_line(error: BaseException) -> str:
    """The first line of what the error says, or what kind it is."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _age(name: str) -> tuple[bool, bool, str]:
    """Sorts packs before single records before batches, as they come to be."""
    return not name.startswith(_PACK), name.startswith(_BATCH), name


def _check_single(name: str, records: Sequence[Record]) -> None:
    if [f"{record.key}.parquet" for record in records] != [name]:
        raise DamagedFileError("its record is of another trial than its name says")


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names, by as many as fit into one pack."""
    names: list[str] = []
    room = PACK_BYTES
    for name, size in sizes.items():
        if len(names) == MOST_SMALL_FILES or size > room:
            yield names
            names, room = [], PACK_BYTES
        names.append(name)
        room -= size
    yield names


def _needed(records: Sequence[Record]) -> list[int]:
    """The places of those of the records that say all that is to be kept of them."""
    known: dict[str, Record] = {}
    places: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        before = known.get(record.key)
        joined = record if before is None else before.joined(record)
        if joined is record:
            places[record.key] = [place]
        elif joined is not before:
            places[record.key].append(place)
        known[record.key] = joined
    return sorted(chain.from_iterable(places.values()))
