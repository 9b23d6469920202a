"""A Ray worker that runs one block of trials after another.

The process stays for the next block, since importing TensorFlow takes seconds.
"""

import gc
import importlib
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from ray import tune
from ray.tune.result import DONE

from mnist_ray.ledger.identity import JSON, digest
from mnist_ray.ledger.record import Record
from mnist_ray.plan.block import Block
from mnist_ray.plan.resources import Request
from mnist_ray.run.exchange import EndedTrial, Result, SharedInputs
from mnist_ray.run.trial_execution import TrainingProcess, TrialExecution
from mnist_ray.train.environment import restore

_GPU_ERRORS = ("ResourceExhaustedError", "InternalError")
"""TensorFlow's errors for a GPU that has no memory left, or whose libraries broke down."""
LONGEST_WAIT_SECONDS = 0.5
"""How long an ended trial may wait for those after it. Writing its record takes as long again."""


class BlockWorker(tune.Trainable):  # type: ignore[misc]
    """Runs the trials of the block in its configuration, under the key `block`.

    Each result has a list `ended` of `EndedTrial`: those that ended since the last result. An
    exception in a trial ends in a record too; only the loss of the process reaches Ray Tune as an
    error. After an epoch that is reported, `cut_short` is the record of the trial in case that it
    is stopped there.

    Two results hold something else. `missing_gpu` says that TensorFlow sees no GPU although the
    block was given one. `gpu_error` says that the GPU ran out of memory or broke down under the
    first trial that has not ended: the process is of no more use, and ends with the next step.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the block asks Ray for.

        Ray Tune reuses a worker for blocks with an equal request. The user's own code may change
        Keras itself in its worker. Trials that run such code therefore ask for up to 1 MiB less
        memory, an amount that follows from the code, so that trials of other code get other
        workers.
        """
        block: Block = config["block"]
        bundle = block.request.to_ray()
        bundle["memory"] -= _bytes_less(block)
        return tune.PlacementGroupFactory([bundle])

    def setup(self, config: dict[str, Any], context: SharedInputs) -> None:
        """Import TensorFlow and set its threads."""
        request: Request = config["block"].request
        if not request.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        train = import_training()
        train.device.configure(request.cpus, gpus=request.gpus > 0)
        self._process = TrainingProcess(train, context, request)
        self._gpu_error: Exception | None = None
        self._environment = dict(os.environ)
        self._begin(config["block"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for another block, of the same code where that is the user's."""
        self._begin(new_config["block"])
        return True

    def _begin(self, block: Block) -> None:
        self._block = block
        self._left = deque(block.trials)
        self._models_below = block.models_below
        self._execution: TrialExecution | None = None

    def step(self) -> Result:
        """Run trials until what has ended is to be handed over, or an epoch to be reported."""
        if self._gpu_error:
            raise self._gpu_error
        gpus = self._block.request.gpus
        if gpus and self._process.setting.device == "CPU":
            return {DONE: True, "missing_gpu": self._missing_gpu()}
        ended: list[EndedTrial] = []
        ended_at = [time.monotonic()]
        while self._left and not _is_wait_over(ended_at):
            execution = self._under_way()
            try:
                if not self._train(execution):
                    record = execution.cut_short()
                    return {DONE: False, "cut_short": record, **_figures(record)}
                ended.append(self._finish(execution))
            except Exception as error:
                if gpus and type(error).__name__ in _GPU_ERRORS:
                    self._gpu_error = error
                    text = f"{type(error).__name__}: {error}"
                    return {DONE: False, "ended": ended, "gpu_error": text}
                ended.append(execution.failure(error))
            self._left.popleft()
            self._execution = None
            ended_at.append(time.monotonic())
        return {DONE: not self._left, "ended": ended, **_figures(ended[-1].record)}

    def _under_way(self) -> TrialExecution:
        """The first trial that has not ended, which begins here unless an epoch was reported."""
        if self._execution is None:
            restore(self._environment)
            trial, resumes = self._left[0], self._block.resumes
            self._execution = TrialExecution(trial, self._process, resumes=resumes)
        return self._execution

    def _train(self, execution: TrialExecution) -> bool:
        """Train to the last epoch, or for one that is to be reported; whether it was the last."""
        while not execution.train_epoch():
            if self._block.reports_epochs:
                return False
        return True

    def _finish(self, execution: TrialExecution) -> EndedTrial:
        """The first trial of a block that finishes is the lowest: only its model may be kept."""
        ended = execution.finish(with_model=execution.trial.index < self._models_below)
        self._models_below = 0
        return ended

    def _missing_gpu(self) -> str:
        given, versions = self._block.request.gpus, self._process.setting.versions
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        return (
            f"{platform.node()}: Ray gave a trial {given:g} of a GPU (CUDA_VISIBLE_DEVICES: "
            f"{visible}), but TensorFlow {versions.tensorflow_version} sees no GPU "
            "there. Install the NVIDIA driver and `pip install 'mnist-ray[cuda]'` on that machine "
            "(`mnist-ray doctor` says what is missing), or run without GPUs: "
            "--gpus-per-trial 0."
        )


def _is_wait_over(ended_at: Sequence[float]) -> bool:
    """Whether the first trial would wait too long, if the next takes as long as the last.

    `ended_at` are the seconds at which the step began and at which each of its trials ended.
    """
    if len(ended_at) < 2:
        return False
    next_end = 2 * ended_at[-1] - ended_at[-2]
    return next_end - ended_at[1] > LONGEST_WAIT_SECONDS


def _figures(record: Record) -> Result:
    """What early stopping looks at."""
    return {"epochs": len(record.epochs), "validation_accuracy": record.validation_accuracy}


def _bytes_less(block: Block) -> int:
    """Between 1 byte and 1 MiB, by all of the user's code that the trials run; 0 for none."""
    trial, transforms = block.first, dict(block.test_code)
    if trial.cell.transform:
        transforms[trial.cell.transform.function] = trial.transform_digest
    if trial.source_digest is None and not transforms:
        return 0
    code: JSON = {"builder": trial.cell.builder, "source": trial.source_digest}
    if transforms:
        code = {"builder": trial.source_digest and code, "transforms": transforms}
    return 1 + int(digest(code), 16) % (1 << 20)


def import_training() -> ModuleType:
    """`mnist_ray.train` with its modules, and so TensorFlow, without what no trial needs.

    Where scikit-learn and matplotlib are installed, Keras imports them for wrappers and plots. That
    takes a third of the time and 80 MB in each worker. They are hidden from it here; a user's own
    code can import them afterwards. The garbage collector is off meanwhile: it would search the
    growing heap again and again and find nothing, for another quarter of the time.
    """
    gc.disable()
    needless = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(needless))  # type: ignore[arg-type]
    try:
        for module in ("device", "compiled_model", "transforms", "trial_run"):
            importlib.import_module(f"mnist_ray.train.{module}")
        return importlib.import_module("mnist_ray.train")
    finally:
        for name in needless:
            del sys.modules[name]
        gc.enable()
