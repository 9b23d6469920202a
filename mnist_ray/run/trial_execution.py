"""One trial in a worker, from its start or its checkpoint to its record."""

import contextlib
import io
import logging
import platform
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_ray.ledger.record import Record, RunEnvironment, Status, Versions
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.run.exchange import EndedTrial, SharedInputs, TrainedModel
from mnist_ray.run.machine import gpu_driver

if TYPE_CHECKING:
    from mnist_ray.train.trial_run import TrialRun

_LOG = logging.getLogger(__name__)


class TrainingProcess:
    """What stays in a worker from one trial to the next.

    Attributes:
        train: the package `mnist_ray.train`, imported.
        setting: what records say of this process; to find it out takes milliseconds.
    """

    def __init__(self, train: ModuleType, inputs: SharedInputs, request: Request) -> None:
        self.train, self.inputs = train, inputs
        self.compiled_models = train.compiled_model.CompiledModelCache()
        self.test_images = train.transforms.TestImageCache()
        self.setting = RunEnvironment(
            started_at=datetime.now(UTC),
            node=platform.node(),
            device=train.device.device_name(),
            threads=request.cpus,
            versions=Versions.installed(),
            git_commit=inputs.git_commit,
            gpu_driver_version=gpu_driver() if request.gpus else None,
            cudnn_version=train.device.cudnn_version() if request.gpus else None,
        )


class TrialExecution:
    """A trial that runs in this process."""

    def __init__(self, trial: Trial, process: TrainingProcess, *, resumes: bool) -> None:
        """Make ready; with `resumes` to go on from a checkpoint, if there is one."""
        self.trial, self._process, self._resumes = trial, process, resumes
        self._started_at = datetime.now(UTC)
        self._checkpoint = _Checkpoint(trial.key, process.inputs)
        self._run: TrialRun | None = None

    def train_epoch(self) -> bool:
        """Train for another epoch; whether it was the last one."""
        run = self._begun()
        if not run.is_trained:
            run.train_epoch()
        if not run.is_trained:
            self._checkpoint.save_if_due(run)
        return run.is_trained

    def _begun(self) -> "TrialRun":
        if self._run is None:
            self._run = self._new_run()
            if self._resumes and not self._checkpoint.restore(self._run):
                self._run = self._new_run()
        return self._run

    def _new_run(self) -> "TrialRun":
        run: TrialRun = self._process.train.trial_run.TrialRun(
            self.trial,
            self._process.inputs.dataset,
            compiled_models=self._process.compiled_models,
            test_images=self._process.test_images,
            code=self._process.inputs.code,
        )
        return run

    def finish(self, *, with_model: bool) -> EndedTrial:
        """Grade the trained model, and hand it over too if asked to."""
        run, inputs = self._begun(), self._process.inputs
        record = self._record(
            Status.FINISHED,
            test=run.evaluate(self.trial.cell.shift),
            robustness=run.evaluate_others(inputs.tests),
        )
        model = _handed_over(run, inputs.checkpoints) if with_model else None
        self._checkpoint.drop()
        return EndedTrial(record, model)

    def cut_short(self) -> Record:
        """The trial's record in case it is stopped after this epoch."""
        return self._record(Status.CUT_SHORT)

    def failure(self, error: Exception) -> EndedTrial:
        """How the trial ended with `error`, which is being handled."""
        return EndedTrial(
            self.trial.record(
                self._process.inputs.dataset.name,
                Status.FAILED,
                error=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(),
                epochs=tuple(self._run.epochs) if self._run else (),
                setting=self._setting(),
            )
        )

    def _record(self, status: Status, **figures: Any) -> Record:
        run = self._begun()
        return self.trial.record(
            self._process.inputs.dataset.name,
            status,
            parameters=run.parameters,
            epochs=tuple(run.epochs),
            costs=run.costs,
            setting=self._setting(),
            **figures,
        )

    def _setting(self) -> RunEnvironment:
        xla_error = self._run.xla_error if self._run else None
        return replace(self._process.setting, started_at=self._started_at, xla_error=xla_error)


class _Checkpoint:
    """All that a trial needs to go on in another process; without it the trial starts again.

    It is one file, so that it is there as a whole or not at all.
    """

    def __init__(self, key: str, inputs: SharedInputs) -> None:
        self._folder, self._name = inputs.checkpoints, f"{key}.npz"
        self._interval = inputs.checkpoint_seconds
        self._saved_at = time.monotonic()
        self._exists = False

    def save_if_due(self, run: "TrialRun") -> None:
        """Write it, if it is time to."""
        if time.monotonic() - self._saved_at < self._interval or not run.is_restorable:
            return
        self._saved_at = time.monotonic()
        file = io.BytesIO()
        run.save(file)
        try:
            self._folder.write(self._name, file.getbuffer())
            self._exists = True
        except OSError:
            _LOG.exception("The checkpoint of trial %s cannot be written", run.trial.key)

    def restore(self, run: "TrialRun") -> bool:
        """Go on from it, if there is one; whether `run` can be used.

        A damaged one costs time only.
        """
        try:
            content = self._folder.read(self._name)
        except FileNotFoundError:
            return True
        except OSError:
            _LOG.exception("The checkpoint of trial %s cannot be read", run.trial.key)
            return True
        self._exists = True
        try:
            run.restore(io.BytesIO(content))
        except Exception:  # What it raises depends on what is damaged.
            _LOG.exception("The checkpoint of trial %s cannot be read", run.trial.key)
            return False
        return True

    def drop(self) -> None:
        """Delete it, if there is one."""
        if self._exists:
            with contextlib.suppress(OSError):  # All are deleted when the sweep ends.
                self._folder.delete(self._name)


def _handed_over(run: "TrialRun", folder: ResultsFolder) -> TrainedModel | None:
    """The model, as it reaches the driver; None where object storage does not take it."""
    archive, summary = run.model_files()
    if folder.is_local:
        return TrainedModel(np.frombuffer(archive, np.uint8), summary)
    try:
        folder.write(folder.arriving_model(run.trial.key), archive)
    except OSError:
        _LOG.exception("The model of trial %s cannot be written", run.trial.key)
        return None
    return TrainedModel(None, summary)
