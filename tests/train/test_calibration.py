"""Cells are timed in a child process; one that ends it: tests/slow/test_timed_cells.py."""

from pathlib import Path

from made_up import made_up_space
from walking import DATASET_INFO

from mnist_ray.space.custom_code import modules_of
from mnist_ray.space.space import Cell
from mnist_ray.train.calibration import calibrate, time_cells


def test_a_child_that_takes_too_long_is_ended() -> None:
    space = made_up_space({"architectures": {"feed_forward": {}}, "variants": {"centered": {}}})
    cells = {cell.name: cell for cell in space.cells(DATASET_INFO.image_shape)}
    found = time_cells(cells, DATASET_INFO, {}, limit_seconds=0.1)
    assert [*found.values()] == ["not done after 0.1 s"]


OWN = """
import keras
print("own code may talk")

def build(shape, classes, width):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(),
                             keras.layers.Dense(classes, activation="softmax")])

def fail(shape, classes):
    raise ValueError("no such luck")
"""


def test_a_few_batches_are_a_measure_of_a_trial(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    space = made_up_space(
        {
            "architectures": {
                "feed_forward": {},
                "mine": {"build": "own:build", "width": 3},
                "broken": {"build": "own:fail"},
            },
            "variants": {"centered": {}},
        }
    )
    cells: dict[str, Cell] = {
        cell.architecture: cell for cell in space.cells(DATASET_INFO.image_shape)
    }
    builders = [cell.builder for cell in cells.values() if ":" in cell.builder]
    code = {builder: modules_of(builder, tmp_path) for builder in builders}
    measured = calibrate(cells, DATASET_INFO, code)
    assert set(measured) == {"feed_forward", "mine"}  # what fails is left out
    assert all(0 < seconds < 60 for seconds in measured.values())
