import logging
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from object_storage import ObjectStorage

from mnist_ray.errors import InputError, StorageError
from mnist_ray.ledger import results_folder as results
from mnist_ray.ledger.results_folder import ResultsFolder

SECRET = "wJalrXUtnFEMI"


@pytest.fixture(params=["disk", "object storage"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> ResultsFolder:
    """An empty sweep's folder, once on a disk and once on object storage."""
    if request.param == "disk":
        return ResultsFolder.open(tmp_path / "results", "sweep")
    storage: ObjectStorage = request.getfixturevalue("object_storage")
    return ResultsFolder.open(storage.uri("results"), "sweep")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def files_under(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


# What holds wherever the folder lies


def test_what_is_written_is_read_back_and_replaced_whole(folder: ResultsFolder) -> None:
    folder.write("ledger/a", b"long ago and far away")
    folder.write("ledger/a", b"now")
    assert folder.read("ledger/a") == b"now"


def test_a_view_of_memory_is_written_as_it_is(folder: ResultsFolder) -> None:
    folder.write("models/a", memoryview(b"weights"))
    assert folder.read("models/a") == b"weights"


def test_the_folders_directly_in_it_are_named_in_their_order(folder: ResultsFolder) -> None:
    assert folder.folders() == []
    for name in ("second/a", "first/deeper/b", "file"):
        folder.write(name, b"x")
    assert folder.folders() == ["first", "second"]


def test_only_the_files_directly_in_a_folder_are_named_in_their_order(
    folder: ResultsFolder,
) -> None:
    for name in ("ledger/b", "ledger/a", "ledger/deeper/c", "other"):
        folder.write(name, b"x")
    assert folder.names("ledger") == ["a", "b"]


def test_a_folder_that_is_not_there_is_empty(folder: ResultsFolder) -> None:
    assert folder.names("ledger") == []
    assert not folder.exists("ledger")
    assert not folder.exists("ledger/a")
    with pytest.raises(FileNotFoundError):
        folder.read("ledger/a")


def test_a_file_and_its_folder_exist_once_it_is_written(folder: ResultsFolder) -> None:
    folder.write("ledger/a", b"x")
    assert folder.exists("ledger")
    assert folder.exists("ledger/a")


def test_removing_and_renaming_what_is_gone_is_no_error(folder: ResultsFolder) -> None:
    folder.write("ledger/a", b"x")
    folder.delete("ledger/a")
    folder.delete("ledger/a")
    folder.take(folder, "ledger/a", "ledger/b")
    assert folder.names("ledger") == []


def test_a_renamed_file_has_its_new_name_only(folder: ResultsFolder) -> None:
    folder.write("ledger/a", b"x")
    folder.take(folder, "ledger/a", "ledger/a.damaged")
    assert folder.names("ledger") == ["a.damaged"]
    assert folder.read("ledger/a.damaged") == b"x"


def test_checking_that_it_can_be_written_leaves_nothing_behind(folder: ResultsFolder) -> None:
    folder.check_writable()
    assert folder.names("") == []


def test_of_two_runs_the_last_one_removes_what_held_their_checkpoints(
    folder: ResultsFolder,
) -> None:
    folder.write("ledger/a", b"kept")
    runs = [folder.checkpoints("first"), folder.checkpoints("second")]
    for run in runs:
        run.write("trial/state", b"x")
    runs[0].delete_all()
    assert runs[1].read("trial/state") == b"x"
    runs[1].delete_all()
    runs[1].delete_all()
    assert not folder.exists("checkpoints")
    assert folder.names("ledger") == ["a"]


def test_a_place_that_gives_back_something_else_is_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ResultsFolder.open(tmp_path)
    monkeypatch.setattr(Path, "replace", lambda _, target: Path(target).write_bytes(b"else"))
    with pytest.raises(InputError, match="read back as something else"):
        folder.check_writable()


def test_a_small_file_takes_one_request(
    object_storage: ObjectStorage, caplog: pytest.LogCaptureFixture
) -> None:
    folder = ResultsFolder.open(object_storage.uri("results"))
    with caplog.at_level(logging.INFO, "werkzeug"):
        folder.write("ledger/a", b"x")
    requests = [line for line in caplog.messages if "/results/ledger/a" in line]
    assert len(requests) == 1
    assert "PUT" in requests[0]


# Names


def test_every_file_of_a_sweep_lies_in_its_own_folder(tmp_path: Path) -> None:
    folder = ResultsFolder.open(tmp_path, "sweep")
    assert folder.path == str(tmp_path / "sweep")
    assert folder.records("batch-1.parquet") == "ledger/batch-1.parquet"
    assert folder.table("report") == "report.parquet"


def test_a_subfolder_of_a_uri_stands_before_its_options() -> None:
    folder = ResultsFolder.open("s3://bucket/path/?region=eu-west-1", "sweep")
    assert folder.uri == "s3://bucket/path/sweep?region=eu-west-1"
    assert folder.path == "bucket/path/sweep"


def test_models_have_readable_names_that_any_disk_takes(tmp_path: Path) -> None:
    folder = ResultsFolder.open(tmp_path)
    name = folder.model("mine/../ü:x-shifted", "0123456789")
    assert name == "models/mine_.._x-shifted-01234567.keras"
    assert folder.model_summary("a", "0123456789") == "models/a-01234567.txt"
    assert folder.model("..", "0123456789") == "models/cell-01234567.keras"


def test_a_path_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert ResultsFolder.open("~/results").path == "/home/someone/results"


@pytest.mark.parametrize(
    "location", ["ftp://host/path", "s3://bucket/p?sheme=http", "~nobody-at-all/results"]
)
def test_a_location_that_makes_no_sense_is_refused_with_its_reason(location: str) -> None:
    with pytest.raises(InputError, match="cannot be used") as refused:
        ResultsFolder.open(location)
    assert location in str(refused.value)
    assert "Give a folder" in str(refused.value)


# A disk


def test_no_temporary_file_is_left_and_none_is_ever_named(tmp_path: Path) -> None:
    folder = ResultsFolder.open(tmp_path)
    folder.write("ledger/a", b"x")
    (tmp_path / "ledger" / ".b.1.0f.tmp").write_bytes(b"of a process that was killed")
    assert folder.names("ledger") == ["a"]
    assert files_under(tmp_path) == ["ledger/.b.1.0f.tmp", "ledger/a"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    folder = ResultsFolder.open(tmp_path)
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    folder.write("a", contents[0])
    ended = threading.Event()

    def write_again_and_again() -> None:
        for number in range(60):
            folder.write("a", contents[number % 2])
        ended.set()

    writer = threading.Thread(target=write_again_and_again)
    writer.start()
    seen = [folder.read("a")]
    while not ended.is_set():
        seen.append(folder.read("a"))
    writer.join()
    assert set(seen) <= set(contents)


def test_a_file_in_the_way_is_reported_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    folder = ResultsFolder.open(tmp_path / "results", "sweep")
    assert folder.names("ledger") == []
    with pytest.raises(
        InputError, match=r"results: .*/results/sweep cannot be written .*--results"
    ):
        folder.check_writable()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system that is never written")
def test_a_read_only_file_system_is_reported_before_anything_starts() -> None:
    with pytest.raises(InputError, match="cannot be written"):
        ResultsFolder.open("/proc/results", "sweep").check_writable()


def test_a_full_disk_is_named_and_keeps_what_was_there(small_disk: Path) -> None:
    folder = ResultsFolder.open(small_disk, "sweep")
    folder.check_writable()
    folder.write("a", b"old")
    with pytest.raises(StorageError, match="No space left on device") as refused:
        folder.write("a", bytes(200_000))
    assert str(small_disk / "sweep") in str(refused.value)
    assert "same command again" in str(refused.value)
    assert files_under(small_disk) == ["sweep/a"]
    assert folder.read("a") == b"old"
    folder.write("a", b"new, now that it is small")


def test_a_full_disk_is_reported_before_anything_starts(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(60_000))
    for number in range(2000):
        try:
            (small_disk / f"filler-{number}").write_bytes(bytes(4096))
        except OSError:
            break
    with pytest.raises(InputError, match="No space left on device"):
        ResultsFolder.open(small_disk, "sweep").check_writable()


# Object storage


def test_a_bucket_that_is_not_there_is_reported_before_anything_starts(
    object_storage: ObjectStorage,
) -> None:
    uri = object_storage.uri("results").replace(object_storage.bucket, "no-such-bucket")
    folder = ResultsFolder.open(uri, "sweep")
    assert folder.names("ledger") == []
    with pytest.raises(InputError, match="cannot be written"):
        folder.check_writable()


class NobodyMayEnter(BaseHTTPRequestHandler):
    """Answers as S3 does to wrong credentials."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_refused_credentials_are_reported_at_once_and_not_waited_out() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NobodyMayEnter)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    options = f"endpoint_override=127.0.0.1:{server.server_port}&scheme=http"
    folder = ResultsFolder.open(f"s3://AKIA:{SECRET}@bucket/path?{options}", "sweep")
    with pytest.raises(InputError, match=r"cannot be read .*ACCESS_DENIED.*the credentials"):
        folder.names("ledger")
    server.shutdown()


def test_a_server_that_is_gone_for_a_while_is_waited_for(
    object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FIRST_PAUSE_SECONDS", 0.1)
    folder = ResultsFolder.open(object_storage.uri("results"), "sweep")
    folder.check_writable()
    object_storage.stop()

    def return_after_a_while() -> None:
        time.sleep(8)  # longer than the S3 client itself tries
        object_storage.start()

    absence = threading.Thread(target=return_after_a_while)
    absence.start()
    folder.write("ledger/a", b"not lost")
    absence.join()
    assert folder.read("ledger/a") == b"not lost"


def test_a_server_that_does_not_come_back_is_given_up(
    object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PATIENCE_SECONDS", 0.1)
    folder = ResultsFolder.open(object_storage.uri("results"), "sweep")
    folder.check_writable()
    object_storage.stop()
    with pytest.raises(StorageError, match="What was recorded is safe"):
        folder.write("ledger/a", b"x")


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIA:{SECRET}@bucket/path?region=eu-west-1",
        f"s3://AKIA:{SECRET}@/path",
        f"s3://AKIA:{SECRET}/with/slashes@bucket/path",
        f"s3://bucket/path?secret_key={SECRET}",
        f"s3://bucket/path?region=eu-west-1&session_token={SECRET}",
        f"abfss://account:{SECRET}@container/path?sheme=http",
    ],
)
def test_secrets_of_a_uri_are_never_shown(uri: str) -> None:
    try:
        shown = repr(ResultsFolder.open(uri, "sweep"))
    except InputError as error:
        shown = "".join(traceback.format_exception(error))
    assert SECRET not in shown
    assert "***" in shown


def test_secrets_of_a_uri_open_the_folder_all_the_same(object_storage: ObjectStorage) -> None:
    folder = ResultsFolder.open(object_storage.uri("results", user=f"AKIA:{SECRET}"), "sweep")
    folder.write("a", b"x")
    assert folder.read("a") == b"x"
    assert SECRET not in folder.uri
