"""A Ray worker that runs one trial after another.

The process stays for the next trial, since importing TensorFlow takes seconds.
"""

import contextlib
import gc
import importlib
import io
import logging
import os
import platform
import sys
import tempfile
import time
import traceback
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune
from ray.tune.result import DONE

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.record import Record, RunEnvironment, Status, Versions
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.run.machine import gpu_driver
from mnist_ray.space.custom_code import Code
from mnist_ray.train.environment import restore

if TYPE_CHECKING:
    from mnist_ray.train.trial_run import TrialRun

_LOG = logging.getLogger(__name__)
_GPU_ERRORS = ("ResourceExhaustedError", "InternalError")
"""TensorFlow's errors for a GPU that has no memory left, or whose libraries broke down."""


@dataclass(frozen=True, eq=False)
class SharedInputs:
    """What all trials of a sweep share. It reaches the workers through Ray's object store.

    Attributes:
        dataset: the images.
        code: the modules of the user's own architectures.
        shifts: test sets that every model is evaluated on, beside its variant's own.
        checkpoint_seconds: time between the checkpoints of a long trial; None for no checkpoints.
        checkpoints: where checkpoints go; every node that runs trials reaches it.
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
    """A trial to run, and how.

    Attributes:
        trial: which.
        request: what it is given of the machine.
        reports_epochs: whether every epoch is reported, so that the trial can be stopped after it.
        resumes: whether the trial was started before and lost its process, so that there may be a
            checkpoint to go on from.
    """

    trial: Trial
    request: Request
    reports_epochs: bool = False
    resumes: bool = False

    def __repr__(self) -> str:
        return self.trial.key  # Ray Tune makes names of it.


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """Runs the trial in its configuration, under the key `job`.

    The trial's last result holds its `record` and, if it finished, its `model`. An exception in the
    trial ends in a record too; only the loss of the process reaches Ray Tune as an error.

    Two results hold something else. `missing_gpu` says that TensorFlow sees no GPU although the
    trial was given one. `gpu_error` says that the GPU ran out of memory or broke down: the process
    can't be used any more, and ends with the next step.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """What the trial asks Ray for.

        Ray Tune reuses a worker for trials with an equal request. A custom architecture may change
        Keras itself in its worker, so its trials ask for less memory, by up to 1 MiB: an amount
        that follows from its code, so that other trials get other workers.
        """
        job: TrialJob = config["job"]
        bundle = job.request.to_ray()
        if job.trial.source_digest:
            bundle["memory"] -= _bytes_less(job.trial)
        return tune.PlacementGroupFactory([bundle])

    def setup(self, config: dict[str, Any], context: SharedInputs) -> None:
        """Import TensorFlow and set its threads."""
        request: Request = config["job"].request
        if not request.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._train = import_training()
        self._train.device.configure(request.cpus, gpus=request.gpus > 0)
        self._compiled_models = self._train.compiled_model.CompiledModelCache()
        self._context = context
        self._run: TrialRun | None = None
        self._gpu_error: Exception | None = None
        self._gpu_versions: dict[str, str | None] = {}
        if request.gpus:
            self._gpu_versions = {
                "gpu_driver_version": gpu_driver(),
                "cudnn_version": self._train.device.cudnn_version(),
            }
        self._environment = dict(os.environ)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for another trial, of the same code where that is the user's."""
        self._run = None
        restore(self._environment)
        return True

    def step(self) -> dict[str, Any]:
        """Train until the trial ends, or until an epoch is to be reported."""
        if self._gpu_error:
            raise self._gpu_error
        if self._job.request.gpus and self._train.device.device_name() == "CPU":
            return {DONE: True, "missing_gpu": self._missing_gpu()}
        try:
            return self._advance()
        except Exception as error:
            if self._job.request.gpus and type(error).__name__ in _GPU_ERRORS:
                self._gpu_error = error
                return {DONE: False, "gpu_error": f"{type(error).__name__}: {error}"}
            return {DONE: True, "record": self._failure(error)}

    def _missing_gpu(self) -> str:
        given, visible = self._job.request.gpus, os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        return (
            f"{platform.node()}: Ray gave a trial {given:g} of a GPU (CUDA_VISIBLE_DEVICES: "
            f"{visible}), but TensorFlow {Versions.installed().tensorflow_version} sees no GPU "
            "there. Install the NVIDIA driver and `pip install 'mnist-ray[cuda]'` on that machine "
            "(`mnist-ray doctor` says what is missing), or run without GPUs: "
            "--gpus-per-trial 0."
        )

    @property
    def _job(self) -> TrialJob:
        return self.config["job"]  # type: ignore[no-any-return]

    def _start(self) -> "TrialRun":
        self._started_at = datetime.now(UTC)
        self._checkpointed_at = time.monotonic()
        self._has_checkpoint = False
        self._run = self._new_run()
        if self._job.resumes and self._context.checkpoints is not None:
            try:
                self._restore(self._run, self._context.checkpoints)
            except Exception:  # That costs time only; what it raises depends on what is damaged.
                _LOG.exception("The checkpoint of trial %s can't be read", self._job)
                self._run = self._new_run()
        return self._run

    def _new_run(self) -> "TrialRun":
        run: TrialRun = self._train.trial_run.TrialRun(
            self._job.trial,
            self._context.dataset,
            compiled_models=self._compiled_models,
            code=self._context.code,
        )
        return run

    def _advance(self) -> dict[str, Any]:
        run = self._run or self._start()
        while not run.is_trained:
            run.train_epoch()
            if run.is_trained:
                break
            if self._is_checkpoint_due():
                self._save(run)
            if self._job.reports_epochs:
                return self._report(run)
        return self._finish(run)

    def _report(self, run: "TrialRun") -> dict[str, Any]:
        """An epoch, with the trial's record in case it is stopped here."""
        return {
            DONE: False,
            "epochs": len(run.epochs),
            "validation_accuracy": run.epochs[-1].validation_accuracy,
            "record": self._record(run, Status.CUT_SHORT),
        }

    def _finish(self, run: "TrialRun") -> dict[str, Any]:
        own = run.trial.cell.shift
        shifts = () if run.trial.source else self._context.shifts
        others = [shift for shift in shifts if shift != own]
        evaluations = {shift: run.evaluate(shift) for shift in [own, *others]}
        test = evaluations.pop(own)
        record = self._record(
            run, Status.FINISHED, test=test, robustness=tuple(evaluations.values())
        )
        files = run.model_files()
        self._run = None
        self._drop_checkpoint()
        return {
            DONE: True,
            "epochs": len(record.epochs),
            "validation_accuracy": record.validation_accuracy,
            "record": record,
            # An array travels through the object store without being copied in between.
            "model": np.frombuffer(files.archive, np.uint8),
            "summary": files.summary,
        }

    def _is_checkpoint_due(self) -> bool:
        limit = self._context.checkpoint_seconds
        if limit is None or time.monotonic() - self._checkpointed_at < limit:
            return False
        return self._run is not None and self._run.is_restorable

    @property
    def _checkpoint(self) -> str:
        return f"{self._job.trial.key}.zip"

    def _save(self, run: "TrialRun") -> None:
        """Write all that the trial needs to go on in another process.

        One file, so that it is there as a whole or not at all. Without it the trial goes on.
        """
        self._checkpointed_at = time.monotonic()
        if self._context.checkpoints is None:
            return
        archive = io.BytesIO()
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(archive, "w") as packed:
            run.save(Path(temporary))
            for path in Path(temporary).iterdir():
                packed.write(path, path.name)
        try:
            self._context.checkpoints.write(self._checkpoint, archive.getbuffer())
            self._has_checkpoint = True
        except OSError:
            _LOG.exception("The checkpoint of trial %s can't be written", self._job)

    def _restore(self, run: "TrialRun", checkpoints: ResultsFolder) -> None:
        """Go on from the last checkpoint, if there is one."""
        try:
            content = checkpoints.read(self._checkpoint)
        except FileNotFoundError:
            return
        self._has_checkpoint = True
        with tempfile.TemporaryDirectory() as temporary:
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                packed.extractall(temporary)
            run.restore(Path(temporary))

    def _drop_checkpoint(self) -> None:
        if self._has_checkpoint and self._context.checkpoints is not None:
            with contextlib.suppress(OSError):  # All are deleted when the sweep ends.
                self._context.checkpoints.delete(self._checkpoint)

    def _record(self, run: "TrialRun", status: Status, **figures: Any) -> Record:
        return run.trial.record(
            self._context.dataset.name,
            status,
            parameters=run.parameters,
            epochs=tuple(run.epochs),
            costs=run.costs,
            setting=self._setting(run),
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
            setting=self._setting(run),
        )

    def _setting(self, run: "TrialRun | None") -> RunEnvironment:
        return RunEnvironment(
            started_at=self._started_at,
            node=platform.node(),
            device=self._train.device.device_name(),
            threads=self._job.request.cpus,
            versions=Versions.installed(),
            git_commit=self._context.git_commit,
            xla_error=run.xla_error if run else None,
            **self._gpu_versions,
        )


def _bytes_less(trial: Trial) -> int:
    """Between 1 byte and 1 MiB."""
    code = digest({"builder": trial.cell.builder, "source": trial.source_digest})
    return 1 + int(code, 16) % (1 << 20)


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
        for module in ("device", "compiled_model", "trial_run"):
            importlib.import_module(f"mnist_ray.train.{module}")
        return importlib.import_module("mnist_ray.train")
    finally:
        for name in needless:
            del sys.modules[name]
        gc.enable()
