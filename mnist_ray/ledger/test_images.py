"""Test images beside the records, whose predictions are of them, so that a ledger explains itself.

They are kept as the data set has them, and as each transform made them, so that the transform's
code is not needed.
"""

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray.errors import first_line
from mnist_ray.ledger.identity import JSON, digest
from mnist_ray.ledger.ledger import not_understood, set_aside, warn_of_damage
from mnist_ray.ledger.record_file import made
from mnist_ray.ledger.results_folder import ResultsFolder

_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class TestSet:
    """The images that predictions are of.

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


def write_test_set(folder: ResultsFolder, test_set: TestSet) -> None:
    """Keep the test images, unless they are there already, with the same names of classes."""
    path = folder.test_set(test_set.fingerprint)
    known = read_test_set(folder, test_set.fingerprint)
    if known and known.class_names == test_set.class_names:
        return
    if known is None and folder.exists(path):
        set_aside(folder, path)
    names = ("dataset", "classes", "fingerprint", "class_names")
    description = {name: getattr(test_set, name) for name in names}
    facts = np.array(json.dumps(description))
    _write(folder, path, {"images": test_set.images, "labels": test_set.labels, "facts": facts})


def read_test_set(folder: ResultsFolder, fingerprint: str) -> TestSet | None:
    """The test images with that fingerprint; None where there are none, or damaged ones.

    Raises:
        InputError: they were written by another version and are not understood.
    """
    path = folder.test_set(fingerprint)
    try:
        content = folder.read(path)
    except FileNotFoundError:
        return None
    try:
        return _to_test_set(_arrays(content))
    except _DAMAGE as error:
        warn_of_damage(path, first_line(error))
        return None
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        raise not_understood(folder, path, error) from error


def transformed_path(folder: ResultsFolder, identity: JSON) -> str:
    """Where the transformed images lie that trials of that identity are graded on."""
    parts = {name: identity[name] for name in ("data", "seed", "transform")}
    return folder.test_set(identity["data"], digest(parts))


def write_transformed(folder: ResultsFolder, identity: JSON, images: NDArray[np.uint8]) -> None:
    """Keep the images, uint8 [N, height, width] or [N, height, width, 3], before they are shifted.

    Raises:
        StorageError: they cannot be written.
    """
    _write(folder, transformed_path(folder, identity), {"images": images})


def read_transformed(folder: ResultsFolder, identity: JSON) -> NDArray[np.uint8] | None:
    """The images, as they were written; None where there are none, or damaged ones."""
    try:
        return _arrays(folder.read(transformed_path(folder, identity)))["images"]
    except _DAMAGE:  # FileNotFoundError among them
        return None


def _write(folder: ResultsFolder, path: str, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    folder.write(path, buffer.getvalue())


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


def _to_test_set(arrays: dict[str, NDArray[Any]]) -> TestSet:
    facts = json.loads(str(arrays["facts"]))
    # Those that were written before classes could have names have none.
    names = facts.get("class_names")
    images = {name: arrays[name] for name in ("images", "labels")}
    return made(TestSet, {**facts, **images, "class_names": names and tuple(names)})
