"""Runs a plan on the machines that Ray has: what each trial gets of them, and what is shared."""

import contextlib
import logging
import math
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

from ray import tune

from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.writer import LedgerWriter
from mnist_ray.plan.allocation import ResourceAllocator, check_fit
from mnist_ray.plan.device_kinds import change_of_device, check_one_kind, devices_for
from mnist_ray.plan.estimates import estimated_seconds
from mnist_ray.plan.resources import Limits, Node, Request, concurrency
from mnist_ray.plan.test_sets import TestSets
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import connection, runner
from mnist_ray.run.early_stopping import StopEarly
from mnist_ray.run.exchange import SharedInputs
from mnist_ray.run.model_keeper import ModelKeeper
from mnist_ray.run.recorder import Listener, Recorder
from mnist_ray.run.setup import SweepSetup
from mnist_ray.run.trackers import Tracker
from mnist_ray.run.worker import BlockWorker
from mnist_ray.space.space import Space

_DOUBT = 10.0
"""By what factor a trial may take longer than was estimated."""
_MOST_PENDING = 200
"""Blocks that wait for room: each is a request that Ray and its autoscaler look at."""

_LOG = logging.getLogger(__name__)


def execute(
    queue: TrialQueue, setup: SweepSetup, *, listener: Listener, trackers: Sequence[Tracker] = ()
) -> None:
    """Run what the queue submits, on the Ray that this program is connected to.

    Raises:
        InputError: no machine can hold a trial, or decisions would mix kinds of device.
        StorageError: the results can't be written any more.
    """
    nodes = _nodes_for_trials(setup.limits, listener)
    allocator = ResourceAllocator(setup.space, setup.dataset_info, nodes, setup.limits)
    devices = _devices(queue, allocator, nodes, is_cluster=setup.is_cluster)
    with contextlib.ExitStack() as at_end:
        for tracker in trackers:
            at_end.callback(tracker.close)
        checkpoints = at_end.enter_context(_checkpoints(setup.folder))
        seconds = _checkpoint_seconds(setup, queue, nodes)
        inputs = _shared_inputs(
            setup, queue.plan.tests, checkpoint_seconds=seconds, checkpoints=checkpoints
        )
        writer = LedgerWriter(setup.ledger, queue.records)
        recorder = Recorder(
            queue,
            dataset=setup.dataset.name,
            allocator=allocator,
            models=ModelKeeper(setup.folder, queue.plan, queue.counting, arriving=checkpoints),
            writer=writer,
            listener=_Audience(listener, trackers),
            workers=_workers(allocator, nodes, max_concurrent=queue.max_concurrent),
            devices=devices,
            nodes_may_join=setup.is_cluster,
        )
        at_end.callback(recorder.report_written)
        at_end.enter_context(writer)
        pending = _max_pending(nodes, is_open=queue.plan.is_open, is_cluster=setup.is_cluster)
        trainable = tune.with_parameters(BlockWorker, context=inputs)
        scheduler = _scheduler(setup.space)
        runner.run(queue, recorder, trainable=trainable, max_pending=pending, scheduler=scheduler)


def _devices(
    queue: TrialQueue, allocator: ResourceAllocator, nodes: Sequence[Node], *, is_cluster: bool
) -> set[str]:
    """Where trials would run, once it is sure that they can."""
    check_fit(allocator.requests(), nodes, is_cluster=is_cluster)
    devices = devices_for(allocator.requests(), nodes)
    check_one_kind(queue.plan, queue.records, devices)
    if changed := change_of_device(queue.plan, queue.records, devices):
        _LOG.warning("%s", changed)
    return devices


def _workers(
    allocator: ResourceAllocator, nodes: Sequence[Node], *, max_concurrent: int | None
) -> int:
    """How many trials run at a time."""
    found = max(1, concurrency([*allocator.requests()], nodes))
    return min(found, max_concurrent or found)


def _shared_inputs(
    setup: SweepSetup,
    tests: TestSets,
    *,
    checkpoint_seconds: float,
    checkpoints: ResultsFolder,
) -> SharedInputs:
    return SharedInputs(
        dataset=setup.dataset,
        code=setup.code,
        tests=tests,
        checkpoint_seconds=checkpoint_seconds,
        checkpoints=checkpoints,
        git_commit=git_commit(),
    )


class _Audience:
    """A listener, and the trackers, which get every record."""

    def __init__(self, listener: Listener, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers
        self.lost, self.waiting = listener.lost, listener.waiting
        self._recorded = listener.recorded

    def recorded(self, record: Record, *, left: int) -> None:
        self._recorded(record, left=left)
        for tracker in self._trackers:
            tracker.log(record)


@contextlib.contextmanager
def _checkpoints(folder: ResultsFolder) -> Iterator[ResultsFolder]:
    """Where the checkpoints of a sweep into `folder` go, for as long as the block lasts.

    On object storage they lie beside the results, where every node reaches them.
    """
    if folder.is_local:
        with tempfile.TemporaryDirectory(prefix="mnist_ray-", ignore_cleanup_errors=True) as path:
            yield ResultsFolder.open(path)
        return
    shared = folder.checkpoints(secrets.token_hex(4))
    try:
        yield shared
    finally:
        shared.delete_all()


def _nodes_for_trials(limits: Limits, listener: Listener) -> list[Node]:
    """The nodes that there are; one at least that can run trials.

    A cluster may have only a small head, and add a machine when one is asked for. What a trial gets
    follows from what that machine has.
    """
    nodes = connection.nodes()
    if not any(node.cpus for node in nodes):
        least = Request(limits.cpus_per_trial or 1, limits.gpus_per_trial or 0.0, memory_bytes=0)
        connection.await_node(least, waiting=listener.waiting)
        nodes = connection.nodes()
    return nodes


def _max_pending(nodes: Sequence[Node], *, is_open: bool, is_cluster: bool) -> int:
    """How many blocks may wait for room.

    By them a cluster sees how much it should grow, and a node that joins finds its first work. What
    to run next is chosen better the later it is chosen, where it follows from what came out.
    """
    if not is_cluster:
        return 1 if is_open else 2 * _cores(nodes)
    return _cores(nodes) if is_open else min(2 * _all_cores(nodes), _MOST_PENDING)


def git_commit() -> str | None:
    """The commit of the repository that the working folder lies in; None outside of one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _scheduler(space: Space) -> StopEarly | None:
    if space.early_stopping is None:
        return None
    searched = space.training.varied().get("epochs")
    choices = searched.candidates().values() if searched else [space.training.epochs]
    return StopEarly(epochs=max(space.training.bound({"epochs": each}).epochs for each in choices))


def _cores(nodes: Sequence[Node]) -> int:
    return max(1, int(max((node.cpus for node in nodes), default=1)))


def _all_cores(nodes: Sequence[Node]) -> int:
    return max(1, int(sum(node.cpus for node in nodes)))


def _checkpoint_seconds(setup: SweepSetup, queue: TrialQueue, nodes: Sequence[Node]) -> float:
    """Seconds between checkpoints; infinite where nodes cannot share them."""
    seconds = setup.space.checkpoint_every * 60
    if not (setup.folder.is_local and len(nodes) > 1):
        return seconds
    expected = estimated_seconds(queue.plan.wanted, setup.dataset_info, queue.records)
    if _DOUBT * max(expected.values(), default=0.0) >= seconds:
        _LOG.warning(
            "Long trials are not checkpointed: the results lie on one machine, where other nodes "
            "can't reach them. Name a URI with --results (s3://...) to have that."
        )
    return math.inf
