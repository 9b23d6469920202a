import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import as_failed, made_up_sweep
from object_storage import ObjectStorage

from mnist_ray.errors import InputError, StorageError
from mnist_ray.ledger import ledger as ledger_room
from mnist_ray.ledger import writer as writer_room
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.writer import LedgerWriter

RECORDS = list(made_up_sweep({"trials": 3}).records.values())
RECORD = RECORDS[0]
PATIENCE_SECONDS = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder.open(tmp_path, "sweep")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing and looking take no pauses, so that tests need not wait for them."""
    monkeypatch.setattr(writer_room, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(writer_room, "LOOK_SECONDS", 0.02)


def opened(folder: ResultsFolder) -> LedgerWriter:
    ledger = Ledger(folder)
    return LedgerWriter(ledger, ledger.read())


def close(writer: LedgerWriter) -> None:
    """What is still to be written is written, and an error is raised, as at a block's end."""
    with writer:
        pass


def stored(folder: ResultsFolder) -> dict[str, dict[str, Any]]:
    """What another process finds in the ledger."""
    return {key: asdict(record) for key, record in Ledger(folder).read().items()}


def by_key(records: list[Record]) -> dict[str, dict[str, Any]]:
    return {record.key: asdict(record) for record in records}


def files_in(folder: ResultsFolder) -> list[str]:
    return folder.names("ledger")


def awaited(found: Callable[[], list[Record]], count: int) -> list[Record]:
    """So many records, as they come."""
    records: list[Record] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(records) < count and time.monotonic() < deadline:
        records += found()
        time.sleep(0.005)
    return records


def test_records_that_come_in_together_share_a_file_and_are_safe_once_written_says_so(
    folder: ResultsFolder,
) -> None:
    with opened(folder) as writer:
        for record in RECORDS:
            writer.put(record)
        assert [r.key for r in awaited(writer.written, 12)] == [r.key for r in RECORDS]
        assert stored(folder) == by_key(RECORDS)
        assert writer.written() == []
    assert len(files_in(folder)) <= 2


def test_what_must_be_there_before_a_record_is_written_before_it(folder: ResultsFolder) -> None:
    found: list[int] = []
    with opened(folder) as writer:
        writer.put(RECORD, before=lambda: found.append(len(files_in(folder))))
        awaited(writer.written, 1)
    assert found == [0]


def test_a_record_is_not_written_if_what_must_be_there_before_it_cannot_be(
    folder: ResultsFolder,
) -> None:
    def fails() -> None:
        raise StorageError("no space left on the device")

    writer = opened(folder)
    writer.put(RECORD, before=fails)
    with pytest.raises(StorageError, match="no space left"):
        close(writer)
    assert stored(folder) == {}


def test_what_waits_is_written_when_the_writer_is_closed(folder: ResultsFolder) -> None:
    writer = opened(folder)
    for record in RECORDS:
        writer.put(record)
    close(writer)
    assert len(writer.written()) == len(RECORDS)
    assert stored(folder) == by_key(RECORDS)


def test_what_waits_is_written_when_an_error_or_ctrl_c_ends_the_sweep(
    folder: ResultsFolder,
) -> None:
    def put_all_and_stop() -> None:
        with opened(folder) as writer:
            for record in RECORDS:
                writer.put(record)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_all_and_stop()
    assert stored(folder) == by_key(RECORDS)


@pytest.mark.usefixtures("_quick")
def test_a_file_is_never_changed_once_it_is_written(folder: ResultsFolder) -> None:
    def contents() -> dict[str, bytes]:
        return {name: folder.read(f"ledger/{name}") for name in files_in(folder)}

    graded = made_up_sweep({"trials": 3, "evaluate": {"shifts": [2]}}).records
    with opened(folder) as writer:
        writer.put(RECORD)
        awaited(writer.written, 1)
        before = contents()
        writer.put(graded[RECORD.key])
        (joined,) = awaited(writer.written, 1)
        assert asdict(joined) == asdict(graded[RECORD.key])
    assert before.items() < contents().items()
    assert stored(folder) == by_key([graded[RECORD.key]])


@pytest.mark.usefixtures("_quick")
def test_a_finished_record_is_kept_whatever_comes_before_or_after_it(
    folder: ResultsFolder,
) -> None:
    with opened(folder) as writer:
        writer.put(as_failed(RECORD))
        awaited(writer.written, 1)
        writer.put(RECORD)
        awaited(writer.written, 1)
        writer.put(as_failed(RECORD))
        (kept,) = awaited(writer.written, 1)
        assert kept is RECORD
    assert len(files_in(folder)) == 2
    assert stored(folder) == by_key([RECORD])
    with opened(folder) as writer:
        writer.put(RECORD)
    assert len(files_in(folder)) == 2


