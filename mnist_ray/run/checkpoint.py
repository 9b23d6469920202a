"""The checkpoint of a long trial: all that it needs to go on in another process."""

import contextlib
import io
import logging
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_ray.ledger.results_folder import ResultsFolder

if TYPE_CHECKING:
    from mnist_ray.train.trial_run import TrialRun

_LOG = logging.getLogger(__name__)


class Checkpoint:
    """The checkpoint of one trial.

    It is one file, so that it is there as a whole or not at all.
    """

    def __init__(
        self, key: str, *, folder: ResultsFolder | None, interval_seconds: float | None
    ) -> None:
        """Make ready, without one yet.

        Args:
            key: the trial's.
            folder: where it lies; None for no checkpoints.
            interval_seconds: time from one to the next; None for no checkpoints.
        """
        self._key, self._folder, self._interval = key, folder, interval_seconds
        self._saved_at = time.monotonic()
        self._exists = False

    @property
    def _name(self) -> str:
        return f"{self._key}.zip"

    def save_if_due(self, run: "TrialRun") -> None:
        """Write it, if it is time to. Without it the trial goes on."""
        if self._interval is None or time.monotonic() - self._saved_at < self._interval:
            return
        if run.is_restorable:
            self._save(run)

    def _save(self, run: "TrialRun") -> None:
        self._saved_at = time.monotonic()
        if self._folder is None:
            return
        archive = io.BytesIO()
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(archive, "w") as packed:
            run.save(Path(temporary))
            for path in Path(temporary).iterdir():
                packed.write(path, path.name)
        try:
            self._folder.write(self._name, archive.getbuffer())
            self._exists = True
        except OSError:
            _LOG.exception("The checkpoint of trial %s can't be written", self._key)

    def restore(self, run: "TrialRun") -> bool:
        """Go on from it, if there is one; whether `run` can be used.

        A damaged one costs time only.
        """
        if self._folder is None:
            return True
        try:
            content = self._folder.read(self._name)
        except FileNotFoundError:
            return True
        except OSError:
            _LOG.exception("The checkpoint of trial %s can't be read", self._key)
            return True
        self._exists = True
        try:
            _unpack(content, run)
        except Exception:  # What it raises depends on what is damaged.
            _LOG.exception("The checkpoint of trial %s can't be read", self._key)
            return False
        return True

    def drop(self) -> None:
        """Delete it, if there is one."""
        if self._exists and self._folder is not None:
            with contextlib.suppress(OSError):  # All are deleted when the sweep ends.
                self._folder.delete(self._name)


def _unpack(content: bytes, run: "TrialRun") -> None:
    with tempfile.TemporaryDirectory() as temporary:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            packed.extractall(temporary)
        run.restore(Path(temporary))
