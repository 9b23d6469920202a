"""MNIST and Fashion-MNIST from Keras' own cache, or fetched into it from Keras' own address.

Fashion-MNIST is by Xiao, Rasul and Vollgraf (2017), https://github.com/zalandoresearch/fashion-mnist:
articles of clothing in MNIST's format.
"""

import hashlib
import logging
import os
import queue
import secrets
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError

from numpy.typing import NDArray

from mnist_ray.data.array_files import IDX_FILES, NamedArray, read_arrays, read_idx
from mnist_ray.errors import InputError

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
"""Keras' own address (keras/src/datasets), so that one cache serves both."""
CONNECT_LIMIT_SECONDS = 20.0
"""How long a download may take to begin, and how long it may then receive nothing."""
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""Keras' own checksum (keras/src/datasets/mnist.py). Of Fashion-MNIST it knows none."""
FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FASHION_MNIST_SHAPES: dict[str, tuple[int, ...]] = {
    "x_train": (60_000, 28, 28),
    "y_train": (60_000,),
    "x_test": (10_000, 28, 28),
    "y_test": (10_000,),
}

_log = logging.getLogger(__name__)
ReadT = TypeVar("ReadT")


class DatasetUnavailable(InputError):  # noqa: N818 - a state of the world rather than a mistake
    """A data set can be neither found nor fetched; the message gives the ways out."""


def read_mnist() -> dict[str, NamedArray]:
    """The arrays of MNIST, under Keras' keys. Its file is identified by Keras' own checksum.

    Raises:
        DatasetUnavailable: it is not there, or another file, and cannot be fetched.
    """
    path = keras_cache("mnist.npz")
    keep = f" (that file as it is: --data {path})" if os.path.exists(path) else ""
    own = f"mnist.npz at {path}"
    return _kept("mnist", path, _read_mnist, or_with=f" or MNIST_RAY_DATA=PATH{keep}", own=own)


def find_cached_mnist() -> Path | None:
    """The path of MNIST in Keras' cache, if it is there and whole; nothing is fetched."""
    path = keras_cache("mnist.npz")
    return path if sha256(path) == MNIST_SHA256 else None


def read_fashion_mnist() -> dict[str, NamedArray]:
    """The arrays of Fashion-MNIST, under Keras' keys, of the four files that Keras keeps.

    The checksum of gzip, the shape and the labels show whether a file is whole.

    Raises:
        DatasetUnavailable: a file is not there, or not whole, and cannot be fetched.
    """
    folder = keras_cache("fashion-mnist")
    paths = {key: folder / f"{name}.gz" for key, name in IDX_FILES.items()}
    own = f"files at {folder}: {', '.join(path.name for path in paths.values())}"
    arrays = {}
    for key, path in paths.items():
        read = partial(_read_fashion_mnist, shape=FASHION_MNIST_SHAPES[key])
        arrays[key] = NamedArray(str(path), _kept("fashion_mnist", path, read, own=own))
    return arrays


def keras_cache(name: str) -> Path:
    """The path of a data set's file or folder in Keras' cache, by Keras' own rules.

    `KERAS_HOME`, else `~/.keras`; where that cannot be written, `/tmp/.keras`. A copy in a folder
    that can only be read is used all the same.
    """
    home = os.path.abspath(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    path = Path(home, "datasets", name)
    nearest = next(folder for folder in path.parents if os.path.exists(folder))
    if os.access(nearest, os.W_OK) or os.path.exists(path):
        return path
    temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()  # noqa: S108 - Keras' own
    return Path(temporary, ".keras", "datasets", name)


def sha256(path: Path) -> str | None:
    """Checksum of a file (hexadecimal); None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _read_mnist(path: Path) -> dict[str, NamedArray]:
    if sha256(path) != MNIST_SHA256:
        raise InputError(f"{path}: not Keras' own file: it has another checksum")
    return read_arrays(path)


def _read_fashion_mnist(path: Path, *, shape: tuple[int, ...]) -> NDArray[Any]:
    values = read_idx(path)
    classes = len(FASHION_MNIST_CLASSES)
    if values.shape != shape or (values.ndim == 1 and values.max() >= classes):
        raise InputError(
            f"{path}: not of Fashion-MNIST: shape {list(values.shape)} with values up to "
            f"{values.max(initial=0)}; it has {list(shape)}, and labels from 0 to {classes - 1}."
        )
    return values


def _kept(
    dataset: str, path: Path, read: Callable[[Path], ReadT], *, own: str, or_with: str = ""
) -> ReadT:
    """What `read` makes of a file, which is fetched if it is not there or `read` refuses it.

    Unlike in Keras, a refused file stays as it is if it cannot be fetched.
    """
    state = f"there is no {path}"
    if os.path.exists(path):
        try:
            return read(path)
        except InputError as error:
            state = str(error).rstrip(".")
            _log.warning("%s: fetching it anew", state)
    url = f"{KERAS_URL}{path.name}"
    try:
        _download(url, path, check=read)
    except OSError as error:
        raise DatasetUnavailable(
            f"dataset {dataset}: {state}, and fetching {url} failed: {error}. Ways out:\n"
            "  - give your copy, an .npz with Keras' keys or a folder of IDX files, with --data "
            f"PATH{or_with};\n"
            f"  - put Keras' own {own};\n"
            "  - take the digits that need no network: mnist-ray sweep digits"
        ) from error
    return read(path)


def _download(url: str, path: Path, *, check: Callable[[Path], object]) -> None:
    """Fetch `url` to `path`, which is replaced only by a whole file that `check` does not refuse.

    Raises:
        OSError: it cannot be fetched or written, or is refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")
    try:
        with partial_file.open("xb") as file, _open(url, limit=CONNECT_LIMIT_SECONDS) as answer:
            shutil.copyfileobj(answer, file)
        check(partial_file)
        os.replace(partial_file, path)
    except InputError as error:
        raise OSError(f"what came is {str(error).removeprefix(f'{partial_file}: ')}") from error
    finally:
        partial_file.unlink(missing_ok=True)


def _open(url: str, *, limit: float) -> HTTPResponse:
    """The answer of `url`, whose headers have arrived within `limit` seconds.

    A thread of its own waits for it: looking up a name has no time limit, and a connection's limit
    starts anew with each address that is tried and each header that arrives. Raises OSError.
    """
    answers: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()

    def wait() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=limit))  # noqa: S310 - a constant
        # Proxies, certificates and odd answers raise all kinds of errors; none may be lost here.
        except Exception as error:
            answers.put(error)

    threading.Thread(target=wait, daemon=True).start()
    try:
        answer = answers.get(timeout=limit)
    except queue.Empty:
        raise TimeoutError(f"nothing arrived for {limit:g} s") from None
    if isinstance(answer, Exception):
        reason = answer.reason if type(answer) is URLError else answer
        raise OSError(str(reason) or type(reason).__name__) from answer
    return answer
