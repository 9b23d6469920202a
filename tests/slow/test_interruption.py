"""Ctrl-C in a real terminal, and SIGTERM: what is finished is kept, and nothing goes on running."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Place, begin_of, opened, records, wait, write_images, write_space

import mnist_ray

CTRL_C = b"\x03"
SPACE = {
    "name": "long",
    "dataset": "small.npz",
    "architectures": {"feed_forward": {"hidden_units": [64]}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"epochs": 10},
    "trials": 200,
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of four hundred trials, of which few will ever run."""
    write_space(tmp_path / "long.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=1000, test=300)
    with opened(tmp_path) as place:
        yield place


class Terminal:
    """A command in a terminal of its own, of that width."""

    def __init__(self, place: Place, *arguments: str, columns: int = 80) -> None:
        environment = {**place.environment(), "TERM": "xterm-256color"}
        self._process, self._screen = pty.fork()
        if self._process == 0:
            os.chdir(place.folder)
            command = [sys.executable, "-m", "mnist_ray.sweep", *arguments]
            os.execve(sys.executable, command, environment)
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.output = ""
        self.code: int | None = None

    def press(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def watch(self, seconds: float) -> None:
        """Read what is shown for a while, or until the command ends."""
        deadline = time.monotonic() + seconds
        while self.code is None and (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self._screen], [], [], min(left, 0.1))
            with contextlib.suppress(OSError):  # the other end was closed
                if readable:
                    self.output += os.read(self._screen, 1 << 16).decode(errors="replace")
            ended, status = os.waitpid(self._process, os.WNOHANG)
            if ended:
                self.code = os.waitstatus_to_exitcode(status)

    def watch_until(self, pattern: str, *, limit: float = 300.0) -> None:
        deadline = time.monotonic() + limit
        while not re.search(pattern, self.output):
            assert self.code is None, self.output
            assert time.monotonic() < deadline, self.output
            self.watch(0.2)

    def close(self) -> None:
        os.close(self._screen)


def test_ctrl_c_once_keeps_and_reports_what_is_finished(place: Place) -> None:
    terminal = Terminal(place, "long.yaml", columns=60)
    terminal.watch_until(r"\b[3-9]/400 trials")
    terminal.press(CTRL_C)
    terminal.watch(120)
    terminal.close()
    assert terminal.code == 130, terminal.output
    assert place.orphans() == []
    assert "Traceback" not in terminal.output
    kept = len(records(place.folder / "results" / "long"))
    assert kept >= 3
    shown = " ".join(terminal.output.split())
    assert f"Interrupted: {kept} of 400 trials are recorded" in shown
    assert "The report: results/long/report.html" in shown
    report = mnist_ray.load_report(place.folder / "results" / "long")
    assert report.trials.sum() == kept


def test_ctrl_c_twice_ends_at_once_and_loses_no_record(place: Place) -> None:
    terminal = Terminal(place, "long.yaml")
    terminal.watch_until(r"\b[3-9]/400 trials")
    before = records(place.folder / "results" / "long")
    terminal.press(CTRL_C)
    terminal.watch(0.2)
    terminal.press(CTRL_C)
    terminal.watch(20)
    terminal.close()
    assert terminal.code == 130, terminal.output
    assert "The report" not in terminal.output  # it ended before one was made
    assert place.orphans() == []
    assert before.items() <= records(place.folder / "results" / "long").items()


@pytest.mark.parametrize("start_up_seconds", [1.0, 4.0, 8.0])
def test_ctrl_c_while_it_starts_ends_it_in_order(place: Place, start_up_seconds: float) -> None:
    terminal = Terminal(place, "long.yaml")
    terminal.watch(start_up_seconds)
    terminal.press(CTRL_C)
    terminal.watch(120)
    terminal.close()
    assert terminal.code == 130, terminal.output
    assert "Traceback" not in terminal.output
    assert place.orphans() == []


def test_ctrl_c_that_a_library_takes_for_an_error_of_its_own(place: Place) -> None:
    # Ray imports mlflow if there is one; the true one, too, has had a Ctrl-C end in such an error.
    (place.folder / "mlflow.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    raise ValueError('Error building a validator: KeyboardInterrupt: ') from None\n"
    )
    with place.start("long.yaml") as process:
        ended = wait(process)
    assert ended.code == 130, ended
    assert "Interrupted: " in ended.output
    assert "Traceback" not in ended.errors
    assert place.orphans() == []


def test_sigterm_is_like_ctrl_c(place: Place) -> None:
    with place.start("long.yaml") as process:
        begin = begin_of(process, 4)  # the plan, and three trials
        process.send_signal(signal.SIGTERM)
        ended = wait(process)
    assert ended.code == 130, ended
    assert ended.errors == ""
    assert "Interrupted: " in begin + ended.output
    assert "The report: results/long/report.html" in ended.output
    assert place.orphans() == []
    assert len(records(place.folder / "results" / "long")) >= 3
