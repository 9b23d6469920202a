"""Data sets and how their images are presented, in numpy."""

import difflib
import functools
import gzip
import hashlib
import logging
import math
import os
import queue
import secrets
import tempfile
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.error import URLError

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from mnist_ray.errors import InputError

Images = NDArray[np.uint8]
Labels = NDArray[np.int32] | NDArray[np.uint8]

# Keras' own address and checksum (keras/src/datasets/mnist.py), so that one cache serves both.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
CONNECT_LIMIT_SECONDS = 20.0
"""How long a download may take to begin, and how long it may then stand still."""

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SAVE_HINT = (
    "save plain arrays with "
    "numpy.savez_compressed(path, x_train=..., y_train=..., x_test=..., y_test=...)"
)
_IDX_STEMS = {
    "x_train": "train-images idx3-ubyte",
    "y_train": "train-labels idx1-ubyte",
    "x_test": "t10k-images idx3-ubyte",
    "y_test": "t10k-labels idx1-ubyte",
}
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# What a file that is no .npz turns out to be, by its first bytes.
_LOOKALIKES = {
    b"PK": "it begins as one, but its end is missing or damaged: fetch or save it again",
    b"\x93NUMPY": f"it is a single .npy array: {_SAVE_HINT}",
    b"\x80": f"it looks like a pickle, which could run code and is never opened: {_SAVE_HINT}",
    b"\0\0": "it looks like an IDX file: give the folder that holds all four",
    _GZIP_MAGIC: "it is gzipped: for IDX files give the folder, otherwise unpack it first",
}

_log = logging.getLogger(__name__)