@pytest.mark.usefixtures("_quick")
def test_two_sweeps_find_each_others_records_and_not_their_own(folder: ResultsFolder) -> None:
    with opened(folder) as one, opened(folder) as other:
        for record in RECORDS[:6]:
            one.put(record)
        assert {r.key for r in awaited(other.of_others, 6)} == {r.key for r in RECORDS[:6]}
        for record in RECORDS[5:]:
            other.put(record)
        assert {r.key for r in awaited(one.of_others, 6)} == {r.key for r in RECORDS[6:]}
        assert one.of_others() == other.of_others() == []
    assert stored(folder) == by_key(RECORDS)


@pytest.mark.usefixtures("_quick")
def test_sweeps_that_pack_at_the_same_time_lose_nothing_and_no_reader_misses_any(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_room, "MOST_SMALL_FILES", 3)
    recorded = made_up_sweep({"trials": 10}).records
    safe: set[str] = set()

    def put_all(writer: LedgerWriter, records: list[Record]) -> None:
        for record in records:
            writer.put(record)
            safe.update(each.key for each in awaited(writer.written, 1))

    with opened(folder) as one, opened(folder) as other:
        threads = [
            threading.Thread(target=put_all, args=(writer, list(recorded.values())))
            for writer in (one, other)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            before = set(safe)
            assert before <= Ledger(folder).read().keys()
    assert stored(folder) == by_key(list(recorded.values()))
    assert len(files_in(folder)) < len(recorded)


@pytest.mark.usefixtures("_quick")
def test_a_damaged_file_of_another_sweep_is_left_out_with_one_warning(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as writer:
        Path(folder.path, "ledger").mkdir(parents=True, exist_ok=True)
        folder.write("ledger/batch-1.parquet", b"PAR1")
        with opened(folder) as other:
            other.put(RECORD)
        (found,) = awaited(writer.of_others, 1)
        time.sleep(0.1)
    assert found.key == RECORD.key
    assert caplog.text.count("batch-1.parquet is damaged") == 2  # and once by the other's reading


@pytest.mark.usefixtures("_quick")
def test_what_another_sweep_wrote_with_a_later_version_ends_this_one(
    folder: ResultsFolder,
) -> None:
    writer = opened(folder)
    folder.write("ledger/batch-0.parquet", b"")
    with opened(folder) as other:
        other.put(RECORD)
    (name,) = (name for name in files_in(folder) if name != "batch-0.parquet")
    table = pq.read_table(pa.BufferReader(folder.read(f"ledger/{name}")))
    place = table.column_names.index("status")
    buffer = pa.BufferOutputStream()
    pq.write_table(table.set_column(place, "status", pa.array(["paused"])), buffer)
    # Whole, as sweeps write: the writer looks at the folder meanwhile.
    folder.write("ledger/batch-9.parquet", buffer.getvalue())
    with pytest.raises(InputError, match=r"batch-9.*paused"):
        awaited(writer.of_others, 2)
    with pytest.raises(InputError, match="another version"):
        close(writer)


# Storage that fails


@pytest.mark.usefixtures("_quick")
def test_a_folder_that_cannot_be_written_is_an_error_after_what_was_safe(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_room, "LOOK_SECONDS", 60.0)
    writer = opened(folder)
    writer.put(RECORD)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not files_in(folder) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    Path(folder.path, "ledger").rename(Path(folder.path, "moved"))
    Path(folder.path, "ledger").write_text("in the way")
    writer.put(RECORDS[1])
    with pytest.raises(StorageError, match="cannot be written"):
        close(writer)
    assert [record.key for record in writer.written()] == [RECORD.key]
    with pytest.raises(StorageError, match="cannot be written"):
        writer.written()
    with pytest.raises(StorageError, match="cannot be written"):
        writer.put(RECORDS[2])


@pytest.fixture
def bucket(object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(writer_room, "MOST_WAITING", 3)
    folder = ResultsFolder.open(object_storage.uri("results"), "sweep")
    folder.check_writable()
    yield folder
    object_storage.start()


@pytest.mark.usefixtures("_quick")
def test_a_bucket_out_of_reach_delays_what_comes_in_only_once_the_queue_is_full(
    bucket: ResultsFolder, object_storage: ObjectStorage
) -> None:
    taken: list[Record] = []

    def put_all(writer: LedgerWriter) -> None:
        for record in RECORDS:
            writer.put(record)
            taken.append(record)

    with opened(bucket) as writer:
        object_storage.stop()
        thread = threading.Thread(target=put_all, args=(writer,))
        thread.start()
        thread.join(1.0)
        assert thread.is_alive()
        assert 3 <= len(taken) < len(RECORDS)
        assert writer.written() == []
        object_storage.start()
        thread.join(PATIENCE_SECONDS)
        assert len(taken) == len(RECORDS)
    assert stored(bucket) == by_key(RECORDS)
