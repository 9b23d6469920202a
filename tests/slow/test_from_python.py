"""Sweeps from Python, as a notebook runs them: the process goes on afterwards."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Place, opened, write_images, write_space

SPACE = {
    "name": "small",
    "dataset": "small.npz",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}},
    "trials": 2,
}
PROGRAM = """
import os
before = dict(os.environ)
import mnist_ray
from mnist_ray.errors import InputError
result = mnist_ray.run_sweep("small.yaml", quiet=True, log=["tensorboard"])
assert result.exit_code == 0, result
after = dict(os.environ)
print("changed:", sorted(n for n in {*before, *after} if before.get(n) != after.get(n)))
import ray
ray.init(num_cpus=1, log_to_driver=False)
try:
    mnist_ray.run_sweep("small.yaml", trials=3, quiet=True)
except InputError as error:
    print("refused:", error)
print("still there:", ray.is_initialized())
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    write_space(tmp_path / "small.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=300, test=100)
    with opened(tmp_path) as place:
        yield place


def test_a_sweep_leaves_the_environment_as_it_was_and_a_ray_that_runs_alone(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done
    changed, refused, there = done.stdout.splitlines()[-3:]
    assert changed == "changed: []"
    assert refused.startswith("refused: Ray already runs in this process")
    assert there == "still there: True"
    assert place.orphans() == []
