"""Fashion-MNIST from Keras' cache, or from Keras' own address.

Xiao, Rasul and Vollgraf (2017), https://github.com/zalandoresearch/fashion-mnist: articles of
clothing in MNIST's format.
"""

import logging
import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mnist_ray.data.array_files import NamedArray, read_idx
from mnist_ray.data.keras_cache import KERAS_URL, DatasetUnavailable, download, keras_cache
from mnist_ray.errors import InputError

FASHION_MNIST_URL = KERAS_URL
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SHAPES: dict[str, tuple[int, ...]] = {
    "x_train": (60_000, 28, 28),
    "y_train": (60_000,),
    "x_test": (10_000, 28, 28),
    "y_test": (10_000,),
}
_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}

_log = logging.getLogger(__name__)


def read_fashion_mnist() -> dict[str, NamedArray]:
    """The arrays of Fashion-MNIST, under Keras' keys, of the files that Keras keeps.

    A file that is not there, or is not whole, is fetched where Keras would fetch it. Keras knows no
    checksums of these files; that of gzip, the shape and the labels are checked.

    Raises:
        DatasetUnavailable: a file is not there and cannot be fetched.
    """
    folder = keras_cache("fashion-mnist")
    return {
        key: NamedArray(str(folder / name), _cached(folder / name, key))
        for key, name in _FILES.items()
    }


def _cached(path: Path, key: str) -> NDArray[Any]:
    state = f"there is no {path}"
    if os.path.exists(path):
        try:
            return _read(path, key)
        except InputError as error:
            state = str(error).rstrip(".")
            _log.warning("%s: fetching it anew", state)
    url = f"{FASHION_MNIST_URL}{path.name}"
    try:
        download(url, path, check=lambda partial: _check(partial, key))
    except OSError as error:
        raise DatasetUnavailable(_ways_out(path.parent, state, f"{url} failed: {error}")) from error
    return _read(path, key)


def _check(path: Path, key: str) -> None:
    try:
        _read(path, key)
    except InputError as error:
        raise OSError(f"what came is {str(error).removeprefix(f'{path}: ')}") from error


def _read(path: Path, key: str) -> NDArray[Any]:
    values = read_idx(path)
    if values.shape != SHAPES[key] or (values.ndim == 1 and values.max() >= len(CLASS_NAMES)):
        raise InputError(
            f"{path}: not of Fashion-MNIST: shape {list(values.shape)} with values up to "
            f"{values.max(initial=0)}; it has {list(SHAPES[key])}, and labels from 0 to "
            f"{len(CLASS_NAMES) - 1}."
        )
    return values


def _ways_out(folder: Path, state: str, failure: str) -> str:
    return (
        f"dataset fashion_mnist: {state}, and fetching {failure}. Ways out:\n"
        "  - give your copy, an .npz with Keras' keys or a folder of IDX files, with --data PATH;\n"
        f"  - put Keras' own files at {folder}: {', '.join(_FILES.values())};\n"
        "  - take the digits that need no network: mnist-ray sweep digits"
    )
