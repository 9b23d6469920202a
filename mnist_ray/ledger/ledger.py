"""The records in a sweep's folder, and what they are of: the only state of a sweep.

Reading changes nothing in the folder. A damaged file is left out with a warning; only a sweep that
runs sets it aside. What another version wrote and this one does not understand is an error.
"""

import io
import json
import logging
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from mnist_ray.errors import StorageError
from mnist_ray.ledger import batches
from mnist_ray.ledger.batches import (
    Batches,
    FileOfRecords,
    first_line,
    joined_by_key,
    not_understood,
)
from mnist_ray.ledger.identity import JSON
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder

NPZ_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TestSet:
    """The images that predictions are of, kept so that a ledger explains itself.

    `images` are uint8 [N, height, width], or [N, height, width, 3] in colour, `labels` int32 [N].
    """

    __test__ = False  # Not a test case, whatever its name suggests to pytest.

    dataset: str
    fingerprint: str
    classes: int
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    class_names: tuple[str, ...] | None = None
    """In the order of the labels, where the data have names."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height and width in pixels; then 3, where the images are in colour."""
        return self.images.shape[1:]

    @property
    def names(self) -> tuple[str, ...]:
        """What each class is called, in the order of the labels: a number where it has no name."""
        return self.class_names or tuple(map(str, range(self.classes)))


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


class Ledger:
    """The records in a sweep's folder."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self.batches = Batches(folder)
        self.names: frozenset[str] = frozenset()
        """Of the files of records that were read."""
        self._damaged: list[str] = []

    def read(self) -> dict[str, Record]:
        """All records by key. Damaged files are left out with a warning; nothing is changed.

        Raises:
            InputError: the folder cannot be reached at all, or a record was written by another
                version and is not understood.
            StorageError: the folder cannot be read any more, or there is too little memory.
        """
        files = self.batches.read_all()
        self._damaged = [file.name for file in files if file.damage]
        for file in files:
            if file.damage:
                self.warn_of_damage(file)
        self.names = frozenset(file.name for file in files)
        return joined_by_key(record for file in files for record in file.records)

    def set_aside_damaged(self) -> None:
        """Rename the files that `read` found damaged, unless they have been replaced since then."""
        for file in self.batches.read(self._damaged):
            if file.damage:
                self._set_aside(self.batches.path(file.name))
        self._damaged = []

    def pack(self) -> None:
        """Pack the small files that `read` found, if they are too many.

        Raises:
            StorageError: a pack cannot be written.
        """
        if len(self.names) > batches.MOST_SMALL_FILES:
            self.names |= self.batches.pack_small_files()

    def write_test_set(self, test_set: TestSet) -> None:
        """Keep the test images, unless they are there already, with the same names of classes."""
        name = self._folder.test_set(test_set.fingerprint)
        known = self.read_test_set(test_set.fingerprint)
        if known and known.class_names == test_set.class_names:
            return
        if known is None and self._folder.exists(name):
            self._set_aside(name)
        facts = ("dataset", "classes", "fingerprint", "class_names")
        description = {fact: getattr(test_set, fact) for fact in facts}
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
        except NPZ_DAMAGE as error:
            self._warn(name, first_line(error))
            return None
        except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
            raise not_understood(self._folder, name, error) from error

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

    def warn_of_damage(self, file: FileOfRecords) -> None:
        self._warn(self.batches.path(file.name), file.damage or "")

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


def _to_test_set(content: bytes) -> TestSet:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        description = _known_fields(TestSet, json.loads(str(file["facts"])))
        # Those that were written before classes could have names have none.
        names = description.pop("class_names", None)
        return TestSet(
            images=file["images"],
            labels=file["labels"],
            class_names=names and tuple(names),
            **description,
        )


def _known_fields(kind: type, document: JSON) -> JSON:
    """Those of the values that `kind` has fields for; a later version may keep more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in document.items() if name in names}
