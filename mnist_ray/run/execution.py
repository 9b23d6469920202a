"""Runs a plan on the machines that Ray has: what each trial gets of them, and what is shared."""

import contextlib
import logging
import math
import secrets
import tempfile
from collections.abc import Iterator, Sequence

from ray import tune

from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.writer import LedgerWriter
from mnist_ray.plan.estimates import Timings
from mnist_ray.plan.resources import Limits, Node, Request, concurrency
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import connection, runner
from mnist_ray.run.early_stopping import StopEarly
from mnist_ray.run.exchange import SharedInputs
from mnist_ray.run.machine import output_of
from mnist_ray.run.model_keeper import ModelKeeper
from mnist_ray.run.recorder import Listener, Recorder
from mnist_ray.run.setup import SweepSetup, announced_devices
from mnist_ray.run.trackers import Tracker
from mnist_ray.run.worker import BlockWorker

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
        StorageError: the results cannot be written any more.
    """
    nodes = _nodes_for_trials(setup.limits, listener)
    allocator = setup.allocator(queue, nodes)
    at_a_time = concurrency(allocator.requests(), nodes)
    with contextlib.ExitStack() as at_end:
        for tracker in trackers:
            at_end.callback(tracker.close)
        checkpoints = at_end.enter_context(_checkpoints(setup.folder))
        writer = LedgerWriter(setup.ledger, queue.records)
        recorder = Recorder(
            queue,
            dataset=setup.dataset.name,
            allocator=allocator,
            models=ModelKeeper(setup.folder, queue.plan, queue.counting, arriving=checkpoints),
            writer=writer,
            listener=listener,
            trackers=trackers,
            workers=min(at_a_time, queue.max_concurrent or at_a_time),
            devices=announced_devices(queue, allocator.requests(), nodes),
            nodes_may_join=setup.is_cluster,
        )
        at_end.callback(recorder.report_written)
        at_end.enter_context(writer)
        pending = _max_pending(nodes, is_open=queue.plan.is_open, is_cluster=setup.is_cluster)
        inputs = _shared_inputs(setup, queue, nodes, checkpoints=checkpoints)
        trainable = tune.with_parameters(BlockWorker, context=inputs)
        scheduler = StopEarly(setup.space.training) if setup.space.early_stopping else None
        runner.run(recorder, trainable=trainable, max_pending=pending, scheduler=scheduler)


def _shared_inputs(
    setup: SweepSetup, queue: TrialQueue, nodes: Sequence[Node], *, checkpoints: ResultsFolder
) -> SharedInputs:
    return SharedInputs(
        dataset=setup.dataset,
        code=setup.code,
        tests=queue.plan.tests,
        checkpoint_seconds=_checkpoint_seconds(setup, queue, nodes),
        checkpoints=checkpoints,
        git_commit=git_commit(),
    )


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

    They show a cluster how much to grow, and give a node that joins its first work. Where the next
    trials depend on results, they should be chosen as late as possible.
    """
    cores = [max(1, int(node.cpus)) for node in nodes if node.cpus] or [1]
    if not is_cluster:
        return 1 if is_open else 2 * max(cores)
    return max(cores) if is_open else min(2 * sum(cores), _MOST_PENDING)


def git_commit() -> str | None:
    """The commit of the repository that the working folder lies in; None outside of one."""
    return output_of(["git", "rev-parse", "HEAD"], limit_seconds=5).strip() or None


def _checkpoint_seconds(setup: SweepSetup, queue: TrialQueue, nodes: Sequence[Node]) -> float:
    """Seconds between checkpoints; infinite where nodes cannot share them."""
    seconds = setup.space.checkpoint_every * 60
    if not (setup.folder.is_local and len(nodes) > 1):
        return seconds
    expected = Timings(setup.dataset_info, queue.records).seconds(queue.plan.wanted)
    if _DOUBT * max(expected.values(), default=0.0) >= seconds:
        _LOG.warning(
            "Long trials are not checkpointed: the results lie on one machine, where other nodes "
            "cannot reach them. Name a URI with --results (s3://...) to have that."
        )
    return math.inf
