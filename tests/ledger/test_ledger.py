import io
import json
import logging
import shutil
import threading
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import as_failed, made_up_space, made_up_sweep, made_up_test_set
from object_storage import ObjectStorage

from mnist_ray.errors import InputError, StorageError
from mnist_ray.ledger import ledger as ledger_room
from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.ledger import Ledger, SweepManifest
from mnist_ray.ledger.record import (
    Costs,
    Epoch,
    Evaluation,
    Record,
    RunEnvironment,
    Status,
    Versions,
)
from mnist_ray.ledger.record_file import read_table, to_records, to_table, write_table
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import read_test_set, write_test_set
from mnist_ray.plan import trial as trial_room
from mnist_ray.plan.trial import trials_of

RECORDS = list(made_up_sweep({"trials": 3}).records.values())
RECORD = RECORDS[0]


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder.open(tmp_path, "sweep")


@pytest.fixture
def few_small_files(monkeypatch: pytest.MonkeyPatch) -> int:
    """Packs are made of more than this many files, so that tests need no thousands."""
    monkeypatch.setattr(ledger_room, "MOST_SMALL_FILES", 5)
    return 5


def to_parquet(records: Sequence[Record]) -> bytes:
    return write_table(to_table(records))


def from_parquet(content: bytes) -> list[Record]:
    return to_records(read_table(content))


def write_batch(folder: ResultsFolder, records: Sequence[Record]) -> Path:
    """The file that now holds them, as a sweep writes it."""
    return Path(folder.path) / folder.records(Ledger(folder).write(records))


def write_all(folder: ResultsFolder, records: Sequence[Record]) -> Ledger:
    """Each in a file of its own, as earlier versions wrote them."""
    for record in records:
        folder.write(folder.records(f"{record.key}.parquet"), to_parquet([record]))
    ledger = Ledger(folder)
    ledger.read()
    return ledger


def path_of(folder: ResultsFolder, record: Record) -> Path:
    return Path(folder.path) / folder.records(f"{record.key}.parquet")


def files_in(folder: ResultsFolder) -> list[str]:
    return sorted(path.name for path in (Path(folder.path) / "ledger").iterdir())


def plain(records: Mapping[str, Record]) -> dict[str, dict[str, Any]]:
    """In a form that can be compared."""
    return {key: asdict(record) for key, record in records.items()}


def by_key(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    return plain({record.key: record for record in records})


# A record

NUMBERS = st.floats(allow_nan=False)
MAYBE = st.none() | NUMBERS
SHARES = st.floats(0, 1)
TEXT = st.text(max_size=20)
GRADINGS = st.builds(
    lambda shift, predictions, loss: Evaluation.of(
        shift, predictions=np.array(predictions), truth=np.zeros(len(predictions)), loss=loss
    ),
    st.integers(0, 40),
    st.lists(st.integers(0, 999), min_size=1, max_size=50),
    NUMBERS,
)
ANY_RECORD = st.builds(
    Record,
    key=st.just(RECORD.key),
    identity=st.just(RECORD.identity),
    dataset=TEXT,
    architecture=TEXT,
    variant=TEXT,
    trial_seed=st.integers(0, 2**32 - 1),
    status=st.sampled_from(Status),
    error=st.none() | TEXT,
    traceback=st.none() | TEXT,
    parameters=st.none() | st.integers(0, 2**40),
    epochs=st.lists(st.builds(Epoch, NUMBERS, SHARES, MAYBE, st.none() | SHARES), max_size=3).map(
        tuple
    ),
    test=st.none() | GRADINGS,
    robustness=st.lists(GRADINGS, max_size=3).map(tuple),
    setting=st.none()
    | st.builds(
        RunEnvironment,
        started_at=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),
        node=TEXT,
        device=TEXT,
        threads=st.integers(1, 1024),
        versions=st.builds(Versions, TEXT, TEXT, TEXT, TEXT, TEXT),
        git_commit=st.none() | TEXT,
    ),
    costs=st.builds(Costs, MAYBE, MAYBE, MAYBE, st.none() | st.integers(0, 2**50)),
)


@settings(max_examples=50)
@given(ANY_RECORD)
def test_every_field_of_a_record_comes_back_as_it_was(record: Record) -> None:
    (read,) = from_parquet(to_parquet([record]))
    assert asdict(read) == asdict(record)