class DatasetUnavailable(InputError):  # noqa: N818 - a state of the world rather than a mistake
    """MNIST can be neither found nor fetched; the message gives the ways out."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, in a training and a test part.

    All arrays are C-contiguous. Labels are class numbers from 0.
    """

    name: str
    """What the column `dataset` says."""
    train_images: Images
    """uint8 [n, height, width]."""
    train_labels: Labels
    """Integers [n]."""
    test_images: Images
    """uint8 [m, height, width]."""
    test_labels: Labels
    """Integers [m]."""

    def __post_init__(self) -> None:
        for field in ("train_images", "train_labels", "test_images", "test_labels"):
            object.__setattr__(self, field, np.ascontiguousarray(getattr(self, field)))

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.train_images.shape[1:]
        return height, width

    @functools.cached_property
    def classes(self) -> int:
        """Number of classes: 1 + the largest label of either part."""
        return 1 + max(int(self.train_labels.max()), int(self.test_labels.max()))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the shapes, images and labels of both parts.

        The same content has the same fingerprint, whatever its name, path, compression or dtype
        of labels.
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
        dataset: `mnist`, `digits`, or the path of an .npz with Keras' keys (`x_train`, `y_train`,
            `x_test`, `y_test`) or of a folder of IDX files, gzipped or not.
        data: Where MNIST lies, in either form; for `mnist` only. Without it, MNIST comes from
            Keras' cache and is first downloaded into it where needed.
        base: The folder in which a relative `dataset` is looked up, before the working directory.

    Raises:
        DatasetUnavailable: MNIST is not in Keras' cache and can't be downloaded.
        InputError: There is no such data set, its file can't be used, or `data` is given for
            another data set than `mnist`.
    """
    if dataset == "mnist":
        path = _cached_mnist() if data is None else _find(data, folders=[Path()], what="--data")
        return _load_path(path, name="mnist")
    if data is not None:
        raise InputError(
            f"--data {data}: goes with dataset mnist only, but the search space asks for "
            f"{dataset!r}. Leave --data away, or name the path as the space's `dataset`."
        )
    if dataset == "digits":
        return _load_digits()
    folders = [Path()] if base is None else [base, Path()]
    path = _find(dataset, folders=folders, what="dataset")
    return _load_path(path, name=path.name if path.is_dir() else path.stem)


def default_canvas(image_size: tuple[int, int], shift: int) -> int:
    """Side, in pixels, of the smallest square on which an image can be shifted by `shift`."""
    return max(image_size) + shift


def draw_offsets(
    image_size: tuple[int, int], count: int, *, shift: int, canvas: int, generator: Generator
) -> NDArray[np.int64]:
    """Draw for each image one of its (shift + 1)² places around the centre, all alike likely.

    Per axis the first offset is `(canvas - size - shift) // 2` and the last `shift` further. The
    draws hang on `generator`, `count` and `shift` alone: data sets of other image sizes, or other
    canvases, shift alike.

    Args:
        image_size: Height and width of an image, in pixels.
        count: Number of images, n.
        shift: How far, in pixels, the last place is from the first along each axis; 0 centres.
        canvas: Side of the square that the images are placed on, in pixels.
        generator: Source of the draws.

    Returns:
        int64 [n, 2]: the pixels above and to the left of each image.

    Raises:
        InputError: The canvas can't hold the shifted images, or `shift` is negative.
    """
    smallest = default_canvas(image_size, shift)
    if shift < 0 or canvas < smallest:
        height, width = image_size
        raise InputError(
            f"shift {shift} on canvas {canvas}: images of {height}x{width} pixels need a shift of "
            f"at least 0 and a canvas of at least {smallest}. Leave `canvas` away to have that."
        )
    first = [(canvas - size - shift) // 2 for size in image_size]
    return generator.integers(0, shift + 1, size=(count, 2)) + first


def place(images: Images, offsets: NDArray[np.int64], *, canvas: int) -> Images:
    """Put each image on a black square canvas.

    Args:
        images: uint8 [n, height, width].
        offsets: int64 [n, 2], as `draw_offsets` gives them.
        canvas: Side of the canvas, in pixels.

    Returns:
        uint8 [n, canvas, canvas]; `images` itself where they fill the canvas.
    """
    count, height, width = images.shape
    if height == width == canvas:
        return images
    placed = np.zeros((count, canvas, canvas), np.uint8)
    windows = sliding_window_view(placed, (height, width), axis=(1, 2), writeable=True)
    windows[np.arange(count), *offsets.T] = images
    return placed


# --- Finding files -------------------------------------------------------------------------------


def _find(given: str, *, folders: list[Path], what: str) -> Path:
    """The first path `given` that exists in `folders`; raises InputError where none does."""
    places = [os.path.abspath(folder / os.path.expanduser(given)) for folder in folders]
    for candidate in places:
        if os.path.exists(candidate):
            return Path(candidate)
    looked = " or ".join(dict.fromkeys(places))
    nearest = difflib.get_close_matches(given.lower(), ["mnist", "digits"], n=1)
    guess = f" Did you mean {nearest[0]}?" if nearest and what == "dataset" else ""
    names = "mnist, digits, or " if what == "dataset" else ""
    raise InputError(
        f"{what} {given}: there is no {looked}. Allowed: {names}the path of an .npz with Keras' "
        f"keys or of a folder of IDX files.{guess}"
    )


def _load_path(path: Path, *, name: str) -> Dataset:
    """The data set of an .npz or of a folder of IDX files, checked."""
    if path.is_dir():
        return _checked_dataset(name, _read_idx_folder(path))
    if path.is_file():
        return _checked_dataset(name, _read_npz(path))
    raise InputError(f"{path}: neither a file nor a folder. Save the data as one first.")


# --- Reading files -------------------------------------------------------------------------------


class _Array(NamedTuple):
    """An array as a file has it, and where it came from, for messages."""

    source: str
    values: NDArray[Any]


def _read_npz(path: Path) -> dict[str, _Array]:
    """The arrays of an .npz, under Keras' keys."""
    with _open_npz(path) as file:
        missing = [key for key in _KEYS if key not in file.files]
        if missing:
            raise InputError(
                f"{path}: lacks {', '.join(missing)}; it has {', '.join(file.files) or 'nothing'}. "
                f"Remedy: {_SAVE_HINT}."
            )
        return {key: _Array(f"{path}: {key}", _read_member(path, file, key)) for key in _KEYS}


def _open_npz(path: Path) -> NpzFile:
    """Open a whole zip archive; NumPy would try anything else as something else."""
    try:
        if zipfile.is_zipfile(path):
            return cast(NpzFile, np.load(path, allow_pickle=False))
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    reasons = (reason for magic, reason in _LOOKALIKES.items() if start.startswith(magic))
    reason = next(reasons, f"it is empty or of another format: {_SAVE_HINT}")
    raise InputError(f"{path}: not an .npz file; {reason}.")


