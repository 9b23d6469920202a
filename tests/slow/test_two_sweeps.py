"""Two sweeps into one folder at the same time."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Place, opened, records, wait, write_images, write_space

import mnist_ray

SPACE = {
    "name": "small",
    "dataset": "small.npz",
    "architectures": {
        "feed_forward": {"hidden_units": [32]},
        "cnn": {"filters": [4], "dense_units": 16},
    },
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "trials": 2,
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of four small cells and its images."""
    write_space(tmp_path / "small.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=1000, test=300)
    with opened(tmp_path) as place:
        yield place


def run_two(place: Place, *arguments: str) -> set[str]:
    """Run a command twice over at the same time; the indices of the trials that ran."""
    with place.start(*arguments) as first, place.start(*arguments) as second:
        endings = [wait(first), wait(second)]
    for ended in endings:
        assert ended.code == 0, ended
        assert ended.errors == ""
    return {name.split()[-1] for ended in endings for name in ended.recorded}


def test_both_end_well_and_each_trial_is_recorded_once(place: Place) -> None:
    assert run_two(place, "small.yaml") == {"0", "1"}
    folder = place.folder / "results/small"
    assert len(records(folder)) == 8
    assert len(mnist_ray.load_trials(folder)) == 8
    assert set(mnist_ray.load_report(folder).trials) == {2}


def test_a_moved_sweep_is_extended_without_running_anything_twice(place: Place) -> None:
    """Moved with its images, extended by a trial a cell, by two commands at once."""
    assert place.run("small.yaml").code == 0
    before = records(place.folder / "results/small")
    elsewhere = place.folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("results", "small.yaml", "small.npz"):
        shutil.move(place.folder / name, elsewhere / name)
    # Only the new trials of the cells; the two may run the same one if they start it at once.
    arguments = ["elsewhere/small.yaml", "--trials", "3", "--results", "elsewhere/results"]
    assert run_two(place, *arguments) == {"2"}
    after = records(elsewhere / "results/small")
    assert len(after) == 12
    assert before.items() <= after.items()
    assert set(mnist_ray.load_report(elsewhere / "results/small").trials) == {3}
