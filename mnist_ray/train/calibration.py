"""How fast this machine trains a cell: a few batches are timed in a child process."""

import contextlib
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Cell
from mnist_ray.train.environment import WORKER_ENVIRONMENT

if TYPE_CHECKING:
    from mnist_ray.data.dataset import Dataset

_BATCHES = 16


def calibrate(
    cells: Mapping[str, Cell], dataset_info: DatasetInfo, *, threads: int, code: Code
) -> dict[str, float]:
    """The estimated seconds of a trial of each cell on this machine, by the keys of `cells`.

    A child process trains each cell for a few batches, with `threads` threads as in a trial. A cell
    that fails there has no estimate.
    """
    request = pickle.dumps((dict(cells), dataset_info, threads, code))
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ray.train.calibration"],
        input=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **WORKER_ENVIRONMENT},
        check=False,
    )
    if done.returncode:
        return {}
    answer: dict[str, float] = pickle.loads(done.stdout)  # noqa: S301 (of our own child)
    return answer


def _measure(cell: Cell, dataset_info: DatasetInfo, code: Code) -> float:
    """Seconds of a whole trial, extrapolated from a few batches of noise."""
    from mnist_ray.plan.trial import Trial
    from mnist_ray.train.compiled_model import CompiledModelCache
    from mnist_ray.train.trial_run import TrialRun

    training, compiled_models = cell.training, CompiledModelCache()
    dataset = _noise(dataset_info, min(training.batch_size * _BATCHES, dataset_info.train_images))
    trial = Trial(cell, 0, 0, dataset.fingerprint)
    for _ in range(2):  # The first one pays for what happens once in a process.
        run = TrialRun(trial, dataset, compiled_models=compiled_models, code=code)
        run.train_epoch()
        validated = run.costs.evaluate_seconds or 0.0
        run.evaluate(cell.shift)
    share = 1 - training.validation_split
    here = math.floor(len(dataset.train_images) * share)
    there = math.floor(dataset_info.train_images * share)
    evaluated = (dataset_info.train_images - there) * training.epochs + dataset_info.test_images
    evaluation = (run.costs.evaluate_seconds or 0.0) - validated
    return (
        (run.costs.setup_seconds or 0.0)
        + (run.costs.train_seconds or 0.0) / here * there * training.epochs
        + evaluation / len(dataset.test_images) * evaluated
    )


def _noise(dataset_info: DatasetInfo, count: int) -> "Dataset":
    import numpy as np

    from mnist_ray.data.dataset import Dataset

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *dataset_info.image_size), dtype=np.uint8)
    labels = generator.integers(0, dataset_info.classes, count).astype(np.int32)
    labels[0] = dataset_info.classes - 1
    return Dataset("noise", images, labels, images, labels)


def _main() -> None:
    cells, dataset_info, threads, code = pickle.load(sys.stdin.buffer)  # noqa: S301 (of our own parent)
    # Nothing that the user's modules print may get into the answer.
    answer, sys.stdout = sys.stdout.buffer, sys.stderr
    from mnist_ray.train import device, trial_run  # noqa: F401 (imports come before configuring)

    device.configure(threads)
    measured = {}
    for key, cell in cells.items():
        # What is wrong with a cell is reported when its trials run.
        with contextlib.suppress(Exception):
            measured[key] = _measure(cell, dataset_info, code)
    pickle.dump(measured, answer)
    answer.flush()


if __name__ == "__main__":
    _main()