def _read_member(path: Path, file: NpzFile, key: str) -> NDArray[Any]:
    try:
        values: Any = file[key]
    # An encrypted member is a RuntimeError, one of an unknown compression NotImplementedError.
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" not in str(error):
            raise _damaged(f"{path}: {key}", error) from error
        raise InputError(
            f"{path}: {key} holds pickled Python objects, which could run code and are never "
            f"opened. Allowed are plain integer arrays: {_SAVE_HINT}."
        ) from error
    if not isinstance(values, np.ndarray):  # NumPy hands out the bytes of what is no array.
        raise InputError(f"{path}: {key} is not a NumPy array. Remedy: {_SAVE_HINT}.")
    return values


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: can't be read ({error.strerror or error}). Check its permissions.")


def _damaged(source: Path | str, error: Exception) -> InputError:
    return InputError(
        f"{source}: truncated or damaged ({error or type(error).__name__}). "
        "Fetch or save the file again."
    )


def _read_idx_folder(folder: Path) -> dict[str, _Array]:
    """The four IDX files of a folder, under Keras' keys."""
    paths = {key: _find_idx(folder, *stem.split()) for key, stem in _IDX_STEMS.items()}
    return {key: _Array(str(path), _read_idx(path)) for key, path in paths.items()}


def _find_idx(folder: Path, part: str, kind: str) -> Path:
    names = [f"{part}{mark}{kind}{ending}" for mark in "-." for ending in ("", ".gz")]
    for name in names:
        if os.path.isfile(folder / name):
            return folder / name
    raise InputError(
        f"{folder}: a folder without {names[0]} (nor {', '.join(names[1:])}). A folder must hold "
        "the four IDX files of MNIST; for an .npz give the path of the file itself."
    )


