"""A ledger of batches through whole sweeps: storage that fails, and a file cut in half."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_storage import ObjectStorage
from running import Place, assert_same_figures, opened, records, wait, write_images, write_space

TRIALS = 600
SECONDS_AWAY = 20.0
SPACE = {
    "name": "tiny",
    "dataset": "tiny.npz",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}},
    "trials": TRIALS,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder with a search space of many short trials."""
    folder = tmp_path_factory.mktemp("work")
    write_space(folder / "tiny.yaml", SPACE)
    write_images(folder / "tiny.npz", train=200, test=100)
    with opened(folder) as place:
        yield place


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Path:
    """A sweep that nothing happened to."""
    ended = place.run("tiny.yaml", "--results", "undisturbed")
    assert ended.code == 0, ended
    return place.folder / "undisturbed" / "tiny"


def batches(folder: Path) -> list[Path]:
    return sorted((folder / "ledger").glob("batch-*.parquet"))


def test_many_trials_share_few_files(undisturbed: Path) -> None:
    assert len(records(undisturbed)) == TRIALS
    assert len(list((undisturbed / "ledger").glob("*.parquet"))) < TRIALS / 4


def test_a_batch_cut_in_half_is_set_aside_and_its_trials_run_again(
    place: Place, undisturbed: Path
) -> None:
    assert place.run("tiny.yaml", "--results", "cut").code == 0
    folder = place.folder / "cut" / "tiny"
    before = records(folder)
    cut = max(batches(folder), key=lambda path: path.stat().st_size)
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    left = records(folder)
    assert 0 < len(left) < TRIALS
    ended = place.run("tiny.yaml", "--results", "cut")
    assert ended.code == 0, ended
    assert f"{cut.name}.damaged" in ended.errors
    assert f"{len(left)} already recorded, {TRIALS - len(left)} to run" in ended.output
    assert cut.with_name(f"{cut.name}.damaged").exists()
    after = records(folder)
    assert before.keys() == after.keys()
    assert left.items() <= after.items()
    assert_same_figures(folder, undisturbed)


@pytest.fixture
def full_disk(place: Place) -> Iterator[Path]:
    """A results folder on a file system of its own that has little room."""
    folder = place.folder / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_sweep_and_the_next_command_goes_on(
    place: Place, full_disk: Path, undisturbed: Path
) -> None:
    ended = place.run("tiny.yaml", "--results", "full")
    assert ended.code == 1, ended
    assert "cannot be written" in ended.errors
    assert "No space left on device" in ended.errors
    assert "What was recorded is safe" in ended.errors
    assert "Traceback" not in ended.errors
    kept = records(full_disk / "tiny")
    assert 0 < len(kept) < TRIALS
    subprocess.run(["mount", "-o", "remount,size=100m", str(full_disk)], check=True)
    again = place.run("tiny.yaml", "--results", "full")
    assert again.code == 0, again
    assert f"{len(kept)} already recorded" in again.output
    assert kept.items() <= records(full_disk / "tiny").items()
    assert_same_figures(full_disk / "tiny", undisturbed)


def test_a_bucket_out_of_reach_for_a_while_costs_nothing(
    place: Place, object_storage: ObjectStorage, undisturbed: Path
) -> None:
    uri = object_storage.uri("sweeps")
    with place.start("tiny.yaml", "--results", uri) as process:
        assert process.stdout
        begin = ""
        while "trial 0:" not in begin:
            begin += process.stdout.readline()
        object_storage.go_away(process, SECONDS_AWAY)
        ended = wait(process)
    assert ended.code == 0, ended
    assert ended.errors == ""
    assert_same_figures(object_storage.uri("sweeps/tiny"), undisturbed)


def test_two_sweeps_into_one_folder_share_the_trials(place: Place, undisturbed: Path) -> None:
    arguments = ("tiny.yaml", "--results", "shared")
    with place.start(*arguments) as first, place.start(*arguments) as second:
        endings = [wait(first), wait(second)]
    for ended in endings:
        assert ended.code == 0, ended
        assert ended.errors == ""
    assert len(records(place.folder / "shared" / "tiny")) == TRIALS
    assert_same_figures(place.folder / "shared" / "tiny", undisturbed)
