"""`mnist-ray report --watch`: the page of a sweep while it runs."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import MadeUp, as_failed, folder_at, made_up_sweep
from object_storage import ObjectStorage
from running import opened, wait

from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.report import main, watch

SPACE = {"architectures": {"feed_forward": {}}, "variants": {"centered": {}}, "trials": 12}
RELOADS = '<meta http-equiv="refresh"'


def sweep_with(records: Mapping[str, Record] | None = None, *, count: int = 12) -> MadeUp:
    """A sweep of twelve trials, of which so many are recorded."""
    sweep = made_up_sweep(SPACE)
    kept = dict(list((records or sweep.records).items())[:count])
    return replace(sweep, records=kept)


def page(folder: ResultsFolder) -> str:
    return folder.read(folder.page).decode()


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """`act` goes on in the background, and is waited for."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_page_of(folder: ResultsFolder, text: str) -> bool:
    return folder.exists(folder.page) and text in page(folder)


def watch_to_the_end(folder: ResultsFolder) -> list[str]:
    """Watch a sweep from five of its trials to all; the pages between."""
    pages: list[str] = []
    sweep_with(count=5).write(folder)

    def run() -> None:
        for count, text in ((9, "5 of 12 trials are recorded"), (12, "9 of 12 trials")):
            wait_until(lambda text=text: is_page_of(folder, text))  # type: ignore[misc]
            pages.append(page(folder))
            sweep_with(count=count).write(folder)

    with meanwhile(run):
        watch([folder], folder, pause_seconds=0.05)
    return pages


def test_the_page_reloads_itself_and_says_how_far_the_sweep_is_until_it_is_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_at(tmp_path / "results/made-up")
    first, second = watch_to_the_end(folder)
    assert RELOADS in first
    assert RELOADS in second
    assert "reloads itself every" in first
    assert RELOADS not in page(folder)
    assert "being watched" not in page(folder)
    lines = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert (lines[0], lines[-1]) == ("5 of 12 trials are recorded", "12 of 12 trials are recorded")
    assert len(lines) == len(set(lines)) <= 8


def test_a_sweep_on_object_storage_is_watched_too(object_storage: ObjectStorage) -> None:
    folder = ResultsFolder.open(object_storage.uri("results"), "made-up")
    first, _ = watch_to_the_end(folder)
    assert RELOADS in first
    assert RELOADS not in page(folder)


def test_nothing_is_made_anew_without_news(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_at(tmp_path)
    sweep_with(count=11).write(folder)

    def rest() -> None:
        wait_until(lambda: is_page_of(folder, "11 of 12 trials"))
        time.sleep(0.5)  # ten looks
        sweep_with().write(folder)

    with meanwhile(rest):
        watch([folder], folder, pause_seconds=0.05)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_trial_that_fails_while_watched_is_not_waited_for(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    sweep_with(count=11).write(folder)
    whole = sweep_with().records
    last = list(whole)[-1]

    def rest() -> None:
        wait_until(lambda: is_page_of(folder, "11 of 12 trials"))
        sweep_with({**whole, last: as_failed(whole[last])}).write(folder)

    with meanwhile(rest):
        watch([folder], folder, pause_seconds=0.05)
    assert RELOADS not in page(folder)
    assert "1 has failed" in page(folder)


def test_a_sweep_that_is_complete_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_with().write(folder_at(tmp_path))
    assert main([str(tmp_path), "--watch"]) == 0
    assert "12 of 12 trials are recorded" in capsys.readouterr().out
    assert RELOADS not in page(folder_at(tmp_path))


def test_ctrl_c_ends_it_and_leaves_a_page_that_stays(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "made-up")
    sweep_with(count=5).write(folder)
    with opened(tmp_path) as place:
        command = place.start("report", "made-up", "--watch", module="mnist_ray")
        wait_until(lambda: is_page_of(folder, RELOADS))
        command.send_signal(signal.SIGINT)
        ended = wait(command)
    assert ended.code == 130
    assert "Traceback" not in ended.errors
    assert RELOADS not in page(folder)
    assert "Of 12 trials, 7 have not run to the end yet" in page(folder)


def test_a_folder_that_is_no_sweep_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--watch"]) == 2
    assert "is no sweep's folder" in capsys.readouterr().err


def test_a_browser_is_not_shown_a_copy_that_nothing_renews(
    object_storage: ObjectStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ResultsFolder.open(object_storage.uri("results"), "made-up")
    sweep_with(count=1).write(folder)
    uri = object_storage.uri("results/made-up")
    assert main([uri, "--watch", "--open"]) == 2
    assert "--output DIR" in capsys.readouterr().err
