"""Ray: workers that stay, resources, retries; every trial goes through Ray Tune.

Ray Tune asks what to run next (`_Queue`) and hands back what its workers give (`_Recorder`). What
is finished is in the ledger by then, so Tune's own experiment state is of no account: it lies in a
temporary folder and is thrown away.
"""

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from mnist_ray.ledger import Ledger
from mnist_ray.planner import Agenda
from mnist_ray.record import Costs, Record, Status
from mnist_ray.resources import Node, Request
from mnist_ray.results import ResultsFolder
from mnist_ray.trial import Trial
from mnist_ray.worker import Context, Job, TrialWorker, import_training

_LOST_PROCESS_RETRIES = 3

_DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "1000000000",
}
WORKER_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The memory of a step goes back when the step is over, in huge pages that make it cheap to take
    # again. TensorFlow's own pool keeps 300 MB that the shifted CNN needs for a moment only.
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""What a process that trains must find in its environment when it starts."""


class Listener(Protocol):
    """Is told how a sweep goes."""

    def recorded(self, record: Record, *, left: int) -> None:
        """A trial has ended, its record is kept, and `left` are known to be still to run."""

    def lost(self, trial: Trial, reason: str) -> None:
        """A trial's process is gone; it is started again."""

    def waiting(self, for_resources: Mapping[str, float]) -> None:
        """No trial runs, for want of a node that has these resources."""


@contextlib.contextmanager
def connected(address: str | None, *, verbose: bool) -> Iterator[None]:
    """Ray, for as long as the block lasts: one of its own, or the cluster at `address`."""
    own = address is None
    os.environ.update({**_DRIVER_ENVIRONMENT, **(WORKER_ENVIRONMENT if own else {})})
    level = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray").setLevel(level)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(
        # "local" starts one whatever an earlier cluster left behind in Ray's temporary folder.
        address="local" if own else address,
        include_dashboard=False if own else None,
        log_to_driver=verbose,
        logging_level=level,
        runtime_env=None if own else _shipped_code(),
        configure_logging=True,
    )
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        # Ray's own would end the driver on the spot, with a C++ stack trace.
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        if own:
            _warm_up()
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """What each living node of the cluster has to give."""
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory_bytes=node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def run(
    agenda: Agenda,
    *,
    context: Context,
    request_of: Callable[[Trial], Request],
    folder: ResultsFolder,
    ledger: Ledger,
    listener: Listener,
    max_pending: int,
    callbacks: list[tune.Callback] | None = None,
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
        callbacks: of Ray Tune, for trackers.
        scheduler: of Ray Tune, for early stopping.

    Raises:
        StorageError: results can't be written any more.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max_pending)
    recorder = _Recorder(
        agenda, dataset=context.dataset.name, folder=folder, ledger=ledger, listener=listener
    )
    trainable = tune.with_resources(
        tune.with_parameters(TrialWorker, context=context),
        lambda config: tune.PlacementGroupFactory([request_of(config["job"].trial).to_ray()]),
    )
    with _tune_folder(folder, context) as storage:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Queue(agenda, ledger, request_of),
                num_samples=-1,
                reuse_actors=True,
                scheduler=scheduler,
                trial_name_creator=lambda trial: str(trial.trial_id),
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="trials",
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_LOST_PROCESS_RETRIES),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
                callbacks=[recorder, *(callbacks or [])],
                **storage,
            ),
        )
        try:
            tuner.fit()
        except Exception:
            # Tune hides what a callback raises in a text of its own.
            if recorder.error:
                raise recorder.error from None
            raise


class _Stateless:
    """Pickled by Tune for a resumption that the ledger makes needless."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Queue(_Stateless, Searcher):  # type: ignore[misc]
    """What Ray Tune takes for a search algorithm: the agenda, one trial at a time."""

    def __init__(
        self, agenda: Agenda, ledger: Ledger, request_of: Callable[[Trial], Request]
    ) -> None:
        super().__init__()
        self._agenda = agenda
        self._ledger = ledger
        self._request_of = request_of

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        while (trial := self._agenda.next()) is not None:
            known = self._ledger.find(trial.key)
            if known is not None and self._agenda.plan.is_done(trial, known):
                # Another sweep into the same folder was quicker.
                self._agenda.settle(known)
                continue
            job = Job(
                trial,
                threads=self._request_of(trial).cpus,
                reports_epochs=self._agenda.may_stop(trial),
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
        agenda: Agenda,
        *,
        dataset: str,
        folder: ResultsFolder,
        ledger: Ledger,
        listener: Listener,
    ) -> None:
        self._agenda, self._dataset = agenda, dataset
        self._folder, self._ledger, self._listener = folder, ledger, listener
        self._unfinished: dict[str, Record] = {}
        self._highest = _highest_finished(agenda.records)
        self.error: Exception | None = None

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        # Taken out of the result: Tune keeps every trial's last one until the end.
        record, model = result.pop("record", None), result.pop("model", None)
        summary = result.pop("summary", "")
        if record is None:
            return
        if record.status is Status.CUT_SHORT:
            self._unfinished[trial.trial_id] = record
            return
        self._unfinished.pop(trial.trial_id, None)
        with self._remembering_errors():
            if model is not None:
                self._keep_model(record, memoryview(model), summary)
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
        self._listener.lost(trial.config["job"].trial, _reason(trial))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        lost: Trial = trial.config["job"].trial
        record = lost.record(
            self._dataset,
            Status.FAILED,
            error=f"process lost {_LOST_PROCESS_RETRIES + 1} times: {_reason(trial)}",
            traceback=trial.get_error(),
            costs=Costs(),
        )
        with self._remembering_errors():
            self._settle(record)

    def _settle(self, record: Record) -> None:
        self._ledger.write(record)
        self._agenda.settle(record)
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
        self._folder.write(self._folder.model_summary(label, cell_key), summary.encode())

    @contextlib.contextmanager
    def _remembering_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            raise


def _highest_finished(records: Mapping[str, Record]) -> dict[str, int]:
    """The highest index of a finished trial, by the key of its cell."""
    highest: dict[str, int] = {}
    for record in records.values():
        if record.status is Status.FINISHED:
            known = highest.get(record.cell_key, 0)
            highest[record.cell_key] = max(known, record.trial)
    return highest


def _reason(trial: TuneTrial) -> str:
    """Why a trial's process was lost, in one line."""
    error = trial.get_pickled_error()
    lines = str(error or trial.get_error() or "unknown").strip().splitlines()
    return lines[0]


@contextlib.contextmanager
def _tune_folder(folder: ResultsFolder, context: Context) -> Iterator[dict[str, Any]]:
    """Where Tune keeps checkpoints, for as long as the block lasts."""
    if folder.is_local or context.checkpoint_seconds is None:
        with tempfile.TemporaryDirectory(
            prefix="mnist_ray-", ignore_cleanup_errors=True
        ) as temporary:
            yield {"storage_path": temporary}
        return
    path = folder / "checkpoints"
    yield {"storage_path": path.path, "storage_filesystem": path.filesystem}
    folder.delete_folder("checkpoints")


@ray.remote(num_cpus=1)  # type: ignore[untyped-decorator]
def _import_training() -> None:
    import_training()


def _warm_up() -> None:
    """Let idle workers import TensorFlow while the driver makes ready; trials find it there."""
    for _ in range(int(ray.cluster_resources().get("CPU", 1))):
        _import_training.remote()


def _shipped_code() -> dict[str, Any]:
    """A runtime environment in which the workers of a cluster find this package."""
    return {"py_modules": [str(Path(__file__).parent)], "env_vars": WORKER_ENVIRONMENT}
