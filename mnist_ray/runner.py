"""Ray: workers that stay, resources, retries; every trial goes through Ray Tune.

Ray Tune asks what to run next (`_Queue`) and hands back what its workers give (`_Recorder`). What
is finished is in the ledger by then, so Tune's own experiment state is of no account: it lies in a
temporary folder and is thrown away.
"""

import contextlib
import logging
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.exceptions import ObjectLostError, RayError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher
from ray.util import placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_ray.ledger import Ledger
from mnist_ray.machine import smallest_gpu_memory
from mnist_ray.planner import Agenda
from mnist_ray.record import Costs, Record, Status
from mnist_ray.resources import Node, Request
from mnist_ray.results import ResultsFolder
from mnist_ray.trial import Trial
from mnist_ray.worker import Context, Job, TrialWorker

_LOG = logging.getLogger(__name__)

_LOST_PROCESS_RETRIES = 3
_PATIENCE_SECONDS = 10.0
"""How long nothing may run before it is told."""
_ASKING_SECONDS = 60.0
"""How long a node may take to say what its GPUs have; it may have to fetch the code first."""
_USUAL_GPU_BYTES = 16e9
"""Of a card that does not say what it has."""

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

    def waiting(self, request: Request) -> None:
        """No trial runs, for want of a node that has room for one."""


@contextlib.contextmanager
def connected(
    address: str | None, *, verbose: bool, modules: Sequence[Path] = ()
) -> Iterator[None]:
    """Ray, for as long as the block lasts: one of its own, or the cluster at `address`.

    A cluster's own processes go on afterwards; only what this sweep started there ends.

    Args:
        address: `auto` or `host:port`; None for a Ray of its own.
        verbose: whether to show what Ray and the workers say.
        modules: what a cluster's workers must be able to import beside this package: files of
            modules and folders of packages.
    """
    own = address is None
    os.environ.update({**_DRIVER_ENVIRONMENT, **(WORKER_ENVIRONMENT if own else {})})
    level = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray").setLevel(level)
    # Of lost processes Tune gives tracebacks of Ray's insides; the listener tells of them.
    logging.getLogger("ray.tune").setLevel(level if verbose else logging.CRITICAL)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(
        # "local" starts one whatever an earlier cluster left behind in Ray's temporary folder.
        address="local" if own else address,
        include_dashboard=False if own else None,
        log_to_driver=verbose,
        logging_level=level,
        runtime_env=None if own else _shipped_code(modules),
        configure_logging=True,
    )
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        # Ray's own would end the driver on the spot, with a C++ stack trace.
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        with contextlib.nullcontext() if verbose else _without_messages_of_raylets():
            yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """What each living node of the cluster has to give."""
    living = [node for node in ray.nodes() if node["Alive"]]
    cards = _gpu_memory([node["NodeID"] for node in living if node["Resources"].get("GPU")])
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory_bytes=node["Resources"].get("memory", 0.0),
            gpu_memory_bytes=cards.get(node["NodeID"], 0.0),
        )
        for node in living
    ]


def await_node(request: Request, listener: Listener) -> None:
    """Wait until a node can hold `request`; an autoscaler takes the waiting for a wish."""
    # A task, since what a task wishes for ends with the program, come what may.
    arrival = _arrive.options(num_cpus=request.cpus, num_gpus=request.gpus).remote()
    if not ray.wait([arrival], timeout=_PATIENCE_SECONDS)[0]:
        listener.waiting(request)
        ray.get(arrival)


