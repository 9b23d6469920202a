"""Every trial goes through Ray Tune: workers that stay, retries, records.

Ray Tune asks what to run next (`_Queue`) and hands back what its workers give (`_Recorder`). What
is finished is in the ledger by then, so Tune's own experiment state is of no account: it lies in a
temporary folder and is thrown away.
"""

import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.exceptions import ObjectLostError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher
from ray.util import placement_group_table

from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Costs, Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run.connection import PATIENCE_SECONDS
from mnist_ray.run.worker import SharedInputs, TrialJob, TrialWorker

_LOG = logging.getLogger(__name__)

_LOST_PROCESS_RETRIES = 3


class Listener(Protocol):
    """Is told how a sweep goes."""

    def recorded(self, record: Record, *, left: int) -> None:
        """A trial has ended, its record is kept, and `left` are known to be still to run."""

    def lost(self, trial: Trial, reason: str) -> None:
        """A trial's process is gone; it is started again."""

    def waiting(self, request: Request) -> None:
        """No trial runs, for want of a node that has room for one."""


def run(
    queue: TrialQueue,
    *,
    context: SharedInputs,
    request_of: Callable[[Trial], Request],
    folder: ResultsFolder,
    ledger: Ledger,
    listener: Listener,
    max_pending: int,
    nodes_may_join: bool = False,
    callbacks: Sequence[tune.Callback] = (),
    scheduler: Any = None,
) -> None:
    """Run what the agenda hands out until it is done.

    Args:
        agenda: what to run.
        context: what all trials share.
        request_of: what a trial asks for.
        folder: where models go.
        ledger: where records go.
        listener: is told of every record.
        max_pending: trials that may wait for resources at once; what a cluster grows by.
        nodes_may_join: whether there may be no room for any trial, which is told then.
        callbacks: of Ray Tune, for trackers; each `record` is in its trial's result.
        scheduler: of Ray Tune, for early stopping.

    Raises:
        StorageError: results can't be written any more.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max_pending)
    recorder = _Recorder(
        queue, dataset=context.dataset.name, folder=folder, ledger=ledger, listener=listener
    )
    trainable = tune.with_parameters(TrialWorker, context=context)
    with _temporary_folder() as tune_folder, _shared_checkpoints(context):
        while True:  # Once, but for what `_fit` and `_Recorder.on_trial_error` put back.
            waiting = [_Waiting(listener)] if nodes_may_join else []
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=_Queue(queue, ledger, request_of),
                    num_samples=-1,
                    reuse_actors=True,
                    scheduler=scheduler,
                    trial_name_creator=lambda trial: str(trial.trial_id),
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    verbose=0,
                    progress_reporter=_SilentReporter(),
                    failure_config=tune.FailureConfig(max_failures=_LOST_PROCESS_RETRIES),
                    checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
                    callbacks=[recorder, *waiting, *callbacks, _ResultTrimmer()],
                    storage_path=tune_folder,
                ),
            )
            _fit(tuner, queue, recorder)
            if not queue.is_waited_for:
                return


def _fit(tuner: tune.Tuner, queue: TrialQueue, recorder: "_Recorder") -> None:
    """Run until the agenda hands out no more, or until a result is lost on its way."""
    try:
        tuner.fit()
    except Exception as error:
        # Tune hides what a callback raises in a text of its own.
        if recorder.error:
            raise recorder.error from None
        if not isinstance(error.__cause__, ObjectLostError):
            raise
        # A trial had ended, and its machine went before the driver had fetched the result. Tune
        # gives up all trials then; the agenda still knows them.
        _LOG.warning("A machine went with the result of a trial; what was running starts again.")
        queue.requeue_all()


class _Stateless:
    """Pickled by Tune for a resumption that the ledger makes needless."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Queue(_Stateless, Searcher):  # type: ignore[misc]
    """What Ray Tune takes for a search algorithm: the agenda, one trial at a time."""

    def __init__(
        self, queue: TrialQueue, ledger: Ledger, request_of: Callable[[Trial], Request]
    ) -> None:
        super().__init__()
        self._agenda = queue
        self._ledger = ledger
        self._request_of = request_of

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        while (trial := self._agenda.next()) is not None:
            known = self._ledger.find(trial.key)
            if known is not None and self._agenda.is_done(trial, known):
                # Another sweep into the same folder was quicker.
                self._agenda.complete(known)
                continue
            job = TrialJob(
                trial, self._request_of(trial), reports_epochs=self._agenda.may_stop(trial)
            )
            return {"job": job}
        return Searcher.FINISHED if self._agenda.is_exhausted else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the recorder has told the agenda."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