def _read_idx(path: Path) -> NDArray[Any]:
    """The array of an IDX file, gzipped or not.

    Format: http://yann.lecun.com/exdb/mnist/ — two bytes 0, the code of the dtype, the number of
    dimensions; a big-endian uint32 for each dimension; the values, big-endian, in C order.
    """
    content = _read_unzipped(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_DTYPES:
        raise InputError(
            f"{path}: not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, "
            "allowed is 00 00 08 and the number of dimensions. Fetch the file again."
        )
    dtype, start = np.dtype(_IDX_DTYPES[content[2]]), 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise InputError(
            f"{path}: truncated or damaged: {len(content)} bytes, but its head announces "
            f"{expected}. Fetch the file again."
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _read_unzipped(path: Path) -> bytes:
    """The content of a file; the first bytes, not the name, say whether it is gzipped.

    (Browsers unpack some downloads and leave the name.)
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


# --- Checking ------------------------------------------------------------------------------------


def _checked_dataset(name: str, arrays: dict[str, _Array]) -> Dataset:
    """The data set of raw arrays; raises InputError where they can't be used."""
    train_images, train_labels = _checked_part(arrays["x_train"], arrays["y_train"])
    test_images, test_labels = _checked_part(arrays["x_test"], arrays["y_test"])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise InputError(
            f"{arrays['x_test'].source}: images of {_size(test_images)} pixels, but those for "
            f"training have {_size(train_images)}. Both must be of one size: scale or pad them."
        )
    first = train_labels[0]
    if np.all(train_labels == first) and np.all(test_labels == first):
        raise InputError(
            f"{arrays['y_train'].source}: only one class (every label is {first}). Needed are at "
            "least 2 classes, with labels from 0."
        )
    return Dataset(name, train_images, train_labels, test_images, test_labels)


def _checked_part(images: _Array, labels: _Array) -> tuple[Images, Labels]:
    checked_images, checked_labels = _checked_images(images), _checked_labels(labels)
    if len(checked_images) != len(checked_labels):
        raise InputError(
            f"{labels.source}: {len(checked_labels)} labels for {len(checked_images)} images in "
            f"{images.source}. Each image needs one label: give files that belong together."
        )
    return checked_images, checked_labels


def _checked_images(array: _Array) -> Images:
    """uint8 [n, height, width] of what a file has."""
    source, values = array
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InputError(
            f"{source}: shape {list(array.values.shape)}; allowed is [n, height, width] or "
            "[n, height, width, 1], one gray value a pixel. Reshape the images, or make them gray."
        )
    if values.size == 0:
        raise InputError(f"{source}: no images (shape {list(values.shape)}). At least 1 is needed.")
    if values.dtype == np.uint8:
        return values
    _require_range(
        array,
        highest=255,
        whole_floats=False,
        remedy="scale the images to 0..255, round, and cast to numpy.uint8",
    )
    return values.astype(np.uint8)


def _checked_labels(array: _Array) -> Labels:
    """int32 [n] of what a file has."""
    source, values = array
    if values.ndim != 1:
        raise InputError(
            f"{source}: shape {list(values.shape)}; allowed is [n], one class number an image. "
            "For one-hot labels save labels.argmax(axis=1), for a column labels[:, 0]."
        )
    if values.size == 0:
        raise InputError(f"{source}: no labels. At least 1 is needed.")
    _require_range(
        array,
        highest=np.iinfo(np.int32).max,
        whole_floats=True,
        remedy="number the classes from 0: numpy.unique(labels, return_inverse=True)[1]",
    )
    return values.astype(np.int32)


def _require_range(array: _Array, *, highest: int, whole_floats: bool, remedy: str) -> None:
    """Refuse what is not an array of integers from 0 to `highest`."""
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


def _size(images: Images) -> str:
    return "x".join(str(side) for side in images.shape[1:])


# --- MNIST from Keras' cache or address ----------------------------------------------------------


def find_cached_mnist() -> Path | None:
    """MNIST in Keras' cache, if it is there and whole; nothing is fetched."""
    path = _keras_cache()
    return path if _sha256(path) == MNIST_SHA256 else None


def _cached_mnist() -> Path:
    """Where Keras keeps MNIST, after fetching it where Keras would.

    A file with another checksum is fetched anew, as Keras does; unlike with Keras it stays as it
    is when that fails.
    """
    found = find_cached_mnist()
    if found is not None:
        return found
    path = _keras_cache()
    if os.path.exists(path):
        _log.warning("%s is not Keras' own file (by its checksum): fetching it anew", path)
    try:
        _download(path)
    except OSError as error:
        raise DatasetUnavailable(_ways_out(path, error)) from error
    return path


def _keras_cache() -> Path:
    """The path of MNIST in Keras' cache, by Keras' own rules.

    `KERAS_HOME`, else `~/.keras`; where that can't be written, `/tmp/.keras`. A copy in a folder
    that can only be read is used nevertheless.
    """
    home = os.path.abspath(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    path = Path(home, "datasets", "mnist.npz")
    nearest = next(folder for folder in path.parents if os.path.exists(folder))
    if os.access(nearest, os.W_OK) or os.path.exists(path):
        return path
    temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()  # noqa: S108 - Keras' own
    return Path(temporary, ".keras", "datasets", "mnist.npz")


def _sha256(path: Path) -> str | None:
    """Checksum of a file (hexadecimal); None where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _download(path: Path) -> None:
    """Fetch MNIST to `path`, which is replaced only by a whole file with the right checksum.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            for chunk in _fetch(MNIST_URL, limit=CONNECT_LIMIT_SECONDS):
                file.write(chunk)
        if _sha256(partial) != MNIST_SHA256:
            raise OSError("what came has another checksum than Keras' own")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _fetch(url: str, *, limit: float) -> Iterator[bytes]:
    """The content of `url`, in chunks, each of which arrives within `limit` seconds.

    A thread of its own does the fetching: looking up a name has no time limit, and a connection's
    own applies anew to each address that is tried and each header that trickles in.

    Raises:
        OSError: The content does not arrive, or not in time.
    """
    arrivals: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    threading.Thread(target=_fetch_into, args=(arrivals, url, limit), daemon=True).start()
    while True:
        try:
            arrival = arrivals.get(timeout=limit)
        except queue.Empty:
            raise TimeoutError(f"nothing arrived for {limit:g} s") from None
        if isinstance(arrival, Exception):
            reason = arrival.reason if type(arrival) is URLError else arrival
            raise OSError(str(reason) or type(reason).__name__) from arrival
        if not arrival:
            return
        yield arrival


def _fetch_into(arrivals: "queue.SimpleQueue[bytes | Exception]", url: str, limit: float) -> None:
    """Hand over the content of `url` in chunks, the last one empty, or the error that came."""
    try:
        with urllib.request.urlopen(url, timeout=limit) as response:  # noqa: S310 - a constant
            while chunk := response.read1(1 << 16):
                arrivals.put(chunk)
        arrivals.put(b"")
    # Proxies, certificates and odd answers raise all kinds; the waiting thread must hear of each.
    except Exception as error:
        arrivals.put(error)


def _ways_out(path: Path, error: OSError) -> str:
    there = os.path.exists(path)
    state = f"{path} is not Keras' own file (by its checksum)" if there else f"there is no {path}"
    keep = f" (that file as it is: --data {path})" if there else ""
    return (
        f"dataset mnist: {state}, and fetching {MNIST_URL} failed: {error}. Ways out:\n"
        "  - give your copy, an .npz with Keras' keys or a folder of IDX files, with --data PATH "
        f"or MNIST_RAY_DATA=PATH{keep};\n"
        f"  - put Keras' own mnist.npz at {path};\n"
        "  - take the digits that need no network: python -m mnist_ray.sweep digits"
    )


# --- scikit-learn's digits -----------------------------------------------------------------------

_DIGITS_TRAINING = 1400
_DIGITS_SPLIT_SEED = 0
_MNIST_SIDE = 28
_MNIST_DIGIT = 20


def _load_digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits (UCI, 8x8, 0..16), presented as MNIST's are.

    They are drawn with integers, and split by the raw output of a bit generator, which NumPy
    promises never to change: every machine and version has the very same data set.
    """
    from sklearn.datasets import load_digits  # Importing it takes a second.

    bunch = load_digits()
    images = np.stack([_draw_as_mnist(digit) for digit in bunch.images.astype(np.int64)])
    labels = bunch.target.astype(np.int32)
    order = np.argsort(PCG64(_DIGITS_SPLIT_SEED).random_raw(len(images)), kind="stable")
    train, test = order[:_DIGITS_TRAINING], order[_DIGITS_TRAINING:]
    return Dataset("digits", images[train], labels[train], images[test], labels[test])


def _draw_as_mnist(digit: NDArray[np.int64]) -> Images:
    """A digit of 0..16 as MNIST has it: uint8 [28, 28].

    Its bounding box is scaled to fit 20x20 pixels, with its proportions kept, and its centre of
    mass lies on the centre of the image (LeCun et al. 1998, http://yann.lecun.com/exdb/mnist/).
    """
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (_rounded_quotient(_MNIST_DIGIT * side, max(box.shape)) for side in box.shape)
    # Each weight matrix multiplies by twice its longer side; 16 stands for white.
    ink = _resizing(box.shape[0], height) @ box @ _resizing(box.shape[1], width).T
    ink = _rounded_quotient(255 * ink, 16 * 2 * height * 2 * width).astype(np.uint8)
    top = _offset_to_centre(ink.sum(axis=1, dtype=np.int64))
    left = _offset_to_centre(ink.sum(axis=0, dtype=np.int64))
    image = np.zeros((_MNIST_SIDE, _MNIST_SIDE), np.uint8)
    image[top : top + height, left : left + width] = ink
    return image


@functools.cache
def _resizing(size: int, new_size: int) -> NDArray[np.int64]:
    """Linear interpolation from `size` to `new_size` pixels, times 2·new_size: [new_size, size].

    Pixel i of the new image has its middle at (2i + 1) / (2·new_size) of the length, pixel j of
    the old one at (2j + 1) / (2·size). Beyond the image it is black.
    """
    new_middles = size * (2 * np.arange(new_size, dtype=np.int64) + 1)
    middles = new_size * (2 * np.arange(size, dtype=np.int64) + 1)
    distances = np.abs(new_middles[:, np.newaxis] - middles)
    weights: NDArray[np.int64] = np.maximum(0, 2 * new_size - distances)
    return weights


def _offset_to_centre(mass: NDArray[np.int64]) -> int:
    """The offset that brings the centre of `mass` nearest to MNIST's, 14, within the image."""
    centre: int = _rounded_quotient(int(mass @ np.arange(len(mass))), int(mass.sum()))
    return min(max(_MNIST_SIDE // 2 - centre, 0), _MNIST_SIDE - len(mass))


def _rounded_quotient(dividend: Any, divisor: int) -> Any:
    """The integer nearest to dividend / divisor (both at least 0); halves go up."""
    return (2 * dividend + divisor) // (2 * divisor)
