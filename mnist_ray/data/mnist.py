"""MNIST from Keras' cache, or from Keras' own address."""

import hashlib
import logging
import os
from pathlib import Path

from mnist_ray.data.keras_cache import KERAS_URL, DatasetUnavailable, download, keras_cache

MNIST_URL = f"{KERAS_URL}mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""Keras' own checksum (keras/src/datasets/mnist.py)."""

_log = logging.getLogger(__name__)


def cached_mnist() -> Path:
    """Where Keras keeps MNIST, after fetching it where Keras would fetch it.

    A file with another checksum is fetched again, as Keras does. Unlike with Keras it stays as it
    is where that fails.

    Raises:
        DatasetUnavailable: MNIST is not there and cannot be fetched.
    """
    found = find_cached_mnist()
    if found is not None:
        return found
    path = keras_cache("mnist.npz")
    if os.path.exists(path):
        _log.warning("%s is not Keras' own file (by its checksum): fetching it anew", path)
    try:
        download(MNIST_URL, path, check=_check)
    except OSError as error:
        raise DatasetUnavailable(_ways_out(path, error)) from error
    return path


def find_cached_mnist() -> Path | None:
    """The path of MNIST in Keras' cache, if it is there and whole; nothing is fetched."""
    path = keras_cache("mnist.npz")
    return path if sha256(path) == MNIST_SHA256 else None


def sha256(path: Path) -> str | None:
    """Checksum of a file (hexadecimal); None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _check(path: Path) -> None:
    if sha256(path) != MNIST_SHA256:
        raise OSError("what came has another checksum than Keras' own")


def _ways_out(path: Path, error: OSError) -> str:
    there = os.path.exists(path)
    state = f"{path} is not Keras' own file (by its checksum)" if there else f"there is no {path}"
    keep = f" (that file as it is: --data {path})" if there else ""
    return (
        f"dataset mnist: {state}, and fetching {MNIST_URL} failed: {error}. Ways out:\n"
        "  - give your copy, an .npz with Keras' keys or a folder of IDX files, with --data PATH "
        f"or MNIST_RAY_DATA=PATH{keep};\n"
        f"  - put Keras' own mnist.npz at {path};\n"
        "  - take the digits that need no network: mnist-ray sweep digits"
    )