class _Recorder(_Stateless, tune.Callback):  # type: ignore[misc]
    """Writes each record the moment that its trial ends."""

    def __init__(
        self,
        queue: TrialQueue,
        *,
        dataset: str,
        folder: ResultsFolder,
        ledger: Ledger,
        listener: Listener,
    ) -> None:
        self._agenda, self._dataset = queue, dataset
        self._folder, self._ledger, self._listener = folder, ledger, listener
        self._unfinished: dict[str, Record] = {}
        self._highest = _highest_finished(queue.records)
        self._summarised: set[str] = set()
        self._losses = _LostProcesses()
        self.error: Exception | None = None

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        record: Record | None = result.get("record")
        if record is None:
            return
        if record.status is Status.CUT_SHORT:
            self._unfinished[trial.trial_id] = record
            return
        self._unfinished.pop(trial.trial_id, None)
        with self._remembering_errors():
            if "model" in result:
                self._keep_model(record, memoryview(result["model"]), result["summary"])
            self._settle(record)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        record = self._unfinished.pop(trial.trial_id, None)
        if record is not None:
            with self._remembering_errors():
                self._settle(record)

    def on_trial_recover(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        if self._losses.take_in(trial):
            self._listener.lost(trial.config["job"].trial, _reason(_account(trial)))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        lost: Trial = trial.config["job"].trial
        account = _account(trial)
        self._losses.take_in(trial)
        losses = self._losses.count(lost)
        if losses <= _LOST_PROCESS_RETRIES:
            self._agenda.requeue(lost)
            return
        record = lost.record(
            self._dataset,
            Status.FAILED,
            error=f"process lost {losses} times: {_reason(account)}",
            traceback=account,
            costs=Costs(),
        )
        with self._remembering_errors():
            self._settle(record)

    def _settle(self, record: Record) -> None:
        self._ledger.write(record)
        self._agenda.complete(record)
        self._ledger.pack()
        self._listener.recorded(record, left=self._agenda.left)

    def _keep_model(self, record: Record, archive: memoryview, summary: str) -> None:
        """Of each cell, keep the model of the highest finished trial."""
        cell_key = record.cell_key
        if record.trial < self._highest.get(cell_key, 0):
            return
        self._highest[cell_key] = record.trial
        label = f"{record.architecture}-{record.variant}"
        self._folder.write(self._folder.model(label, cell_key), archive)
        if cell_key not in self._summarised:  # All trials of a cell have the same.
            self._summarised.add(cell_key)
            self._folder.write(self._folder.model_summary(label, cell_key), summary.encode())

    @contextlib.contextmanager
    def _remembering_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            raise


class _LostProcesses:
    """The processes that each trial has lost.

    Tune counts failures, which may be several a process: where a machine goes, it asks more than
    once after the trial that was there.
    """

    def __init__(self) -> None:
        self._lost: dict[str, set[str]] = {}

    def take_in(self, trial: TuneTrial) -> bool:
        """Look at what Ray says of a trial; whether that tells of a process not known of yet."""
        known = self._lost.setdefault(trial.config["job"].trial.key, set())
        failures = _account(trial).split("Failure # ")[1:]
        found = {_process(f"{trial.trial_id} {failure}") for failure in failures}
        news = found - known
        known |= found
        return bool(news)

    def count(self, trial: Trial) -> int:
        """How many there are."""
        return len(self._lost.get(trial.key, ()))


def _process(failure: str) -> str:
    """Ray's name of the lost process, an actor; the failure's own where it tells none."""
    actor = re.search(r"\b[0-9a-f]{32}\b", failure)
    return actor[0] if actor else failure.splitlines()[0]


class _SilentReporter(tune.ProgressReporter):  # type: ignore[misc]
    """In place of Ray Tune's own, which clears the cell of a notebook however quiet it is to be."""

    def should_report(self, trials: list[TuneTrial], done: bool = False) -> bool:
        return False

    def report(self, trials: list[TuneTrial], done: bool, *sys_info: str) -> None:
        """Nothing."""


class _ResultTrimmer(_Stateless, tune.Callback):  # type: ignore[misc]
    """Comes last and takes out what is large: Tune keeps every trial's last result to the end."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        for name in ("record", "model", "summary"):
            result.pop(name, None)


def _highest_finished(records: Mapping[str, Record]) -> dict[str, int]:
    """The highest index of a finished trial, by the key of its cell."""
    highest: dict[str, int] = {}
    for record in records.values():
        if record.status is Status.FINISHED:
            known = highest.get(record.cell_key, 0)
            highest[record.cell_key] = max(known, record.trial)
    return highest


def _account(trial: TuneTrial) -> str:
    """All that Ray said when a trial's process was lost, each time that it was."""
    # Tune's own `get_error` looks where the file comes to only later.
    path = trial.error_file
    return Path(path).read_text() if path and Path(path).is_file() else ""


def _reason(account: str) -> str:
    """Why the process was lost the last time, in one line."""
    last = account.rpartition("Failure # ")[2].partition("\n")[2].strip()
    if re.match(r"The actor \w+ is unavailable", last):
        return "it can't be reached"
    death = re.search(r"The actor (?:is dead|died) because (.*?)\.(?:\s|$)", last)
    return death[1] if death else next(iter(last.splitlines()), "unknown")


class _Waiting(_Stateless, tune.Callback):  # type: ignore[misc]
    """Says so when no node has room for a trial; once, until trials run again."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._running: set[str] = set()
        self._since = time.monotonic()
        self._is_told = False

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self._running.add(trial.trial_id)
        self._is_told = False

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self._running.discard(trial.trial_id)

    on_trial_error = on_trial_recover = on_trial_complete

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        now = time.monotonic()
        if self._running or not trials:
            self._since = now
        elif not self._is_told and now - self._since >= PATIENCE_SECONDS:
            self._since = now
            # A trial with room is starting: it imports TensorFlow, and may fetch the code first.
            if trials[-1].status == TuneTrial.PENDING and not _has_room():
                self._is_told = True
                self._listener.waiting(trials[-1].config["job"].request)


def _has_room() -> bool:
    """Whether any of this program's requests has been given its resources."""
    job = ray.get_runtime_context().get_job_id()  # The end of its placement groups' names.
    groups = placement_group_table().items()
    return any(name.endswith(job) and group["state"] == "CREATED" for name, group in groups)


def _temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="mnist_ray-", ignore_cleanup_errors=True)


@contextlib.contextmanager
def _shared_checkpoints(context: SharedInputs) -> Iterator[None]:
    """What nodes share to go on with each other's trials stays for as long as the block lasts."""
    try:
        yield
    finally:
        if context.checkpoints is not None:
            context.checkpoints.delete_all()
