"""What becomes of the trials that Ray Tune runs: records, models, and what is run again."""

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.util import placement_group_table

from mnist_ray.errors import InputError
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Costs, Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.device_kinds import check_joins, device_of, devices_of
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run.connection import PATIENCE_SECONDS
from mnist_ray.run.worker import TrialJob

_LOG = logging.getLogger(__name__)

LOST_PROCESS_RETRIES = 3
"""How often a trial is started again after its process was lost."""


class Listener(Protocol):
    """Hears how a sweep goes."""

    def recorded(self, record: Record, *, left: int) -> None:
        """A trial has ended and its record is kept; `left` are known to be still to run."""

    def lost(self, trial: Trial, reason: str) -> None:
        """A trial's process is gone; the trial is started again."""

    def waiting(self, request: Request) -> None:
        """No trial runs, because no node has room for one."""


class Recorder(tune.Callback):  # type: ignore[misc]
    """Gives Ray Tune its trials, and takes in how each ends.

    A trial's record is written the moment that it ends. Every trial of Ray Tune's is one attempt:
    Ray Tune repeats none. What is run again, and how often, is decided here alone.

    Attributes:
        error: the first error in here. It ends the sweep, whatever Ray Tune makes of it: Ray Tune
            takes some errors of callbacks for failures of the trial.
    """

    def __init__(
        self,
        queue: TrialQueue,
        *,
        dataset: str,
        allocator: ResourceAllocator,
        folder: ResultsFolder,
        ledger: Ledger,
        listener: Listener,
        devices: Iterable[str] = (),
        nodes_may_join: bool = False,
    ) -> None:
        self._queue, self._dataset, self._allocator = queue, dataset, allocator
        self._ledger, self._listener = ledger, listener
        self._models = _ModelKeeper(folder, queue.records)
        self._room = _RoomWatch(listener) if nodes_may_join else None
        self._running: set[str] = set()
        """Trials of Ray Tune's that a worker has begun."""
        self._stopped: dict[str, Record] = {}
        """By trial of Ray Tune's, the record that holds if it is stopped now."""
        self._started: set[str] = set()
        """Keys of the trials that were started, whether or not they ended."""
        self._losses: dict[str, list[str]] = {}
        """By key of a trial, what Ray reported of each of its processes that were lost."""
        self._gpu_errors: dict[str, str] = {}
        """By trial of Ray Tune's, how its GPU failed; its process is about to end."""
        self._devices = {*devices, *devices_of(queue.plan, queue.records)}
        self._enlarged: set[str] = set()
        """Keys of the cells of which a larger share of a GPU was reported."""
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune saves callbacks for resuming, which the ledger makes needless."""
        return {}

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing is left to run."""
        return not self._queue.left

    def next_job(self) -> TrialJob | None:
        """The next trial to run, if there is one now."""
        with self._keeping_errors():
            while (trial := self._queue.next()) is not None:
                known = self._ledger.find(trial.key)
                if known is not None and self._queue.is_done(trial, known):
                    # Another sweep into the same folder has run it meanwhile.
                    self._check_device(known)
                    self._queue.complete(known)
                    continue
                resumes = trial.key in self._started
                self._started.add(trial.key)
                request, may_stop = self._allocator.request(trial), self._queue.may_stop(trial)
                return TrialJob(trial, request, reports_epochs=may_stop, resumes=resumes)
        return None

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """End the sweep if something went wrong; look whether trials wait for room."""
        with self._keeping_errors():
            if self._room:
                self._room.look(trials, is_idle=not self._running)

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Remember that something runs."""
        self._running.add(trial.trial_id)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Record a trial that has ended, or keep what holds if it is stopped now."""
        with self._keeping_errors():
            if "missing_gpu" in result:
                raise InputError(result["missing_gpu"])
            if "gpu_error" in result:
                self._gpu_errors[trial.trial_id] = result["gpu_error"]
                return
            record: Record | None = result.get("record")
            if record is None:
                return
            if record.status is Status.CUT_SHORT:
                self._stopped[trial.trial_id] = record
            else:
                self._stopped.pop(trial.trial_id, None)
                if "model" in result:
                    self._models.keep(record, memoryview(result["model"]), result["summary"])
                self._settle(record)
            # Ray Tune keeps the last result of every trial until the end: take out what is large.
            for name in ("record", "model", "summary"):
                result.pop(name, None)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Record a trial that was stopped early."""
        with self._keeping_errors():
            self._running.discard(trial.trial_id)
            record = self._stopped.pop(trial.trial_id, None)
            if record is not None:
                self._settle(record)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Run a trial again whose process ended before it, as long as there is hope."""
        with self._keeping_errors():
            self._running.discard(trial.trial_id)
            self._stopped.pop(trial.trial_id, None)
            job: TrialJob = trial.config["job"]
            gpu_error = self._gpu_errors.pop(trial.trial_id, None)
            if gpu_error is None:
                self._lose(job.trial, _account(trial))
            elif self._allocator.enlarge_gpu_share(job.trial, job.request):
                self._queue.requeue(job.trial)
                self._warn_of_larger_share(job)
            elif gpu_error.startswith("ResourceExhaustedError"):
                self._fail(job.trial, f"a GPU of its own is too small for it: {gpu_error}")
            else:
                self._lose(job.trial, gpu_error)

    def _warn_of_larger_share(self, job: TrialJob) -> None:
        trial, share = job.trial, self._allocator.request(job.trial).gpus
        if trial.cell_key not in self._enlarged:
            self._enlarged.add(trial.cell_key)
            _LOG.warning(
                "%s %s: a GPU ran out of memory with %g of it for each trial. This trial and those "
                "to come get %g, and more if that is too little, so fewer run side by side.",
                trial.cell.architecture,
                trial.cell.variant,
                job.request.gpus,
                share,
            )

    def _lose(self, lost: Trial, account: str) -> None:
        losses = self._losses.setdefault(lost.key, [])
        losses.append(account)
        if len(losses) <= LOST_PROCESS_RETRIES:
            self._queue.requeue(lost)
            self._listener.lost(lost, _reason(account))
            return
        accounts = (f"Failure # {number}\n{text}" for number, text in enumerate(losses, start=1))
        reason = f"process lost {len(losses)} times: {_reason(account)}"
        self._fail(lost, reason, traceback="\n".join(accounts))

    def _fail(self, trial: Trial, error: str, *, traceback: str | None = None) -> None:
        failed = trial.record(
            self._dataset, Status.FAILED, error=error, traceback=traceback, costs=Costs()
        )
        self._settle(failed)

    def _settle(self, record: Record) -> None:
        self._check_device(record)
        self._ledger.write(record)
        self._queue.complete(record)
        self._ledger.pack()
        self._listener.recorded(record, left=self._queue.left)

    def _check_device(self, record: Record) -> None:
        check_joins(self._queue.plan, record, self._devices)
        if device := device_of(record):
            self._devices.add(device)

    @contextlib.contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        if self.error:
            raise self.error
        try:
            yield
        except Exception as error:
            self.error = error
            raise


