"""Data sets: images and labels in a training and a test part, with a fingerprint."""

import difflib
import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray.data.array_files import CLASS_NAMES, Images, Labels, NamedArray, read_arrays
from mnist_ray.data.digits import load_digits_as_mnist
from mnist_ray.data.keras_cache import FASHION_MNIST_CLASSES, read_fashion_mnist, read_mnist
from mnist_ray.errors import InputError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, in a training and a test part.

    All arrays are C-contiguous. Labels are class numbers from 0.
    """

    name: str
    """What the column `dataset` says."""
    train_images: Images
    """uint8 [n, height, width], or [n, height, width, 3] in colour."""
    train_labels: Labels
    """Integers [n]."""
    test_images: Images
    """uint8 [m, height, width], or [m, height, width, 3] in colour."""
    test_labels: Labels
    """Integers [m]."""
    class_names: tuple[str, ...] | None = None
    """In the order of the labels, where the data have names."""

    def __post_init__(self) -> None:
        for field in ("train_images", "train_labels", "test_images", "test_labels"):
            object.__setattr__(self, field, np.ascontiguousarray(getattr(self, field)))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height and width in pixels; then 3, where the images are in colour."""
        return self.train_images.shape[1:]

    @functools.cached_property
    def classes(self) -> int:
        """Number of classes: 1 + the largest label of either part."""
        return 1 + max(int(self.train_labels.max()), int(self.test_labels.max()))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the shapes, images and labels of both parts.

        The same content has the same fingerprint, whatever its name, path, compression, dtype of
        labels, or the names of its classes.
        """
        digest = hashlib.sha256()
        for images, labels in (
            (self.train_images, self.train_labels),
            (self.test_images, self.test_labels),
        ):
            digest.update(f"{images.shape}".encode())
            digest.update(images.data)
            digest.update(labels.astype("<i4").tobytes())
        return digest.hexdigest()


def load_dataset(dataset: str, *, data: str | None = None, base: Path | None = None) -> Dataset:
    """Load the data set that a search space asks for.

    Args:
        dataset: `mnist`, `fashion_mnist`, `digits`, or a path that `read_arrays` takes.
        data: Where the data set lies; for `mnist` and `fashion_mnist` only. Without it, they come
            from Keras' cache and are first downloaded into it where needed.
        base: The folder in which a relative `dataset` is looked up, before the working directory.

    Raises:
        DatasetUnavailable: It is not in Keras' cache and cannot be downloaded.
        InputError: There is no such data set, its file cannot be used, or `data` is given for
            another one than those that have a file of their own.
    """
    if dataset in _OF_KERAS:
        given = read_arrays(_find(data, folders=[Path()], what="--data")) if data else None
        return _checked_dataset(dataset, given or _OF_KERAS[dataset]())
    if data is not None:
        raise InputError(
            f"--data {data}: goes with the datasets {' and '.join(_OF_KERAS)} only, but the search "
            f"space asks for {dataset!r}. Leave --data out, or name the path as the space's "
            "`dataset`."
        )
    if dataset == "digits":
        return Dataset("digits", *load_digits_as_mnist())
    folders = [Path()] if base is None else [base, Path()]
    path = _find(dataset, folders=folders, what="dataset")
    return _checked_dataset(path.name if path.is_dir() else path.stem, read_arrays(path))


_OF_KERAS: dict[str, Callable[[], dict[str, NamedArray]]] = {
    "mnist": read_mnist,
    "fashion_mnist": read_fashion_mnist,
}
_NAMES = [*_OF_KERAS, "digits"]


def _find(given: str, *, folders: list[Path], what: str) -> Path:
    """The first path `given` that exists in `folders`; raises InputError where none does."""
    places = [os.path.abspath(folder / os.path.expanduser(given)) for folder in folders]
    for candidate in places:
        if os.path.exists(candidate):
            return Path(candidate)
    looked = " or ".join(dict.fromkeys(places))
    nearest = difflib.get_close_matches(given.lower(), _NAMES, n=1)
    guess = f" Did you mean {nearest[0]}?" if nearest and what == "dataset" else ""
    names = f"{', '.join(_NAMES)}, or " if what == "dataset" else ""
    raise InputError(
        f"{what} {given}: there is no {looked}. Allowed: {names}the path of an .npz with Keras' "
        f"keys or of a folder of IDX files.{guess}"
    )


def _checked_dataset(name: str, arrays: dict[str, NamedArray]) -> Dataset:
    train_images, train_labels = _checked_part(arrays["x_train"], arrays["y_train"])
    test_images, test_labels = _checked_part(arrays["x_test"], arrays["y_test"])
    _check_alike(train_images, test_images, source=arrays["x_test"].source)
    first = train_labels[0]
    if np.all(train_labels == first) and np.all(test_labels == first):
        raise InputError(
            f"{arrays['y_train'].source}: only one class (every label is {first}). Needed are at "
            "least 2 classes, with labels from 0."
        )
    dataset = Dataset(name, train_images, train_labels, test_images, test_labels)
    if CLASS_NAMES in arrays:
        names = _checked_class_names(arrays[CLASS_NAMES], dataset.classes)
        return replace(dataset, class_names=names)
    if name == "fashion_mnist" and dataset.classes == len(FASHION_MNIST_CLASSES):
        return replace(dataset, class_names=FASHION_MNIST_CLASSES)
    return dataset


def _check_alike(train_images: Images, test_images: Images, *, source: str) -> None:
    """Refuse test images, which are from `source`, of another kind or size than the others."""
    if train_images.ndim != test_images.ndim:
        raise InputError(
            f"{source}: {_kind(test_images)} images, but those for training are "
            f"{_kind(train_images)}. Both must be grey, or both in colour: for grey images in "
            "colour save numpy.repeat(images[..., None], 3, axis=-1)."
        )
    if train_images.shape[1:] != test_images.shape[1:]:
        test, train = (size_text(images.shape[1:3]) for images in (test_images, train_images))
        raise InputError(
            f"{source}: images of {test} pixels, but those for training have {train}. "
            "Both must be of one size: scale or pad them."
        )


def _checked_class_names(array: NamedArray, classes: int) -> tuple[str, ...]:
    source, values = array
    if values.ndim != 1 or values.dtype.kind != "U":
        raise InputError(
            f"{source}: {values.dtype} values of shape {list(values.shape)}; allowed is one text "
            "for each class, in the order of the labels: numpy.array(names, dtype=str)."
        )
    names = tuple(values.tolist())
    if len(names) != classes:
        raise InputError(
            f"{source}: {len(names)} names, but the labels are 0 to {classes - 1}; allowed is one "
            f"name for each of the {classes} classes, in the order of the labels."
        )
    for name in names:
        if names.count(name) > 1 or not name.strip() or not name.isprintable():
            raise InputError(
                f"{source}: {name!r}; allowed are names that differ, without control characters, "
                "and none of them empty. Rename the class."
            )
    return names


def _checked_part(images: NamedArray, labels: NamedArray) -> tuple[Images, Labels]:
    checked_images, checked_labels = _checked_images(images), _checked_labels(labels)
    if len(checked_images) != len(checked_labels):
        raise InputError(
            f"{labels.source}: {len(checked_labels)} labels for {len(checked_images)} images in "
            f"{images.source}. Each image needs one label: give files that belong together."
        )
    return checked_images, checked_labels


def _checked_images(array: NamedArray) -> Images:
    source, values = array
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3 and values.shape[3:] != (3,):
        raise InputError(
            f"{source}: shape {list(array.values.shape)}; allowed is [n, height, width] or "
            "[n, height, width, 1] for grey images, [n, height, width, 3] for colour (red, green, "
            f"blue). {_remedy_for_shape(values)}"
        )
    if values.size == 0:
        raise InputError(f"{source}: no images (shape {list(values.shape)}). At least 1 is needed.")
    if values.dtype != np.uint8:
        remedy = "scale the images to 0..255, round, and cast to numpy.uint8"
        _require_range(array, highest=255, whole_floats=False, remedy=remedy)
    return values.astype(np.uint8, copy=False)


def _checked_labels(array: NamedArray) -> Labels:
    source, values = array
    if values.ndim != 1:
        raise InputError(
            f"{source}: shape {list(values.shape)}; allowed is [n], one class number an image. "
            "For one-hot labels save labels.argmax(axis=1), for a column labels[:, 0]."
        )
    if values.size == 0:
        raise InputError(f"{source}: no labels. At least 1 is needed.")
    remedy = "number the classes from 0: numpy.unique(labels, return_inverse=True)[1]"
    _require_range(array, highest=2**31 - 1, whole_floats=True, remedy=remedy)
    return values.astype(np.int32)


def _require_range(array: NamedArray, *, highest: int, whole_floats: bool, remedy: str) -> None:
    source, values = array
    kind = values.dtype.kind
    whole = kind in "iu" or (kind == "f" and whole_floats and np.all(values == np.trunc(values)))
    if whole and values.min() >= 0 and values.max() <= highest:
        return
    found = f" from {values.min()} to {values.max()}" if kind in "iuf" else ""
    raise InputError(
        f"{source}: {values.dtype} values{found}; allowed are whole numbers from 0 to {highest}"
        f"{'' if whole_floats else ', as integers'}. Remedy: {remedy}."
    )


def _remedy_for_shape(values: NDArray[Any]) -> str:
    if values.ndim != 4:
        return "Reshape the images."
    if values.shape[3] == 4:
        return "Leave the fourth channel, opacity, out: images[..., :3]."
    if values.shape[1] in (1, 3):
        return "Put the channels last: numpy.moveaxis(images, 1, -1)."
    return "Make the images grey, or give them three channels."


def size_text(shape: tuple[int, ...]) -> str:
    """As it is said of images: 28x28."""
    return "x".join(map(str, shape))


def _kind(images: Images) -> str:
    return "grey" if images.ndim == 3 else "colour"
