"""Keras' own cache of data sets, and downloads into it."""

import os
import queue
import secrets
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import URLError

from mnist_ray.errors import InputError

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
"""Keras' own address (keras/src/datasets), so that one cache serves both."""
CONNECT_LIMIT_SECONDS = 20.0
"""How long a download may take to begin, and how long it may then stand still."""


class DatasetUnavailable(InputError):  # noqa: N818 - a state of the world rather than a mistake
    """A data set can be neither found nor fetched; the message gives the ways out."""


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


def download(url: str, path: Path, *, check: Callable[[Path], None]) -> None:
    """Fetch `url` to `path`, which is replaced only by a whole file that passes `check`.

    Raises:
        OSError: it cannot be fetched or written, or `check` raised it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file, _open(url, limit=CONNECT_LIMIT_SECONDS) as answer:
            shutil.copyfileobj(answer, file)
        check(partial)
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