class _ModelKeeper:
    """Keeps the model of the highest finished trial of each cell."""

    def __init__(self, folder: ResultsFolder, records: Mapping[str, Record]) -> None:
        self._folder = folder
        self._highest: dict[str, int] = {}
        self._summarised: set[str] = set()
        for record in records.values():
            if record.status is Status.FINISHED and not record.source:
                known = self._highest.get(record.cell_key, 0)
                self._highest[record.cell_key] = max(known, record.trial)

    def keep(self, record: Record, archive: memoryview, summary: str) -> None:
        """Write the model of a finished trial if no later trial of its cell has finished.

        A trial that varies one source alone is none of the trials that the cell's mean is over.
        """
        cell_key = record.cell_key
        if record.source or record.trial < self._highest.get(cell_key, 0):
            return
        self._highest[cell_key] = record.trial
        label = f"{record.architecture}-{record.variant}"
        self._folder.write(self._folder.model(label, cell_key), archive)
        if cell_key not in self._summarised:  # All trials of a cell have the same.
            self._summarised.add(cell_key)
            self._folder.write(self._folder.model_summary(label, cell_key), summary.encode())


class _RoomWatch:
    """Reports that no node has room for a trial: once, until trials run again."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._since = time.monotonic()
        self._is_reported = False

    def look(self, trials: list[TuneTrial], *, is_idle: bool) -> None:
        """Look at Ray Tune's trials, of which none runs if `is_idle`."""
        now = time.monotonic()
        if not (is_idle and trials):
            self._since, self._is_reported = now, False
        elif not self._is_reported and now - self._since >= PATIENCE_SECONDS:
            self._since = now
            # A trial with room is starting: it imports TensorFlow, and may fetch the code first.
            if trials[-1].status == TuneTrial.PENDING and not _has_room():
                self._is_reported = True
                self._listener.waiting(trials[-1].config["job"].request)


def _has_room() -> bool:
    """Whether any of this program's requests has been given its resources."""
    job = ray.get_runtime_context().get_job_id()  # The end of its placement groups' names.
    groups = placement_group_table().items()
    return any(name.endswith(job) and group["state"] == "CREATED" for name, group in groups)


def _account(trial: TuneTrial) -> str:
    """What Ray reported when it lost the process of a trial."""
    # Ray Tune's own `get_error` looks where the file is copied to only later.
    path = trial.error_file
    text = Path(path).read_text() if path and Path(path).is_file() else ""
    return text.partition("\n")[2] if text.startswith("Failure #") else text


def _reason(account: str) -> str:
    """Why the process was lost, in one line; for people only."""
    account = account.strip()
    if re.match(r"The actor \w+ is unavailable", account):
        return "it can't be reached"
    death = re.search(r"The actor (?:is dead|died) because (.*?)\.(?:\s|$)", account)
    return death[1] if death else next(iter(account.splitlines()), "unknown")
