"""What passes between the driver and its workers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.test_sets import TestSets
from mnist_ray.space.custom_code import Code


@dataclass(frozen=True, eq=False)
class SharedInputs:
    """What all trials of a sweep share. It reaches the workers through Ray's object store.

    Attributes:
        code: of the user's own architectures and transforms.
        tests: test sets that every model is evaluated on, beside its variant's own.
        checkpoint_seconds: time between the checkpoints of a long trial; infinite for none.
        checkpoints: where checkpoints go; every node that runs trials reaches it. On object storage
            models go there too, from where the driver moves them.
        git_commit: of the code, for the record.
    """

    dataset: Dataset
    code: Code
    tests: TestSets
    checkpoint_seconds: float
    checkpoints: ResultsFolder
    git_commit: str | None


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model that may be kept.

    Attributes:
        archive: in Keras' own format (.keras), uint8 [bytes]; None where the worker has written it
            to object storage. An array reaches the driver without being copied in between.
        summary: its layers and parameters as text.
    """

    archive: NDArray[np.uint8] | None
    summary: str


@dataclass(frozen=True, eq=False)
class EndedTrial:
    """How a trial ended. `model` is only there where it may be kept."""

    record: Record
    model: TrainedModel | None = None


Result = dict[str, Any]
"""Of a step of a worker's, as Ray Tune takes it; see `mnist_ray.run.worker.BlockWorker`."""
