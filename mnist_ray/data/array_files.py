"""Arrays of images and labels from files: .npz with Keras' keys, and folders of IDX files."""

import gzip
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from mnist_ray.errors import InputError

Images = NDArray[np.uint8]
Labels = NDArray[np.int32] | NDArray[np.uint8]

IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
"""By Keras' keys of the arrays, the names of MNIST's files without the ending of gzip."""
CLASS_NAMES = "class_names"
"""What an .npz may hold beside them: the classes' names in the order of the labels."""
_SAVE_HINT = (
    "save plain arrays with "
    "numpy.savez_compressed(path, x_train=..., y_train=..., x_test=..., y_test=...)"
)
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


class NamedArray(NamedTuple):
    """An array as a file has it, and where it came from, for messages."""

    source: str
    values: NDArray[Any]


def read_arrays(path: Path) -> dict[str, NamedArray]:
    """The arrays of an .npz or of a folder of IDX files, gzipped or not, under Keras' keys.

    These are `x_train`, `y_train`, `x_test` and `y_test`; an .npz may also have `class_names`.

    Raises:
        InputError: it is neither, or damaged, or lacks an array.
    """
    if path.is_dir():
        paths = {key: _find_idx(path, name) for key, name in IDX_FILES.items()}
        return {key: NamedArray(str(found), read_idx(found)) for key, found in paths.items()}
    if path.is_file():
        return _read_npz(path)
    raise InputError(f"{path}: neither a file nor a folder. Save the data as one first.")


def _read_npz(path: Path) -> dict[str, NamedArray]:
    with _open_npz(path) as file:
        missing = [key for key in IDX_FILES if key not in file.files]
        if missing:
            raise InputError(
                f"{path}: lacks {', '.join(missing)}; it has {', '.join(file.files) or 'nothing'}. "
                f"Remedy: {_SAVE_HINT}."
            )
        keys = [*IDX_FILES, *(key for key in file.files if key == CLASS_NAMES)]
        return {key: NamedArray(f"{path}: {key}", _read_member(path, file, key)) for key in keys}


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
        allowed = f"are plain integer arrays: {_SAVE_HINT}"
        if key == CLASS_NAMES:
            allowed = "is an array of text: numpy.array(names, dtype=str)"
        raise InputError(
            f"{path}: {key} holds pickled Python objects, which could run code and are never "
            f"opened. Allowed {allowed}."
        ) from error
    if not isinstance(values, np.ndarray):  # NumPy gives the bytes of what is not an array.
        raise InputError(f"{path}: {key} is not a NumPy array. Remedy: {_SAVE_HINT}.")
    return values


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.")


def _damaged(source: Path | str, error: Exception) -> InputError:
    return InputError(
        f"{source}: truncated or damaged ({error or type(error).__name__}). "
        "Fetch or save the file again."
    )


def _find_idx(folder: Path, name: str) -> Path:
    unpacked = (name, name.replace("-idx", ".idx"))
    names = [f"{each}{ending}" for each in unpacked for ending in ("", ".gz")]
    for name in names:
        if os.path.isfile(folder / name):
            return folder / name
    raise InputError(
        f"{folder}: a folder without {names[0]} (nor {', '.join(names[1:])}). A folder must hold "
        "the four IDX files of MNIST; for an .npz give the path of the file itself."
    )


def read_idx(path: Path) -> NDArray[Any]:
    """The array of an IDX file, gzipped or not.

    Format: http://yann.lecun.com/exdb/mnist/ — two bytes 0, the code of the dtype, the number of
    dimensions; a big-endian uint32 for each dimension; the values, big-endian, in C order.

    Raises:
        InputError: it cannot be read, is of another format, truncated or damaged.
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
    try:
        content = path.read_bytes()
        # Not its name says whether it is gzipped: browsers unpack some downloads and leave that.
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error
