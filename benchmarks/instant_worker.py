"""A worker whose trials end at once, with made-up figures: what is left is what the driver does."""

import os
from typing import Any

import numpy as np

from mnist_ray.ledger.record import Costs, Epoch, Evaluation, Status
from mnist_ray.plan.trial import Trial
from mnist_ray.run import worker
from mnist_ray.run.exchange import EndedTrial
from mnist_ray.run.worker import BlockWorker

_CLASSES = np.arange(200) % 10
_TEST = Evaluation.of(0, predictions=_CLASSES, truth=_CLASSES, loss=0.1)


class InstantTrial:
    """In place of a trial's execution."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def train_epoch(self) -> bool:
        """Train nothing."""
        return True

    def finish(self, *, with_model: bool) -> EndedTrial:
        """A record as large as a real one."""
        return EndedTrial(
            self.trial.record(
                "made-up",
                Status.FINISHED,
                parameters=1000,
                epochs=(Epoch(0.1, 0.9, 0.1, 0.9),),
                test=_TEST,
                costs=Costs(0.001, 0.001, 0.001, 400_000_000),
            )
        )


class InstantWorker(BlockWorker):
    """A worker without TensorFlow."""

    def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
        """Import nothing."""
        worker.TrialExecution = lambda trial, *_, **__: InstantTrial(trial)
        self._process, self._gpu_error = None, None
        self._environment = dict(os.environ)
        self._begin(config["block"])