def run(
    agenda: Agenda,
    *,
    context: Context,
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
        agenda, dataset=context.dataset.name, folder=folder, ledger=ledger, listener=listener
    )
    trainable = tune.with_resources(
        tune.with_parameters(TrialWorker, context=context),
        lambda config: tune.PlacementGroupFactory([request_of(config["job"].trial).to_ray()]),
    )
    with _temporary_folder() as tune_folder, _shared_checkpoints(context):
        while True:  # Once, but for what `_fit` and `_Recorder.on_trial_error` put back.
            waiting = [_Waiting(request_of, listener)] if nodes_may_join else []
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
                    progress_reporter=_SilentReporter(),
                    failure_config=tune.FailureConfig(max_failures=_LOST_PROCESS_RETRIES),
                    checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
                    callbacks=[recorder, *waiting, *callbacks, _Forgetter()],
                    storage_path=tune_folder,
                ),
            )
            _fit(tuner, agenda, recorder)
            if not agenda.is_waited_for:
                return


def _fit(tuner: tune.Tuner, agenda: Agenda, recorder: "_Recorder") -> None:
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
        agenda.put_all_back()


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
            request = self._request_of(trial)
            job = Job(
                trial,
                threads=request.cpus,
                on_gpu=request.gpus > 0,
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
        self._summarised: set[str] = set()
        self._losses = _Losses()
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
            self._agenda.put_back(lost)
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


class _Losses:
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


class _Forgetter(_Stateless, tune.Callback):  # type: ignore[misc]
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


@contextlib.contextmanager
def _without_messages_of_raylets() -> Iterator[None]:
    """Ray prints a paragraph on every lost worker, whatever `log_to_driver` says."""
    try:
        from ray._private.ray_logging import stdout_deduplicator as printer
    except ImportError:  # Ray's own affair, which another version may do differently
        yield
        return
    before = printer.skip_re
    printer.skip_re = re.compile("")
    try:
        yield
    finally:
        printer.skip_re = before


class _Waiting(_Stateless, tune.Callback):  # type: ignore[misc]
    """Says so when no node has room for a trial; once, until trials run again."""

    def __init__(self, request_of: Callable[[Trial], Request], listener: Listener) -> None:
        self._request_of, self._listener = request_of, listener
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
        elif not self._is_told and now - self._since >= _PATIENCE_SECONDS:
            self._since = now
            # A trial with room is starting: it imports TensorFlow, and may fetch the code first.
            if trials[-1].status == TuneTrial.PENDING and not _has_room():
                self._is_told = True
                self._listener.waiting(self._request_of(trials[-1].config["job"].trial))


def _has_room() -> bool:
    """Whether any of this program's requests has been given its resources."""
    job = ray.get_runtime_context().get_job_id()  # The end of its placement groups' names.
    groups = placement_group_table().items()
    return any(name.endswith(job) and group["state"] == "CREATED" for name, group in groups)


def _temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="mnist_ray-", ignore_cleanup_errors=True)


@contextlib.contextmanager
def _shared_checkpoints(context: Context) -> Iterator[None]:
    """What nodes share to go on with each other's trials stays for as long as the block lasts."""
    try:
        yield
    finally:
        if context.checkpoints is not None:
            context.checkpoints.delete_all()


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _ask_gpu_memory() -> int | None:
    return smallest_gpu_memory()


def _gpu_memory(node_ids: Sequence[str]) -> dict[str, float]:
    """Bytes of the smallest card of each of those nodes."""
    asked = {
        _ask_gpu_memory.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote(): node_id
        for node_id in node_ids
    }
    found = dict.fromkeys(node_ids, _USUAL_GPU_BYTES)
    if not asked:
        return found
    for answer in ray.wait([*asked], num_returns=len(asked), timeout=_ASKING_SECONDS)[0]:
        with contextlib.suppress(RayError):  # The node may have gone.
            found[asked[answer]] = ray.get(answer) or _USUAL_GPU_BYTES
    return found


@ray.remote  # type: ignore[untyped-decorator]
def _arrive() -> None:
    """Nothing: that it runs says that there is a node."""


def _shipped_code(modules: Sequence[Path]) -> dict[str, Any]:
    """A runtime environment in which the workers of a cluster find this package and `modules`."""
    paths = [Path(__file__).parent, *modules]
    return {"py_modules": [str(path) for path in paths], "env_vars": WORKER_ENVIRONMENT}
