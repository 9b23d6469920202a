"""The records in a sweep's folder, and the data that they belong to: the only state of a sweep.

A file of records is written once and never changed after that. A batch holds the records that came
in within about a second. Once there are many small files, they are packed into a larger one. A pack
is complete before the files in it are removed, and only files whose content is in it are removed.
So a crash at any moment loses nothing, and neither do two sweeps that pack at the same time: at
worst a record is in two packs.

Several files may hold records of one trial, which are joined when they are read. Earlier versions
wrote each record alone, as `<key>.parquet`; such files are read and packed like batches.

Reading changes nothing in the folder. A damaged file is left out with a warning; only a sweep that
runs sets it aside. What another version wrote and this one does not understand is an error.
"""

import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain

import pyarrow as pa

from mnist_ray.errors import InputError, StorageError, first_line
from mnist_ray.ledger.record import Record, join
from mnist_ray.ledger.record_file import (
    DamagedFileError,
    ForeignVersionError,
    made,
    read_table,
    to_records,
    to_table,
    write_table,
)
from mnist_ray.ledger.results_folder import ResultsFolder

MOST_SMALL_FILES = 1000
"""With more small files than that they are packed; a bucket lists as many in one request."""
_SMALL_BYTES = 1 << 20
_PACK_BYTES = 32 << 20
"""The most bytes of small files that one pack takes."""
_THREADS = 16
_BATCH, _PACK = "batch-", "pack-"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepManifest:
    """What the last sweep into the ledger asked for, beside its space."""

    fingerprint: str
    sources: dict[str, str]
    """For each architecture and transform of the user's own, the digest of its source."""
    command: str = ""
    """The command that runs what is missing, in the folder where it was given; empty where that is
    not known."""
    image_shapes: dict[str, list[int]] = field(default_factory=dict)
    """The shape of the images that each transform gives, by `Space.with_image_shapes`' keys."""


@dataclass(frozen=True)
class _File:
    """What a file of records holds."""

    name: str
    records: Sequence[Record] = ()
    table: pa.Table | None = None
    size: int = 0
    """In bytes."""
    damage: str | None = None
    is_gone: bool = False


