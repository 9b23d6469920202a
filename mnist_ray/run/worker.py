"""One trial after another inside a Ray worker, which stays: importing TensorFlow takes seconds."""

import gc
import importlib
import logging
import platform
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune
from ray.train._internal.checkpoint_manager import _TrainingResult
from ray.tune.result import DONE, SHOULD_CHECKPOINT, TRAINING_ITERATION

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.record import Record, RunEnvironment, Status, Versions
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.space.custom_code import Code

if TYPE_CHECKING:
    from mnist_ray.train.trial_run import TrialRun

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SharedInputs:
    """What all trials of a sweep share; it reaches the workers through Ray's object store.

    Attributes:
        dataset: the images.
        code: the modules of the user's own architectures.
        shifts: test sets that every model is graded on, beside its variant's own.
        checkpoint_seconds: time between the checkpoints of a long trial; None for no checkpoints.
        checkpoints: where they go, if there are other nodes that must reach them.
        git_commit: of the code, for the record.
    """

    dataset: Dataset
    code: Code
    shifts: tuple[int, ...]
    checkpoint_seconds: float | None
    checkpoints: ResultsFolder | None
    git_commit: str | None


@dataclass(frozen=True)
class TrialJob:
    """A trial to run, and how."""

    trial: Trial
    request: Request
    reports_epochs: bool = False
    """Whether every epoch is reported, so that the trial can be stopped after it."""

    def __repr__(self) -> str:
        return self.trial.key  # Ray Tune makes names of it.


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """Runs the trial in its configuration, under the key `job`.

    Its last result holds the trial's `record` and, for a finished one, its model. An exception in
    the trial ends in a record too: Ray Tune would take it for a lost process and try again.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the trial asks Ray for."""
        return tune.PlacementGroupFactory([config["job"].request.to_ray()])

    def setup(self, config: dict[str, Any], context: SharedInputs) -> None:
        """Import TensorFlow and set its threads."""
        request: Request = config["job"].request
        self._train = import_training()
        self._train.device.configure(request.cpus, gpus=request.gpus > 0)
        self._compiled_models = self._train.compiled_model.CompiledModelCache()
        self._context = context
        self._run: TrialRun | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for another trial."""
        self._run = None
        return True

    def step(self) -> dict[str, Any]:
        """Train until the trial ends, or until it is time for a checkpoint or a report."""
        try:
            return self._advance()
        except Exception as error:
            return {DONE: True, "record": self._failure(error)}

    def save(self, checkpoint_dir: str | None = None) -> _TrainingResult:
        """Checkpoint the trial; it goes on without one if that can't be written.

        Where nodes share no disk, past Tune's own folder: Tune would keep all of that on object
        storage, at the price of ten requests for every trial, however short.
        """
        self._checkpointed_at = time.monotonic()
        if self._context.checkpoints is None:
            return super().save(checkpoint_dir)
        metrics = {TRAINING_ITERATION: self.iteration}
        try:
            return _TrainingResult(self._share_checkpoint(self._context.checkpoints), metrics)
        except OSError:
            _LOG.exception("The checkpoint of trial %s can't be written", self._job)
            return _TrainingResult(None, metrics)

    def _share_checkpoint(self, checkpoints: ResultsFolder) -> tune.Checkpoint:
        epochs = len(self._run.epochs) if self._run else 0
        folder = checkpoints / f"{self._job.trial.key}-{epochs}"
        with tempfile.TemporaryDirectory() as temporary:
            self.save_checkpoint(temporary)
            for path in Path(temporary).iterdir():
                folder.write(path.name, path.read_bytes())
        return tune.Checkpoint(folder.path, folder.filesystem)

    def restore(self, checkpoint_path: Any) -> None:
        """Go on from a checkpoint, or from the start if it can't be read: that takes time only."""
        try:
            super().restore(checkpoint_path)
        except Exception:
            _LOG.exception("The checkpoint of trial %s can't be read", self._job)
            self._run = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write all that the trial needs to go on elsewhere."""
        if self._run:
            self._run.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from a checkpoint."""
        self._start().restore(Path(checkpoint_dir))

    @property
    def _job(self) -> TrialJob:
        return self.config["job"]  # type: ignore[no-any-return]

    def _start(self) -> "TrialRun":
        self._started_at = datetime.now(UTC)
        self._checkpointed_at = time.monotonic()
        self._run = self._train.trial_run.TrialRun(
            self._job.trial,
            self._context.dataset,
            compiled_models=self._compiled_models,
            code=self._context.code,
        )
        return self._run

    def _advance(self) -> dict[str, Any]:
        run = self._run or self._start()
        while not run.is_trained:
            run.train_epoch()
            if run.is_trained:
                break
            if self._job.reports_epochs:
                return {**self._report(run), SHOULD_CHECKPOINT: self._is_checkpoint_due()}
            if self._is_checkpoint_due():
                return {DONE: False, SHOULD_CHECKPOINT: True}
        return self._finish(run)

    def _is_checkpoint_due(self) -> bool:
        limit = self._context.checkpoint_seconds
        if limit is None or time.monotonic() - self._checkpointed_at < limit:
            return False
        return self._run is not None and self._run.is_restorable

    def _report(self, run: "TrialRun") -> dict[str, Any]:
        """Tell of an epoch; the record holds good if the trial is stopped here."""
        accuracy = run.epochs[-1].validation_accuracy
        record = self._record(run, Status.CUT_SHORT)
        return {DONE: False, "validation_accuracy": accuracy, "record": record}

    def _finish(self, run: "TrialRun") -> dict[str, Any]:
        own = run.trial.cell.shift
        others = [shift for shift in self._context.shifts if shift != own]
        evaluations = {shift: run.evaluate(shift) for shift in [own, *others]}
        test = evaluations.pop(own)
        record = self._record(
            run, Status.FINISHED, test=test, robustness=tuple(evaluations.values())
        )
        files = run.model_files()
        self._run = None
        return {
            DONE: True,
            "validation_accuracy": record.validation_accuracy,
            "record": record,
            # An array travels through the object store without being copied in between.
            "model": np.frombuffer(files.archive, np.uint8),
            "summary": files.summary,
        }

    def _record(self, run: "TrialRun", status: Status, **figures: Any) -> Record:
        return run.trial.record(
            self._context.dataset.name,
            status,
            parameters=run.parameters,
            epochs=tuple(run.epochs),
            costs=run.costs,
            setting=self._setting(),
            **figures,
        )

    def _failure(self, error: Exception) -> Record:
        run, self._run = self._run, None
        return self._job.trial.record(
            self._context.dataset.name,
            Status.FAILED,
            error=f"{type(error).__name__}: {error}",
            traceback=traceback.format_exc(),
            epochs=tuple(run.epochs) if run else (),
            setting=self._setting(),
        )

    def _setting(self) -> RunEnvironment:
        return RunEnvironment(
            started_at=self._started_at,
            node=platform.node(),
            device=self._train.device.device_name(),
            threads=self._job.request.cpus,
            versions=Versions.installed(),
            git_commit=self._context.git_commit,
        )


def import_training() -> ModuleType:
    """`mnist_ray.train` with its modules, and so TensorFlow, without what no trial needs.

    Keras also imports scikit-learn and matplotlib where they are installed, for wrappers and plots:
    a third of the time and 80 MB in each worker. It does without them where they are not; a user's
    own code still finds them afterwards. The garbage collector would look through the growing heap
    again and again and find nothing: another quarter of the time.
    """
    gc.disable()
    needless = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(needless))  # type: ignore[arg-type]
    try:
        for module in ("device", "compiled_model", "trial_run"):
            importlib.import_module(f"mnist_ray.train.{module}")
        return importlib.import_module("mnist_ray.train")
    finally:
        for name in needless:
            del sys.modules[name]
        gc.enable()
