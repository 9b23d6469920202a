"""From a plan to trials under way: what each gets of the machine, and the Ray that runs them."""

import json
import logging
import secrets
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mnist_ray.data.dataset import Dataset
from mnist_ray.errors import InputError
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.costs import memory_bytes
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.estimates import estimated_seconds, operations_of
from mnist_ray.plan.planner import asked_shifts
from mnist_ray.plan.resources import (
    CellWorkload,
    Limits,
    Node,
    Request,
    concurrency,
    gpu_fraction,
    memory_class,
    memory_classes,
    threads,
)
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import connection, runner
from mnist_ray.run.early_stopping import StopEarly
from mnist_ray.run.trackers import Tracker
from mnist_ray.run.worker import SharedInputs
from mnist_ray.space.hyperparameters import BUILT_IN
from mnist_ray.space.space import Cell, Space

_DOUBT = 10.0
"""By what factor a trial may take longer than was reckoned."""
_MOST_PENDING = 200
"""Trials that wait for room: each is a request that Ray and its autoscaler look at."""

_LOG = logging.getLogger(__name__)


def execute(
    queue: TrialQueue,
    *,
    space: Space,
    dataset_info: DatasetInfo,
    dataset: Dataset,
    folder: ResultsFolder,
    ledger: Ledger,
    listener: runner.Listener,
    limits: Limits,
    is_cluster: bool,
    trackers: Sequence[Tracker] = (),
) -> None:
    """Run what the agenda hands out, on the Ray that this program is connected to.

    Raises:
        InputError: no machine can hold a trial.
        StorageError: the results can't be written any more.
    """
    nodes = _nodes_for_trials(limits, listener)
    allocator = ResourceAllocator(space, dataset_info, nodes, limits)
    _check_fit(allocator.requests(), nodes, is_cluster=is_cluster)
    context = SharedInputs(
        dataset=dataset,
        # On a cluster the modules come with the code; what lies there may be another version.
        folder=None if is_cluster else space.code_folder,
        shifts=asked_shifts(space),
        checkpoint_seconds=_checkpoint_seconds(space, dataset_info, queue, folder, nodes),
        checkpoints=None if folder.is_local else folder.checkpoints(secrets.token_hex(4)),
        git_commit=git_commit(),
    )
    try:
        runner.run(
            queue,
            context=context,
            request_of=allocator.request,
            folder=folder,
            ledger=ledger,
            listener=listener,
            max_pending=_max_pending(nodes, is_open=queue.plan.is_open, is_cluster=is_cluster),
            nodes_may_join=is_cluster,
            callbacks=trackers,
            scheduler=_scheduler(space),
        )
    finally:
        for tracker in trackers:
            tracker.close()


def _nodes_for_trials(limits: Limits, listener: runner.Listener) -> list[Node]:
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
    """How many trials may wait for room.

    By them a cluster sees how much it should grow, and a node that joins finds its first work. What
    to run next is chosen better the later it is chosen, where it follows from what came out.
    """
    if not is_cluster:
        return 1 if is_open else 2 * _cores(nodes)
    return _cores(nodes) if is_open else min(2 * _all_cores(nodes), _MOST_PENDING)


def cluster_concurrency(space: Space, dataset_info: DatasetInfo, limits: Limits) -> int:
    """How many trials of the space run at a time on the cluster this program is connected to."""
    nodes = connection.nodes()
    at_once = concurrency(
        list(ResourceAllocator(space, dataset_info, nodes, limits).requests()), nodes
    )
    # A cluster without room for any is one that will add a machine.
    return max(1, at_once)