def test_a_loss_that_is_no_number_comes_back_as_none() -> None:
    record = replace(as_failed(RECORD), epochs=(Epoch(float("nan"), 0.1, float("inf"), None),))
    (read,) = from_parquet(to_parquet([record]))
    (epoch,) = read.epochs
    assert repr(epoch) == repr(record.epochs[0])


def test_a_message_that_is_no_unicode_is_kept_with_escapes(folder: ResultsFolder) -> None:
    write_all(folder, [as_failed(RECORD, "no file caf\udce9")])
    (read,) = Ledger(folder).read().values()
    assert read.error == "no file caf\\udce9"


def test_a_record_of_ten_thousand_test_images_takes_a_few_kilobytes(folder: ResultsFolder) -> None:
    sweep = made_up_sweep({"trials": 1}, test_set=made_up_test_set(10_000))
    record = next(iter(sweep.records.values()))
    write_all(folder, [record])
    assert path_of(folder, record).stat().st_size < 16_000


def test_all_records_are_read_by_their_keys(folder: ResultsFolder) -> None:
    write_all(folder, RECORDS[:3])
    write_batch(folder, RECORDS[3:7])
    write_batch(folder, RECORDS[7:])
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


def test_an_empty_folder_has_no_records(folder: ResultsFolder) -> None:
    assert Ledger(folder).read() == {}


# What replaces what


@pytest.mark.parametrize("status", [Status.FINISHED, Status.CUT_SHORT])
def test_a_failed_record_never_replaces_one_that_came_further(
    folder: ResultsFolder, status: Status
) -> None:
    kept = replace(RECORD, status=status)
    write_batch(folder, [kept])
    write_batch(folder, [as_failed(RECORD)])
    assert plain(Ledger(folder).read()) == by_key([kept])


def test_a_finished_record_replaces_a_failed_one(folder: ResultsFolder) -> None:
    write_all(folder, [as_failed(RECORD)])
    write_batch(folder, [RECORD])
    assert plain(Ledger(folder).read()) == by_key([RECORD])


def test_the_later_of_two_failures_is_kept(folder: ResultsFolder) -> None:
    write_batch(folder, [as_failed(RECORD, "first")])
    write_batch(folder, [as_failed(RECORD, "again")])
    assert Ledger(folder).read()[RECORD.key].error == "again"


def test_a_finished_record_is_not_replaced_by_another(folder: ResultsFolder) -> None:
    write_batch(folder, [RECORD])
    write_batch(folder, [replace(RECORD, parameters=7)])
    assert plain(Ledger(folder).read()) == by_key([RECORD])


def test_gradings_on_other_test_sets_are_added(folder: ResultsFolder) -> None:
    sweep = made_up_sweep({"evaluate": {"shifts": [1, 2, 3]}})
    record = sweep.records[RECORD.key]
    one, two = (replace(record, robustness=record.robustness[part]) for part in PARTS)
    write_batch(folder, [one])
    write_batch(folder, [two])
    assert plain(Ledger(folder).read()) == by_key([record])


PARTS = (slice(0, 2), slice(2, 3))


# Damage


def damage_by_truncation(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_to_nothing(path: Path) -> None:
    path.write_bytes(b"")


def damage_by_a_flipped_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)


def damage_to_text(path: Path) -> None:
    path.write_text("This is not a Parquet file.")


def damage_to_a_foreign_table(path: Path) -> None:
    pq.write_table(pa.table({"identity": [1, 2], "price": [3.5, 4.0]}), path)


def damage_to_an_empty_table(path: Path) -> None:
    pq.write_table(pa.table({"key": pa.array([], pa.string())}), path)


def damage_by_another_trials_record(path: Path) -> None:
    path.write_bytes(to_parquet([RECORDS[1]]))


def damage_to_the_identity(path: Path) -> None:
    changed = replace(RECORD, identity={**RECORD.identity, "trial": 77})
    path.write_bytes(to_parquet([changed]))


DAMAGES = [
    damage_by_truncation,
    damage_to_nothing,
    damage_by_a_flipped_bit,
    damage_to_text,
    damage_to_a_foreign_table,
    damage_to_an_empty_table,
    damage_by_another_trials_record,
    damage_to_the_identity,
]


