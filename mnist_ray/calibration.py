"""How fast this machine trains a cell: a few batches, timed in a child process."""

import contextlib
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mnist_ray.facts import Facts
from mnist_ray.space import Cell

if TYPE_CHECKING:
    from mnist_ray.data import Dataset

_BATCHES = 16


def calibrate(
    cells: Mapping[str, Cell], facts: Facts, *, threads: int, folder: str | None
) -> dict[str, float]:
    """What a trial of each cell would take here, in seconds, by the same keys.

    A child process trains each for a few batches, with as many threads as a trial has. Cells that
    it fails on are left out.
    """
    from mnist_ray.connection import WORKER_ENVIRONMENT

    request = pickle.dumps((dict(cells), facts, threads, folder))
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ray.calibration"],
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


def _measure(cell: Cell, facts: Facts, folder: str | None) -> float:
    """Seconds of a whole trial, from a few batches of noise."""
    from pathlib import Path

    from mnist_ray import training
    from mnist_ray.trial import Trial

    batch = cell.training.batch_size
    programs = training.Programs()
    dataset = _noise(facts, min(batch * _BATCHES, facts.train_images))
    trial = Trial(cell, 0, 0, dataset.fingerprint)
    place = Path(folder) if folder else None
    warm = training.TrialRun(trial, dataset, programs=programs, folder=place)
    warm.train_epoch()
    warm.grade(cell.shift)
    run = training.TrialRun(trial, dataset, programs=programs, folder=place)
    run.train_epoch()
    validated = run.costs.evaluate_seconds or 0.0
    run.grade(cell.shift)
    costs = run.costs
    split = cell.training.validation_split
    trained = math.floor(len(dataset.train_images) * (1 - split))
    train = (costs.train_seconds or 0.0) / trained
    grade = ((costs.evaluate_seconds or 0.0) - validated) / len(dataset.test_images)
    all_trained = math.floor(facts.train_images * (1 - split))
    graded = (facts.train_images - all_trained) * cell.training.epochs + facts.test_images
    return (
        (costs.setup_seconds or 0.0) + cell.training.epochs * all_trained * train + graded * grade
    )


def _noise(facts: Facts, count: int) -> "Dataset":
    import numpy as np

    from mnist_ray.data import Dataset

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *facts.image_size), dtype=np.uint8)
    labels = generator.integers(0, facts.classes, count).astype(np.int32)
    labels[0] = facts.classes - 1
    return Dataset("noise", images, labels, images, labels)


def _main() -> None:
    cells, facts, threads, folder = pickle.load(sys.stdin.buffer)  # noqa: S301 (of our own parent)
    # What a user's own code prints must not get into the answer.
    answer, sys.stdout = sys.stdout.buffer, sys.stderr
    from mnist_ray import training

    training.configure(threads)
    measured = {}
    for key, cell in cells.items():
        # What is wrong with a cell is told when its trials run.
        with contextlib.suppress(Exception):
            measured[key] = _measure(cell, facts, folder)
    pickle.dump(measured, answer)
    answer.flush()


if __name__ == "__main__":
    _main()