class Ledger:
    """The records in a sweep's folder."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self._names: set[str] = set()
        """Of the files that were read or written."""
        self._damaged: list[str] = []
        self._unpacked: list[_File] = []
        """The small files that were written here."""

    def read(self) -> dict[str, Record]:
        """All records by key. Damaged files are left out with a warning; nothing is changed.

        Raises:
            InputError: the folder cannot be reached at all, or a record was written by another
                version and is not understood.
            StorageError: the folder cannot be read any more, or there is too little memory.
        """
        files = self._read_all()
        self._names, self._damaged = set(), [file.name for file in files if file.damage]
        found: dict[str, Record] = {}
        for record in self._take_in(files):
            join(found, record)
        return found

    def read_new(self) -> list[Record]:
        """The records in files that were neither read nor written yet; the errors are `read`'s."""
        names = self._sizes()
        self._names &= names.keys()  # Those that were packed are gone for good.
        return self._take_in(self._read(name for name in names if name not in self._names))

    def write(self, records: Sequence[Record]) -> str:
        """Write a batch of records; the name of its file.

        Raises:
            StorageError: it cannot be written.
        """
        # By their names batches are in the order in which they were written.
        name = f"{_BATCH}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}.parquet"
        table = to_table(records)
        content = write_table(table)
        self._folder.write(self._folder.records(name), content)
        self._names.add(name)
        if len(content) < _SMALL_BYTES:
            self._unpacked.append(_File(name, records, table, len(content)))
        return name

    def set_aside_damaged(self) -> None:
        """Rename the files that `read` found damaged, unless they have been replaced since then."""
        for file in self._read(self._damaged):
            if file.damage:
                set_aside(self._folder, self._folder.records(file.name))
        self._damaged = []

    def pack(self) -> None:
        """Pack the small files in the folder, if they are too many.

        Raises:
            StorageError: a pack cannot be written.
        """
        if len(self._names) <= MOST_SMALL_FILES:  # It need not be listed again.
            return
        small = {name: size for name, size in self._sizes().items() if _is_small(name, size)}
        if len(small) > MOST_SMALL_FILES:
            for names in _groups(small):
                self._pack([file for file in self._read(names, with_table=True) if file.records])

    def pack_written(self) -> None:
        """Pack what was written here, once it is much: what others write is theirs to pack."""
        size = sum(file.size for file in self._unpacked)
        if len(self._unpacked) >= MOST_SMALL_FILES or size >= _PACK_BYTES:
            self._pack(self._unpacked)
            self._unpacked = []

    def write_manifest(self, manifest: SweepManifest) -> None:
        text = json.dumps(asdict(manifest), indent=1)
        self._folder.write(self._folder.latest, text.encode())

    def read_manifest(self) -> SweepManifest | None:
        """What the last sweep asked for, if that is known."""
        try:
            document = json.loads(self._folder.read(self._folder.latest))
            return made(SweepManifest, document)
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None

    def _sizes(self) -> dict[str, int]:
        """The names of the files in the order in which they are joined, and their bytes."""
        found = self._folder.sizes(self._folder.ledger)
        names = sorted((name for name in found if name.endswith(".parquet")), key=_age)
        return {name: found[name] for name in names}

    def _read_all(self) -> list[_File]:
        """All files, as of one moment: a sweep may pack records in the meantime."""
        while True:
            names = self._sizes()
            files = self._read(names)
            new_packs = {name for name in self._sizes() if name.startswith(_PACK)} - names.keys()
            if not new_packs and not any(file.is_gone for file in files):
                return files

    def _read(self, names: Iterable[str], *, with_table: bool = False) -> list[_File]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(partial(self._read_file, with_table=with_table), names))

    def _read_file(self, name: str, *, with_table: bool) -> _File:
        path = self._folder.records(name)
        try:
            table = read_table(self._folder.read(path))
            records = to_records(table)
            of_one = not name.startswith((_BATCH, _PACK))
            if of_one and [f"{record.key}.parquet" for record in records] != [name]:
                raise DamagedFileError("its record is of another trial than its name says")
            return _File(name, records, table if with_table else None)
        except FileNotFoundError:
            return _File(name, is_gone=True)
        except DamagedFileError as error:
            return _File(name, damage=first_line(error))
        except ForeignVersionError as error:
            raise not_understood(self._folder, path, error) from error
        except (MemoryError, NotImplementedError) as error:
            raise StorageError(
                f"{self._folder.uri}/{path} cannot be read on this machine: {first_line(error)}. "
                "It is left as it is; read it with more memory, or with another build of pyarrow."
            ) from error

    def _take_in(self, files: Sequence[_File]) -> list[Record]:
        """What those files hold, which are no longer new; with a warning of each damaged one."""
        for file in files:
            if file.damage:
                warn_of_damage(self._folder.records(file.name), file.damage)
        # What is gone by now is in a pack that is found next time.
        self._names |= {file.name for file in files if not file.is_gone}
        return [record for file in files for record in file.records]

    def _pack(self, files: Sequence[_File]) -> None:
        """Write what those files hold into one, then remove them."""
        if not files:
            return
        # Columns that only some of them have, since a later version wrote those, are kept.
        table = pa.concat_tables([file.table for file in files], promote_options="permissive")
        content = write_table(table.take(_needed([r for file in files for r in file.records])))
        name = f"{_PACK}{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        self._folder.write(self._folder.records(name), content)
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda f: self._folder.delete(self._folder.records(f.name)), files))
        self._names.add(name)


def set_aside(folder: ResultsFolder, path: str) -> None:
    """Rename a damaged file, if it can be."""
    try:
        folder.take(folder, path, f"{path}.damaged")
    except StorageError as refusal:
        _LOG.warning("%s is damaged, but cannot be renamed: %s", path, refusal)
    else:
        _LOG.warning("%s is damaged: it was renamed to %s.damaged", path, path)


def warn_of_damage(path: str, damage: str) -> None:
    _LOG.warning(
        "%s is damaged (%s): it is left out, and a sweep runs again what was in it", path, damage
    )


def not_understood(folder: ResultsFolder, path: str, error: Exception) -> InputError:
    return InputError(
        f"results: {folder.uri}/{path} was written by another version of mnist_ray: {error}. It is "
        "left as it is. Install a newer mnist_ray, or name another folder with --results; if you "
        "know that the file is damaged, move it away."
    )


def _age(name: str) -> tuple[bool, bool, str]:
    """Sorts packs before single records before batches: the order in which they are written."""
    return not name.startswith(_PACK), name.startswith(_BATCH), name


def _is_small(name: str, size: int) -> bool:
    return size < _SMALL_BYTES and not name.startswith(_PACK)


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names, by as many as fit into one pack."""
    names: list[str] = []
    room = _PACK_BYTES
    for name, size in sizes.items():
        if len(names) == MOST_SMALL_FILES or size > room:
            yield names
            names, room = [], _PACK_BYTES
        names.append(name)
        room -= size
    yield names


def _needed(records: Iterable[Record]) -> list[int]:
    """The indices of the records that together hold all that is to be kept."""
    known: dict[str, Record] = {}
    places: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        joined = join(known, record)
        if joined is record:
            places[record.key] = [place]
        elif joined:
            places[record.key].append(place)
    return sorted(chain.from_iterable(places.values()))
