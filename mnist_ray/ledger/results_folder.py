"""A sweep's folder, on a disk or on object storage: the one place where its paths are built."""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, TypeVar

from pyarrow import fs

from mnist_ray.errors import InputError, StorageError

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""How long object storage may be unreachable before the sweep gives up."""
FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_SECRETS = re.compile(
    r"(?<=://)[^@?]*:[^@?]*(?=@)|(?<=[?&])(?P<name>[^=&]*(?:key|secret|token|password)[^=&]*=)[^&]*",
    re.IGNORECASE,
)
"""Parts of a URI that must never be shown: user and password, and parameters that hold secrets."""


@dataclass
class _Contact:
    """Whether a file system has ever answered; shared by all folders on it."""

    is_made: bool = False


@dataclass(frozen=True)
class ResultsFolder:
    """A folder on any pyarrow file system.

    Where object storage has answered before, operations are retried while it is unreachable. Where
    it never has, that is an error in the URI or the credentials.
    """

    space: ClassVar = "space.yaml"
    page: ClassVar = "report.html"
    ledger: ClassVar = "ledger"
    """The folder of records."""
    latest: ClassVar = "ledger/latest.json"
    """Which data and sources the last sweep asked for."""

    filesystem: fs.FileSystem
    path: str
    """Without scheme, as the file system takes it."""
    uri: str
    """As it was given, without passwords and keys; for messages."""
    _contact: _Contact = field(default_factory=_Contact, compare=False, repr=False)

    @classmethod
    def open(cls, location: str | Path, name: str | None = None) -> "ResultsFolder":
        """The folder at `location`, or its subfolder `name`; it need not exist.

        A location is a path, or a URI that pyarrow knows (s3://, gs://, hdfs://, file://).

        Raises:
            InputError: the URI is not one that pyarrow understands.
        """
        text = str(location)
        try:
            if "://" in text:
                filesystem, path = fs.FileSystem.from_uri(_in_one_request(text))
            else:
                filesystem, path = fs.LocalFileSystem(), str(Path(text).expanduser().absolute())
        except (OSError, ValueError, RuntimeError) as error:
            reason = _without_secrets(str(error))
            raise InputError(
                f"results: {_without_secrets(text)} cannot be used ({reason}). Give a folder, or a "
                "URI such as s3://bucket/path or gs://bucket/path."
            ) from None  # the cause would show the secrets
        folder = cls(filesystem, path.rstrip("/"), _without_secrets(text))
        return folder / name if name else folder

    def __truediv__(self, name: str) -> "ResultsFolder":
        head, mark, query = self.uri.partition("?")
        uri = f"{head.rstrip('/')}/{name}{mark}{query}"
        return replace(self, path=f"{self.path}/{name}", uri=uri)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def table(self, name: str) -> str:
        """The Parquet table `name`, such as "report" or "trials"."""
        return f"{name}.parquet"

    def model(self, label: str, cell_key: str) -> str:
        """A cell's saved model, by a readable label and the cell's key."""
        return f"models/{_plain(label)}-{cell_key[:8]}.keras"

    def models(self) -> dict[str, str]:
        """The saved models, by the first eight digits of their cells' keys."""
        names = [name for name in self.names("models") if name.endswith(".keras")]
        return {name[-14:-6]: f"models/{name}" for name in names}

    def model_summary(self, label: str, cell_key: str) -> str:
        return self.model(label, cell_key).removesuffix(".keras") + ".txt"

    def arriving_model(self, key: str) -> str:
        """Among the checkpoints: the model of a trial, by its key, that is not yet kept."""
        return f"{key}.keras"

    def tensorboard(self, label: str, key: str) -> str:
        """The folder of a trial's files for TensorBoard, by a readable label and its key."""
        return f"tensorboard/{_plain(label)}-{key[:8]}"

    def records(self, name: str) -> str:
        """The file of records of that name."""
        return f"{self.ledger}/{name}"

    def test_set(self, fingerprint: str, digest: str = "") -> str:
        """The test images that predictions are of; as a transform gives them, by their digest."""
        parts = filter(None, ("test", fingerprint[:16], digest[:16]))
        return f"{self.ledger}/{'-'.join(parts)}.npz"

    def checkpoints(self, run: str) -> "ResultsFolder":
        """Where one run of the sweep keeps what its unfinished trials need to go on."""
        return self / "checkpoints" / run

    def check_writable(self, *, leave_no_trace: bool = False) -> None:
        """Write, read and delete one small file.

        A folder that does not exist is made; with `leave_no_trace` it is removed again on a disk.

        Raises:
            InputError: that did not work.
        """
        path = Path(self.path)
        candidates = [path, *path.parents] if leave_no_trace and self.is_local else []
        missing = [folder for folder in candidates if not folder.exists()]
        try:
            self._check_writable()
        finally:
            for folder in missing:
                with contextlib.suppress(OSError):  # It is not there, or not empty.
                    folder.rmdir()

    def _check_writable(self) -> None:
        content = secrets.token_hex(4).encode()
        name = f".write-test-{content.decode()}"
        try:
            self._write(name, content)
            found = self._read(name)
            self.filesystem.delete_file(self._full(name))
            if found != content:
                raise OSError(f"what was written to {name} is read back as something else")
        except (OSError, ValueError) as error:
            raise InputError(
                f"results: {self.uri} cannot be written ({error}). Name another folder or URI with "
                "--results, or change its permissions."
            ) from error
        self._contact.is_made = True

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file whole: a reader sees the old content or the new, never a part.

        Raises:
            StorageError: it cannot be written, on object storage not even after minutes of retries.
        """
        self._persist("written", lambda: self._write(name, content))

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
            InputError: it cannot be read, and nothing on this object storage ever could.
            StorageError: it cannot be read any more.
        """
        return self._persist("read", lambda: self._read(name))

    def exists(self, name: str) -> bool:
        return self._persist("read", lambda: self._exists(name))

    def names(self, folder: str) -> list[str]:
        """The files directly in `folder`, sorted, without temporary ones."""
        return sorted(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """The files directly in `folder` without temporary ones, and the bytes of each."""
        found = self._list(self._full(folder), fs.FileType.File)
        return {info.base_name: info.size for info in found}

    def folders(self) -> list[str]:
        """The folders directly in this one, sorted, without hidden ones."""
        return sorted(info.base_name for info in self._list(self.path, fs.FileType.Directory))

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                self.filesystem.delete_file(self._full(name))

        self._persist("written", remove)

    def delete_all(self) -> None:
        """Remove this folder and all in it, and the one above if nothing else is there."""
        above = self.path.rpartition("/")[0]
        with contextlib.suppress(OSError):
            self.filesystem.delete_dir(self.path)
            if not self.filesystem.get_file_info(fs.FileSelector(above)):
                self.filesystem.delete_dir(above)

    def take(self, source: "ResultsFolder", name: str, new_name: str) -> None:
        """Move a file here from a folder on the same file system, which may be this one.

        Nothing happens if another process was quicker.
        """

        def move() -> None:
            try:
                self.filesystem.move(source._full(name), self._full(new_name))
            except OSError:  # On object storage a missing file is an error like any other.
                if source._exists(name):
                    raise

        self._persist("written", move)

    def _list(self, path: str, kind: fs.FileType) -> list[fs.FileInfo]:
        def find() -> list[fs.FileInfo]:
            selector = fs.FileSelector(path, allow_not_found=True)
            try:
                found = self.filesystem.get_file_info(selector)
            except FileNotFoundError:  # Another process has made the folder only just now.
                return []
            return [i for i in found if i.type == kind and not i.base_name.startswith(".")]

        return self._persist("read", find)

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _exists(self, name: str) -> bool:
        found = self.filesystem.get_file_info(self._full(name))
        return bool(found.type != fs.FileType.NotFound)

    def _read(self, name: str) -> bytes:
        # A stream would fetch a large file in many requests.
        with self.filesystem.open_input_file(self._full(name)) as file:
            return bytes(file.read())

    def _write(self, name: str, content: bytes | memoryview) -> None:
        if self.is_local:
            _write_local(Path(self._full(name)), content)
            return
        # Object storage shows an object when it is complete, and has no folders to make.
        with self.filesystem.open_output_stream(self._full(name)) as stream:
            stream.write(content)

    def _persist(self, verb: str, attempt: Callable[[], T]) -> T:
        """`attempt()`, repeated while object storage is unreachable."""
        deadline = time.monotonic() + (0 if self.is_local else PATIENCE_SECONDS)
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                result = attempt()
            except FileNotFoundError:
                self._contact.is_made = True
                raise
            except OSError as error:
                never_answered = not self.is_local and not self._contact.is_made
                if never_answered or time.monotonic() + pause > deadline:
                    raise self._refusal(verb, error, never_answered) from error
            else:
                self._contact.is_made = True
                return result
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _refusal(self, verb: str, error: OSError, never_answered: bool) -> Exception:
        if never_answered:
            return InputError(
                f"results: {self.uri} cannot be {verb} ({error}). Check the URI, the network and "
                "the credentials."
            )
        return StorageError(
            f"{self.uri} cannot be {verb}: {error}. What was recorded is safe; repair this and "
            "give the same command again."
        )


def _write_local(path: Path, content: bytes | memoryview) -> None:
    """Write a temporary file, flush it, then rename it: a power loss leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Flush a renamed file's new name to the disk; flushing the file does not."""
    if os.name == "nt":  # Folders cannot be opened there.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _in_one_request(uri: str) -> str:
    """`uri`, with the option that writes a small file to S3 in one request rather than three."""
    if not uri.startswith("s3://") or "allow_delayed_open" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"


def _without_secrets(text: str) -> str:
    return _SECRETS.sub(lambda match: f"{match['name'] or ''}***", text)


def _plain(label: str) -> str:
    """`label` without what a file name cannot hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", label).strip("._") or "cell"
