"""Running the whole command as a person does: in a process of its own, with a Ray of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from pandas.testing import assert_frame_equal

import mnist_ray
from mnist_ray.data.dataset import load_dataset
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder

PROJECT = Path(__file__).parent.parent.parent
_MARK = "MNIST_RAY_TEST_MARK"
_OF_TIME_AND_PLACE = [
    "setup_seconds",
    "train_seconds",
    "evaluate_seconds",
    "started_at",
    "node",
    "peak_memory_bytes",
]
"""Columns of the table of trials that no two runs share."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def recorded(self) -> list[str]:
        """The lines that tell of trials, as "architecture variant trial 0"."""
        return re.findall(r"^\[\d+/[^\]]+\] (.*? trial \d+):", self.output, re.MULTILINE)


class Place:
    """A working folder for commands, with a temporary folder for Ray.

    All that is started from here bears a mark in its environment, by which it is found again.

    Attributes:
        folder: where commands run.
    """

    def __init__(self, folder: Path, ray_folder: Path) -> None:
        self.folder = folder
        self._ray_folder = ray_folder
        self._mark = uuid.uuid4().hex

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of the commands: no terminal, no cluster, no MNIST but what `changes` names."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "TUNE_", "MNIST_RAY_", "COLUMNS", "LINES"))
        }
        path = os.pathsep.join([str(PROJECT), *filter(None, [kept.get("PYTHONPATH")])])
        own = {"PYTHONPATH": path, "RAY_TMPDIR": str(self._ray_folder), _MARK: self._mark}
        return {**kept, **own, **(changes or {})}

    def start(
        self,
        *arguments: str,
        module: str = "mnist_ray.sweep",
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.Popen[str]":
        """Start a command; in a session of its own, so that it can be signalled alone."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        *arguments: str,
        module: str = "mnist_ray.sweep",
        environment: Mapping[str, str] | None = None,
        limit: float = 300.0,
    ) -> Ended:
        """Run a command to its end."""
        with self.start(*arguments, module=module, environment=environment) as process:
            return wait(process, limit=limit)

    @property
    def ray_sessions(self) -> list[str]:
        """The sessions that Ray began here."""
        return sorted(path.name for path in self._ray_folder.glob("ray/session_2*"))

    def leave_stale_cluster_file(self) -> None:
        """What a Ray cluster leaves behind that was not stopped; nothing listens there."""
        folder = self._ray_folder / "ray"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ray_current_cluster").write_text("127.0.0.1:1")

    def processes(self) -> list[psutil.Process]:
        """All that was started from here, by whomever, and still runs."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def orphans(self, *, patience: float = 60.0) -> list[str]:
        """What still runs when all should have ended; the dying are waited for."""
        deadline = time.monotonic() + patience
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [_describe(process) for process in left]

    def end_all(self) -> None:
        """End what a failed test left behind."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get(_MARK) == self._mark
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """A place in `folder`, cleared of processes at the end."""
    # Not below `folder`: sockets lie in Ray's, and their paths may have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="mnist_ray-test-", ignore_cleanup_errors=True) as ray:
        place = Place(folder, Path(ray))
        try:
            yield place
        finally:
            place.end_all()


def begin_of(process: "subprocess.Popen[str]", lines: int) -> str:
    """What a command prints up to so many lines, and what came with them; `wait` gives the rest.

    Read from the pipe itself: `communicate` would never see what a `readline` has read ahead.
    """
    assert process.stdout
    begin = b""
    while begin.count(b"\n") < lines:
        part = os.read(process.stdout.fileno(), 1 << 16)
        assert part, begin
        begin += part
    return begin.decode()


def wait(process: "subprocess.Popen[str]", *, limit: float = 300.0) -> Ended:
    """Wait for a command to end; one that does not is killed, and the test fails."""
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        output, errors = process.communicate()
        raise AssertionError(f"no end after {limit} s:\n{output}\n{errors}") from None
    return Ended(process.returncode, output, errors)


def write_images(path: Path, *, train: int, test: int) -> None:
    """A small data set: real MNIST where `MNIST_RAY_DATA` is set, scikit-learn's digits elsewhere.

    Args:
        path: of the .npz file.
        train: number of training images, at most 1,400.
        test: number of test images, at most 397.
    """
    mnist = os.environ.get("MNIST_RAY_DATA")
    whole = load_dataset("mnist", data=mnist) if mnist else load_dataset("digits")
    np.savez(
        path,
        x_train=whole.train_images[:train],
        y_train=whole.train_labels[:train],
        x_test=whole.test_images[:test],
        y_test=whole.test_labels[:test],
    )


def write_space(path: Path, space: Mapping[str, Any]) -> None:
    """A search space as a file; JSON is YAML too."""
    path.write_text(json.dumps(space))


def records(folder: Path) -> dict[str, str]:
    """All that a sweep's ledger holds of each trial, as text, by the trial's key."""
    found = Ledger(ResultsFolder.open(folder)).read()
    return {key: repr(record) for key, record in found.items()}


def assert_same_figures(folder: str | Path, other: str | Path) -> None:
    """Two sweeps' tables of trials and of epochs, equal to the last bit but for times and hosts."""
    for load in (mnist_ray.load_trials, mnist_ray.load_epochs):
        assert_frame_equal(_figures(load(folder)), _figures(load(other)), check_exact=True)


def _figures(table: pd.DataFrame) -> pd.DataFrame:
    order = [name for name in ("key", "epoch") if name in table]
    return (
        table.drop(columns=_OF_TIME_AND_PLACE, errors="ignore")
        .sort_values(order)
        .reset_index(drop=True)
    )


def _describe(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return f"process {process.pid}"