def snapshot(folder: ResultsFolder) -> dict[str, tuple[bytes, int]]:
    """Each file's content and time of change."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in Path(folder.path, "ledger").iterdir()
    }


@pytest.mark.parametrize("accuracy", [float("nan"), 1.5, -0.1])
@pytest.mark.parametrize("place", ["test", "epochs"])
def test_a_record_with_an_impossible_accuracy_is_damaged(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture, accuracy: float, place: str
) -> None:
    assert RECORD.test is not None
    epoch = replace(RECORD.epochs[0], validation_accuracy=accuracy)
    test = replace(RECORD.test, accuracy=accuracy)
    changed = {"test": replace(RECORD, test=test), "epochs": replace(RECORD, epochs=(epoch,))}
    write_batch(folder, [changed[place]])
    write_batch(folder, [RECORDS[1]])
    assert list(Ledger(folder).read()) == [RECORDS[1].key]
    assert f"an accuracy of {RECORD.key} is {accuracy}, not from 0 to 1" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_reading_leaves_a_damaged_file_out_and_changes_nothing(
    folder: ResultsFolder, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write_all(folder, RECORDS)
    damage(path_of(folder, RECORD))
    before = snapshot(folder)
    ledger = Ledger(folder)
    left = {key: record for key, record in by_key(RECORDS).items() if key != RECORD.key}
    assert plain(ledger.read()) == left
    assert f"{RECORD.key}.parquet is damaged" in caplog.text
    assert snapshot(folder) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sweep_that_runs_sets_a_damaged_file_aside_and_uses_the_rest(
    folder: ResultsFolder, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write_all(folder, RECORDS)
    damage(path_of(folder, RECORD))
    damaged = path_of(folder, RECORD).read_bytes()
    left = {key: record for key, record in by_key(RECORDS).items() if key != RECORD.key}
    ledger = Ledger(folder)
    assert plain(ledger.read()) == left
    ledger.set_aside_damaged()
    assert f"{RECORD.key}.parquet is damaged" in caplog.text
    assert snapshot(folder)[f"{RECORD.key}.parquet.damaged"][0] == damaged
    caplog.clear()
    ledger = Ledger(folder)
    assert plain(ledger.read()) == left
    assert not caplog.text
    write_batch(folder, [RECORD])
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


def test_what_another_sweep_has_written_anew_meanwhile_is_not_set_aside(
    folder: ResultsFolder,
) -> None:
    write_all(folder, RECORDS)
    damage_by_truncation(path_of(folder, RECORD))
    ledger = Ledger(folder)
    ledger.read()
    write_all(folder, [RECORD])
    before = files_in(folder)
    ledger.set_aside_damaged()
    assert files_in(folder) == before
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


def test_any_flipped_bit_in_a_value_is_noticed(folder: ResultsFolder) -> None:
    content = to_parquet([RECORD])
    expected = asdict(RECORD)
    write_all(folder, [RECORD])
    footer = int.from_bytes(content[-8:-4], "little") + 8
    noticed = 0
    for place in range(0, len(content) - footer, 37):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path_of(folder, RECORD).write_bytes(damaged)
        read = Ledger(folder).read()
        noticed += not read
        assert not read or asdict(read[RECORD.key]) == expected
    assert noticed > 10


def test_a_batch_that_is_cut_in_half_is_set_aside_and_the_rest_is_unharmed(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    cut, *_ = [write_batch(folder, RECORDS[first : first + 4]) for first in (0, 4, 8)]
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    ledger = Ledger(folder)
    assert plain(ledger.read()) == by_key(RECORDS[4:])
    assert f"{cut.name} is damaged" in caplog.text
    ledger.set_aside_damaged()
    assert cut.with_name(f"{cut.name}.damaged").read_bytes() == content[: len(content) // 2]
    write_batch(folder, RECORDS[:4])
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


# What is whole, and yet not read


def with_columns(content: bytes, **columns: Any) -> bytes:
    """A file in which those columns of one row are added or replaced."""
    table = pq.read_table(pa.BufferReader(content))
    for name, value in columns.items():
        place = table.column_names.index(name) if name in table.column_names else -1
        values = pa.array([value])
        if place >= 0:
            table = table.set_column(place, name, values)
        else:
            table = table.append_column(name, values)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def with_an_unknown_status(content: bytes) -> bytes:
    return with_columns(content, status="paused")


def with_a_column_of_another_kind(content: bytes) -> bytes:
    return with_columns(content, costs="12 s")


def without_a_column(content: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(content)).drop_columns(["epochs"])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def with_a_missing_codec(content: bytes) -> bytes:
    """A file whose description says that its first column is compressed with LZO."""
    path_in_schema = b"\x19\x18\x03key"
    codec = content.index(path_in_schema, len(content) // 2) + len(path_in_schema) + 1
    zstd, lzo = b"\x0c", b"\x06"
    assert content[codec : codec + 1] == zstd
    return content[:codec] + lzo + content[codec + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_an_unknown_status, "paused"),
        (with_a_column_of_another_kind, "another version"),
        (without_a_column, "epochs"),
        (with_a_missing_codec, "LZO"),
    ],
)
def test_what_another_version_wrote_is_an_error_that_says_so_and_stays(
    folder: ResultsFolder, change: Any, reason: str
) -> None:
    write_all(folder, RECORDS[:2])
    path = path_of(folder, RECORD)
    path.write_bytes(change(path.read_bytes()))
    before = snapshot(folder)
    ledger = Ledger(folder)
    with pytest.raises(InputError, match=reason) as raised:
        ledger.read()
    assert f"{RECORD.key}.parquet" in str(raised.value)
    ledger.set_aside_damaged()
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (MemoryError("malloc of size 8 failed"), StorageError),
        (MemoryError(), StorageError),
        (NotImplementedError("not in this build"), StorageError),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
)
def test_an_error_of_the_machine_or_the_program_is_no_damage(
    folder: ResultsFolder,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
) -> None:
    write_all(folder, RECORDS[:2])
    before = snapshot(folder)

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pq.ParquetFile, "read", fail)
    ledger = Ledger(folder)
    with pytest.raises(raised):
        ledger.read()
    ledger.set_aside_damaged()
    monkeypatch.undo()
    assert snapshot(folder) == before
    assert plain(ledger.read()) == by_key(RECORDS[:2])


def newer(record: Record, monkeypatch: pytest.MonkeyPatch, **more: Any) -> bytes:
    """A record as a program of the next protocol may write it, with columns of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(trial_room, "PROTOCOL", trial_room.PROTOCOL + 1)
        space, dataset_info = made_up_space(), made_up_sweep().dataset_info
        trial = trials_of(space, space.cells(dataset_info.image_shape)[0], dataset_info, 1)[0]
        changed = replace(record, key=trial.key, identity=trial.identity)
    return with_columns(to_parquet([changed]), **more)


