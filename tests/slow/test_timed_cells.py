"""Cells are timed in a child process, which may end before its time."""

from pathlib import Path

from made_up import made_up_space
from walking import DATASET_INFO

from mnist_ray.space.custom_code import modules_of
from mnist_ray.train.calibration import Timing, time_cells

OWN = """
import os
import keras

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")
    ])

def fail(shape, classes):
    raise ValueError("no such luck")

def crash(shape, classes):
    os.write(2, b"driver: broken\\n")
    os._exit(7)
"""


def test_a_cell_that_ends_the_process_is_named_and_the_others_are_timed(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    names = {"before": "build", "broken": "fail", "ending": "crash", "after": "build"}
    space = made_up_space(
        {
            "architectures": {name: {"build": f"own:{builder}"} for name, builder in names.items()},
            "variants": {"centered": {}},
        }
    )
    cells = {cell.architecture: cell for cell in space.cells(DATASET_INFO.image_shape)}
    code = {cell.builder: modules_of(cell.builder, tmp_path) for cell in cells.values()}
    found = time_cells(cells, DATASET_INFO, code, gpus=False, batches=2)
    assert found["broken"] == "ValueError: no such luck"
    assert found["ending"] == "its process ended with exit code 7: driver: broken"
    for name in ("before", "after"):
        timing = found[name]
        assert isinstance(timing, Timing)
        assert timing.trial_seconds > 0
        assert timing.steps_per_second > 0
        assert timing.memory_bytes > 100 << 20
        assert (timing.gpu_memory_bytes, timing.xla_error) == (None, None)
