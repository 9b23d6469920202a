"""How fast this machine trains a cell: a few batches, timed in a child process."""

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
    """What a trial of each cell would take here, in seconds, by the same keys.

    A child process trains each for a few batches, with as many threads as a trial has. Cells that
    it fails on are left out.
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
    """Seconds of a whole trial, from a few batches of noise."""
    from mnist_ray.plan.trial import Trial
    from mnist_ray.train.compiled_model import CompiledModelCache
    from mnist_ray.train.trial_run import TrialRun

    batch = cell.training.batch_size
    compiled_models = CompiledModelCache()
    dataset = _noise(dataset_info, min(batch * _BATCHES, dataset_info.train_images))
    trial = Trial(cell, 0, 0, dataset.fingerprint)
    warm = TrialRun(trial, dataset, compiled_models=compiled_models, code=code)
    warm.train_epoch()
    warm.evaluate(cell.shift)
    run = TrialRun(trial, dataset, compiled_models=compiled_models, code=code)
    run.train_epoch()
    validated = run.costs.evaluate_seconds or 0.0
    run.evaluate(cell.shift)
    costs = run.costs
    split = cell.training.validation_split
    trained = math.floor(len(dataset.train_images) * (1 - split))
    train = (costs.train_seconds or 0.0) / trained
    evaluate = ((costs.evaluate_seconds or 0.0) - validated) / len(dataset.test_images)
    all_trained = math.floor(dataset_info.train_images * (1 - split))
    evaluated = (
        dataset_info.train_images - all_trained
    ) * cell.training.epochs + dataset_info.test_images
    return (
        (costs.setup_seconds or 0.0)
        + cell.training.epochs * all_trained * train
        + evaluated * evaluate
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
    # What a user's own code prints must not get into the answer.
    answer, sys.stdout = sys.stdout.buffer, sys.stderr
    from mnist_ray.train import device, trial_run  # noqa: F401 (imports come before configuring)

    device.configure(threads)
    measured = {}
    for key, cell in cells.items():
        # What is wrong with a cell is told when its trials run.
        with contextlib.suppress(Exception):
            measured[key] = _measure(cell, dataset_info, code)
    pickle.dump(measured, answer)
    answer.flush()


if __name__ == "__main__":
    _main()
