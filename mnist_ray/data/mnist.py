"""MNIST from Keras' cache, or from Keras' own address."""

import hashlib
import logging
import os
import queue
import secrets
import shutil
import tempfile
import threading
import urllib.request
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import URLError

from mnist_ray.errors import InputError

# Keras' own address and checksum (keras/src/datasets/mnist.py), so that one cache serves both.
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
CONNECT_LIMIT_SECONDS = 20.0
"""How long a download may take to begin, and how long it may then stand still."""

_log = logging.getLogger(__name__)


class DatasetUnavailable(InputError):  # noqa: N818 - a state of the world rather than a mistake
    """MNIST can be neither found nor fetched; the message gives the ways out."""


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
    path = keras_cache()
    if os.path.exists(path):
        _log.warning("%s is not Keras' own file (by its checksum): fetching it anew", path)
    try:
        _download(path)
    except OSError as error:
        raise DatasetUnavailable(_ways_out(path, error)) from error
    return path


def find_cached_mnist() -> Path | None:
    """The path of MNIST in Keras' cache, if it is there and whole; nothing is fetched."""
    path = keras_cache()
    return path if sha256(path) == MNIST_SHA256 else None


def keras_cache() -> Path:
    """The path of MNIST in Keras' cache, by Keras' own rules.

    `KERAS_HOME`, else `~/.keras`; where that cannot be written, `/tmp/.keras`. A copy in a folder
    that can only be read is used all the same.
    """
    home = os.path.abspath(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    path = Path(home, "datasets", "mnist.npz")
    nearest = next(folder for folder in path.parents if os.path.exists(folder))
    if os.access(nearest, os.W_OK) or os.path.exists(path):
        return path
    temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()  # noqa: S108 - Keras' own
    return Path(temporary, ".keras", "datasets", "mnist.npz")


def sha256(path: Path) -> str | None:
    """Checksum of a file (hexadecimal); None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _download(path: Path) -> None:
    """Fetch MNIST to `path`, which is replaced only by a whole file with the right checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file, _open(MNIST_URL, limit=CONNECT_LIMIT_SECONDS) as answer:
            shutil.copyfileobj(answer, file)
        if sha256(partial) != MNIST_SHA256:
            raise OSError("what came has another checksum than Keras' own")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