@pytest.mark.parametrize("more", [{}, {"energy_joules": 12.5}])
def test_a_ledger_of_a_newer_protocol_is_refused_and_left_as_it_is(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    folder.write("ledger/newer.parquet", newer(RECORD, monkeypatch, **more))
    with pytest.raises(InputError, match=r"protocol 2, and this mnist_ray knows protocol 1"):
        Ledger(folder).read()
    assert files_in(folder) == ["newer.parquet"]


def test_columns_that_a_later_version_adds_are_passed_over(folder: ResultsFolder) -> None:
    content = with_columns(to_parquet([RECORD]), energy_joules=12.5)
    folder.write(folder.records(f"{RECORD.key}.parquet"), content)
    assert plain(Ledger(folder).read()) == by_key([RECORD])


def test_records_of_an_older_protocol_are_read(folder: ResultsFolder) -> None:
    identity = {**RECORD.identity, "protocol": 0}
    older = replace(RECORD, identity=identity, key=digest(identity))
    write_all(folder, [older])
    assert plain(Ledger(folder).read()) == by_key([older])


def test_a_record_of_the_first_layout_is_still_read(folder: ResultsFolder) -> None:
    """Written before 0.1.0 was finished; the figures are as the program read them then."""
    (path,) = Path(__file__).with_name("first_layout").glob("*.parquet")
    folder.write(f"ledger/{path.name}", path.read_bytes())
    read = Ledger(folder).read()[path.stem]
    assert (read.architecture, read.variant, read.trial_seed) == (
        "feed_forward",
        "shifted",
        3757552657,
    )
    assert (read.status, read.parameters, read.trial) == (Status.FINISHED, 1314058, 0)
    assert read.cell_key == "21d768172e4b76f61f14a8adc9c4c066"
    assert read.validation_accuracy == 0.23333333333333334
    assert read.test is not None
    assert (read.test.shift, read.test.accuracy, read.test.size) == (20, 0.196, 500)
    assert read.test.predictions[:5].tolist() == [7, 8, 8, 2, 7]
    shifts = {each.shift: each.accuracy for each in read.robustness}
    assert shifts == {0: 0.256, 5: 0.226, 10: 0.216, 15: 0.238}
    assert read.setting is not None
    assert read.setting.started_at == datetime(2026, 11, 24, 13, 47, 19, 291601, tzinfo=UTC)
    assert read.setting.versions == Versions("3.11.7", "2.21.0", "3.15.1", "2.60.0", "2.4.6")
    assert read.costs.train_seconds == 0.07706679500000746


# Packing


def packs_in(folder: ResultsFolder) -> list[str]:
    return [name for name in files_in(folder) if name.startswith("pack-")]


def test_a_thousand_and_one_records_become_two_packs(folder: ResultsFolder) -> None:
    space, dataset_info = made_up_space(), made_up_sweep().dataset_info
    cell = space.cells(dataset_info.image_shape)[0]
    records = [
        replace(RECORD, key=trial.key, identity=trial.identity)
        for trial in trials_of(space, cell, dataset_info, 1001)
    ]
    path_of(folder, RECORD).parent.mkdir(parents=True)
    for record in records[:1000]:
        path_of(folder, record).write_bytes(to_parquet([record]))
    ledger = Ledger(folder)
    assert len(ledger.read()) == 1000
    ledger.pack()
    assert not packs_in(folder)
    write_batch(folder, records[1000:])
    ledger.read()
    ledger.pack()
    assert files_in(folder) == packs_in(folder)
    assert len(packs_in(folder)) == 2
    assert plain(Ledger(folder).read()) == by_key(records)


@pytest.mark.usefixtures("few_small_files")
def test_packing_keeps_every_record_failed_ones_included(folder: ResultsFolder) -> None:
    records = [*RECORDS[:6], *map(as_failed, RECORDS[6:8])]
    write_all(folder, records).pack()
    assert files_in(folder) == packs_in(folder)
    assert plain(Ledger(folder).read()) == by_key(records)
    write_batch(folder, [RECORDS[6], as_failed(RECORDS[7], "again")])
    read = Ledger(folder).read()
    assert (read[RECORDS[6].key].status, read[RECORDS[7].key].error) == ("finished", "again")


@pytest.mark.usefixtures("few_small_files")
def test_a_crash_between_a_pack_and_the_removal_of_its_files_loses_nothing(
    folder: ResultsFolder,
) -> None:
    ledger = write_all(folder, RECORDS)
    before = {path_of(folder, record): path_of(folder, record).read_bytes() for record in RECORDS}
    ledger.pack()
    assert len(before) > len(files_in(folder))
    for path, content in before.items():
        path.write_bytes(content)
    again = Ledger(folder)
    assert plain(again.read()) == by_key(RECORDS)
    again.pack()
    assert files_in(folder) == packs_in(folder)
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


@pytest.mark.usefixtures("few_small_files")
def test_what_another_sweep_wrote_into_the_folder_is_packed_along(folder: ResultsFolder) -> None:
    ours = write_all(folder, RECORDS[:6])
    write_batch(folder, RECORDS[6:8])
    ours.pack()
    assert files_in(folder) == packs_in(folder)
    assert plain(Ledger(folder).read()) == by_key(RECORDS[:8])


@pytest.mark.usefixtures("few_small_files")
def test_a_record_that_is_packed_already_takes_new_gradings(folder: ResultsFolder) -> None:
    write_all(folder, RECORDS[:6]).pack()
    graded = made_up_sweep({"trials": 3, "evaluate": {"shifts": [2]}}).records
    again = write_all(folder, [graded[record.key] for record in RECORDS[:6]])
    expected = by_key([graded[record.key] for record in RECORDS[:6]])
    assert plain(Ledger(folder).read()) == expected
    again.pack()
    assert plain(Ledger(folder).read()) == expected


@pytest.mark.usefixtures("few_small_files")
def test_two_that_pack_and_one_that_reads_at_the_same_time_see_every_record(
    folder: ResultsFolder,
) -> None:
    for record in RECORDS:
        write_batch(folder, [record])
    packers = [Ledger(folder), Ledger(folder)]
    for packer in packers:
        packer.read()
    gate = threading.Barrier(len(packers) + 1)

    def pack(packer: Ledger) -> None:
        gate.wait()
        packer.pack()

    threads = [threading.Thread(target=pack, args=(packer,)) for packer in packers]
    for thread in threads:
        thread.start()
    gate.wait()
    while any(thread.is_alive() for thread in threads):
        assert plain(Ledger(folder).read()) == by_key(RECORDS)
    assert files_in(folder) == packs_in(folder)
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


@pytest.mark.usefixtures("few_small_files")
def test_a_damaged_pack_is_set_aside_and_the_rest_used(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    write_all(folder, RECORDS[:6]).pack()
    write_all(folder, RECORDS[6:8])
    packs = packs_in(folder)
    for name in packs:
        damage_by_truncation(Path(folder.path) / "ledger" / name)
    ledger = Ledger(folder)
    assert plain(ledger.read()) == by_key(RECORDS[6:8])
    assert "pack-" in caplog.text
    assert packs_in(folder) == packs
    ledger.set_aside_damaged()
    assert packs_in(folder) == [f"{name}.damaged" for name in packs]


@pytest.mark.usefixtures("few_small_files")
def test_columns_that_a_later_version_adds_stay_in_a_pack(folder: ResultsFolder) -> None:
    write_all(folder, RECORDS[:6])
    path = path_of(folder, RECORDS[3])
    path.write_bytes(with_columns(path.read_bytes(), energy_joules=12.5))
    ledger = Ledger(folder)
    ledger.read()
    ledger.pack()
    packs = [pq.read_table(Path(folder.path, "ledger", name)) for name in packs_in(folder)]
    rows = [row for pack in packs for row in pack.to_pylist()]
    assert {row["key"]: row.get("energy_joules") for row in rows} == {
        record.key: 12.5 if record is RECORDS[3] else None for record in RECORDS[:6]
    }
    assert plain(Ledger(folder).read()) == by_key(RECORDS[:6])


# Size and place


def test_ten_thousand_records_fit_in_memory(folder: ResultsFolder) -> None:
    # A tenth of them, packed, with the predictions of 10,000 images each.
    sweep = made_up_sweep({"trials": 1}, test_set=made_up_test_set(10_000))
    usual = next(iter(sweep.records.values()))
    cell = sweep.space.cells(sweep.dataset_info.image_shape)[0]
    records = [
        replace(usual, key=trial.key, identity=trial.identity)
        for trial in trials_of(sweep.space, cell, sweep.dataset_info, 1000)
    ]
    write_batch(folder, records)
    tracemalloc.start()
    read = Ledger(folder).read()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read) == 1000
    assert held < 30_000_000
    assert peak < 60_000_000


def test_records_on_object_storage_are_written_packed_and_read_alike(
    object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_room, "MOST_SMALL_FILES", 5)
    folder = ResultsFolder.open(object_storage.uri("results"), "sweep")
    write_all(folder, [as_failed(RECORD), *RECORDS[1:]])
    folder.write("ledger/foreign.parquet", b"not a record")
    write_batch(folder, [RECORD])
    ledger = Ledger(folder)
    assert plain(ledger.read()) == by_key(RECORDS)
    ledger.set_aside_damaged()
    ledger.pack()
    names = folder.names("ledger")
    assert [name for name in names if not name.startswith("pack-")] == ["foreign.parquet.damaged"]
    assert plain(Ledger(folder).read()) == by_key(RECORDS)


def test_a_moved_ledger_reads_the_same(folder: ResultsFolder, tmp_path: Path) -> None:
    write_all(folder, RECORDS)
    shutil.move(folder.path, tmp_path / "elsewhere")
    moved = Ledger(ResultsFolder.open(tmp_path / "elsewhere"))
    assert plain(moved.read()) == by_key(RECORDS)


# What records are of


def test_the_test_images_come_back_as_they_were(folder: ResultsFolder) -> None:
    test_set = made_up_test_set()
    assert read_test_set(folder, test_set.fingerprint) is None
    write_test_set(folder, test_set)
    read = read_test_set(folder, test_set.fingerprint)
    assert read is not None
    assert (read.dataset, read.fingerprint, read.classes, read.image_shape) == (
        test_set.dataset,
        test_set.fingerprint,
        test_set.classes,
        test_set.image_shape,
    )
    for mine, theirs in ((read.images, test_set.images), (read.labels, test_set.labels)):
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)])
def test_test_images_keep_their_colours_and_the_names_of_their_classes(
    folder: ResultsFolder, shape: tuple[int, ...]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    plain = replace(made_up_test_set(), images=images, classes=2)
    named = replace(plain, class_names=("cat", "dog"))
    for written, names in ((plain, ("0", "1")), (named, ("cat", "dog")), (plain, ("0", "1"))):
        write_test_set(folder, written)
        read = read_test_set(folder, plain.fingerprint)
        assert read is not None
        assert read.names == names
        assert read.images.tolist() == images.tolist()
    assert not folder.exists(f"{folder.test_set(plain.fingerprint)}.damaged")


def without_labels() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=made_up_test_set().images, facts=np.array("{}"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 and then nothing", without_labels()], ids=["no archive", "no labels"]
)
def test_damaged_test_images_stay_until_a_sweep_writes_them_again(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    test_set = made_up_test_set()
    name = folder.test_set(test_set.fingerprint)
    folder.write(name, content)
    before = snapshot(folder)
    assert read_test_set(folder, test_set.fingerprint) is None
    assert f"{name} is damaged" in caplog.text
    assert snapshot(folder) == before
    write_test_set(folder, test_set)
    assert read_test_set(folder, test_set.fingerprint) is not None
    assert folder.exists(f"{name}.damaged")


def npz(**changes: Any) -> bytes:
    test_set = made_up_test_set()
    fields = {
        "dataset": test_set.dataset,
        "classes": test_set.classes,
        "fingerprint": test_set.fingerprint,
        **changes,
    }
    kept = {name: value for name, value in fields.items() if value is not None}
    buffer = io.BytesIO()
    np.savez(
        buffer, images=test_set.images, labels=test_set.labels, facts=np.array(json.dumps(kept))
    )
    return buffer.getvalue()


def test_test_images_of_another_version_are_read_or_an_error_that_says_so(
    folder: ResultsFolder,
) -> None:
    test_set = made_up_test_set()
    name = folder.test_set(test_set.fingerprint)
    folder.write(name, npz(licence="CC0"))
    read = read_test_set(folder, test_set.fingerprint)
    assert read is not None
    assert read.images.tolist() == test_set.images.tolist()
    folder.write(name, npz(classes=None))
    before = snapshot(folder)
    for use in (
        lambda: read_test_set(folder, test_set.fingerprint),
        lambda: write_test_set(folder, test_set),
    ):
        with pytest.raises(InputError, match="another version"):
            use()
    assert snapshot(folder) == before


def test_what_the_last_sweep_asked_for_is_known_until_it_is_damaged(folder: ResultsFolder) -> None:
    ledger = Ledger(folder)
    assert ledger.read_manifest() is None
    latest = SweepManifest("f" * 64, {"mine:build": "a" * 64})
    ledger.write_manifest(latest)
    assert ledger.read_manifest() == latest
    newer = {**asdict(latest), "python": "3.15"}
    folder.write(folder.latest, json.dumps(newer).encode())
    assert ledger.read_manifest() == latest
    for damage in (b"", b"[1]", json.dumps({"other": 1}).encode()):
        folder.write(folder.latest, damage)
        assert ledger.read_manifest() is None


def test_nothing_is_said_where_nothing_is_wrong(
    folder: ResultsFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="mnist_ray"):
        write_all(folder, RECORDS).pack()
        Ledger(folder).read()
    assert not caplog.records
