"""Cells are timed in a child process; one that ends it: tests/slow/test_timed_cells.py."""

from made_up import made_up_space
from walking import DATASET_INFO

from mnist_ray.train.calibration import time_cells


def test_a_child_that_takes_too_long_is_ended() -> None:
    space = made_up_space({"architectures": {"feed_forward": {}}, "variants": {"centered": {}}})
    cells = {cell.name: cell for cell in space.cells(DATASET_INFO.image_shape)}
    found = time_cells(cells, DATASET_INFO, threads=1, code={}, limit_seconds=0.1)
    assert [*found.values()] == ["not done after 0.1 s"]