def git_commit() -> str | None:
    """The commit of the checkout that this program, or else the working folder, is part of."""
    for folder in (Path(__file__).parent.parent, Path.cwd()):
        try:
            found = subprocess.run(
                ["git", "-C", str(folder), "rev-parse", "HEAD"],
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if found.returncode == 0:
            return found.stdout.strip()
    return None


def _scheduler(space: Space) -> StopEarly | None:
    if space.early_stopping is None:
        return None
    return StopEarly(epochs=space.training.epochs)


class ResourceAllocator:
    """What a trial asks Ray for, whichever cell it is of."""

    def __init__(
        self, space: Space, dataset_info: DatasetInfo, nodes: Sequence[Node], limits: Limits
    ) -> None:
        # The head of a cluster may have no cores for trials.
        workers = [node for node in nodes if node.cpus] or list(nodes)
        self._classes = dataset_info.classes
        self._work = _within(
            workloads_of(space, dataset_info), min(node.memory_bytes for node in workers)
        )
        self._gpus = _gpus_per_trial(self._work, workers, limits)
        able = [node for node in workers if node.gpus >= self._gpus] or workers
        # By the smallest that can take part, so that all of them do.
        given = threads(self._work, min(max(1, int(node.cpus)) for node in able))
        self._cpus = {name: limits.cpus_per_trial or cpus for name, cpus in given.items()}
        self._memory = memory_classes(self._work, min(able, key=lambda node: node.memory_bytes))
        self._most_memory = int(max(node.memory_bytes for node in able))

    def request(self, trial: Trial) -> Request:
        """What `trial` asks for; all trials of a cell ask for the same."""
        cell = trial.cell
        name = cell.name if cell.name in self._work else _pair(cell)
        memory = self._memory[name]
        needed = memory_bytes(cell, self._classes)
        if needed > memory and cell.builder in BUILT_IN:
            # A search may draw larger models than the default that the classes were made for. What
            # no machine has is not asked for: the trial would wait for ever.
            memory = max(memory, min(memory_class(needed), self._most_memory))
        return Request(self._cpus[name], self._gpus, memory)

    def requests(self) -> set[Request]:
        """The different requests of what the space asks for."""
        return {Request(self._cpus[name], self._gpus, self._memory[name]) for name in self._work}


def workloads_of(space: Space, dataset_info: DatasetInfo) -> dict[str, CellWorkload]:
    """The size of each cell's trials, from the space alone: what is recorded changes nothing.

    A search stands for all its configurations, with the default as the size of each.
    """
    trials = space.trials if isinstance(space.trials, int) else space.trials.at_least
    work = {
        cell.name: _work(cell, dataset_info, trials)
        for cell in space.cells(dataset_info.image_size)
    }
    if space.search:
        count = space.search.configurations * space.search.trials_each
        for pair in space.search_spaces():
            default = space.default_configuration(*pair, dataset_info.image_size)
            work[_pair(default)] = _work(default, dataset_info, count)
    return work


def _work(cell: Cell, dataset_info: DatasetInfo, trials: int) -> CellWorkload:
    return CellWorkload(
        trials,
        operations_of(cell, dataset_info),
        memory_bytes(cell, dataset_info.classes),
        is_guess=cell.builder not in BUILT_IN,
    )


def _within(work: Mapping[str, CellWorkload], memory_bytes: float) -> dict[str, CellWorkload]:
    """`work`, where a guess at the memory of a user's own architecture keeps it from no machine."""
    most = int(memory_bytes)
    return {
        name: replace(cell, memory_bytes=min(cell.memory_bytes, most)) if cell.is_guess else cell
        for name, cell in work.items()
    }


def _pair(cell: Cell) -> str:
    return json.dumps([cell.architecture, cell.variant])


def _cores(nodes: Sequence[Node]) -> int:
    return max(1, int(max((node.cpus for node in nodes), default=1)))


def _all_cores(nodes: Sequence[Node]) -> int:
    return max(1, int(sum(node.cpus for node in nodes)))


def _gpus_per_trial(
    work: Mapping[str, CellWorkload], nodes: Sequence[Node], limits: Limits
) -> float:
    """As asked for; otherwise a share of a card where there are any: one for all trials."""
    if limits.gpus_per_trial is not None:
        return limits.gpus_per_trial
    with_gpus = [node for node in nodes if node.gpus]
    if not with_gpus:
        return 0.0
    return gpu_fraction(
        max(cell.memory_bytes for cell in work.values()),
        gpu_memory_bytes=min(node.gpu_memory_bytes for node in with_gpus),
        cpus_per_gpu=min(node.cpus / node.gpus for node in with_gpus),
    )


def _check_fit(requests: Iterable[Request], nodes: Sequence[Node], *, is_cluster: bool) -> None:
    """Refuse what no machine can hold; a cluster may yet grow, so there it is only told.

    Raises:
        InputError: this machine can't hold a trial.
    """
    for request in requests:
        if any(request.fits(node) for node in nodes):
            continue
        sizes = "; ".join(sorted({str(node) for node in nodes}))
        message = (
            f"no machine can hold a trial that asks for {request}; there are: {sizes}. Lower "
            "--cpus-per-trial or --gpus-per-trial, or take a larger machine."
        )
        if not is_cluster:
            raise InputError(message)
        _LOG.warning("%s Waiting, in case that the cluster adds one.", message)


def _checkpoint_seconds(
    space: Space,
    dataset_info: DatasetInfo,
    queue: TrialQueue,
    folder: ResultsFolder,
    nodes: Sequence[Node],
) -> float | None:
    """Seconds between checkpoints; None where nodes can't share them."""
    seconds = space.checkpoint_every * 60
    if not (folder.is_local and len(nodes) > 1):
        return seconds
    expected = estimated_seconds(queue.plan.wanted, dataset_info, queue.records)
    if _DOUBT * max(expected.values(), default=0.0) >= seconds:
        _LOG.warning(
            "Long trials are not checkpointed: the results lie on one machine, where other nodes "
            "can't reach them. Name a URI with --results (s3://...) to have that."
        )
    return None
