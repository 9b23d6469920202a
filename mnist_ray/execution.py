"""From a plan to trials under way: what each gets of the machine, and the Ray that runs them."""

import json
import logging
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mnist_ray import runner
from mnist_ray.costs import memory_bytes
from mnist_ray.data import Dataset
from mnist_ray.early_stopping import StopEarly
from mnist_ray.errors import InputError
from mnist_ray.estimates import estimated_seconds, operations_of
from mnist_ray.facts import Facts
from mnist_ray.ledger import Ledger
from mnist_ray.own_code import code_folder
from mnist_ray.planner import Agenda, asked_shifts
from mnist_ray.resources import (
    Limits,
    Node,
    Request,
    Work,
    concurrency,
    gpu_fraction,
    memory_class,
    memory_classes,
    threads,
)
from mnist_ray.results import ResultsFolder
from mnist_ray.space import Cell, Space
from mnist_ray.trial import Trial
from mnist_ray.worker import Context

_DOUBT = 10.0
"""By what factor a trial may take longer than was reckoned."""

_LOG = logging.getLogger(__name__)


def execute(
    agenda: Agenda,
    *,
    space: Space,
    facts: Facts,
    dataset: Dataset,
    folder: ResultsFolder,
    ledger: Ledger,
    listener: runner.Listener,
    limits: Limits,
    address: str | None,
    verbose: bool,
) -> None:
    """Run what the agenda hands out, on the Ray at `address` or one of its own.

    Raises:
        InputError: no machine can hold a trial.
        StorageError: the results can't be written any more.
    """
    with runner.connected(address, verbose=verbose):
        nodes = runner.nodes()
        allotment = Allotment(space, facts, nodes, limits)
        _check_fit(allotment.requests(), nodes, is_cluster=address is not None)
        context = Context(
            dataset=dataset,
            folder=code_folder(space),
            shifts=asked_shifts(space),
            checkpoint_seconds=_checkpoint_seconds(space, facts, agenda, folder, nodes),
            git_commit=git_commit(),
        )
        runner.run(
            agenda,
            context=context,
            request_of=allotment.request,
            folder=folder,
            ledger=ledger,
            listener=listener,
            max_pending=1 if agenda.plan.is_open else 2 * _cores(nodes),
            scheduler=_scheduler(space),
        )


def cluster_concurrency(address: str, space: Space, facts: Facts, limits: Limits) -> int:
    """How many trials of the space the cluster at `address` runs at a time."""
    with runner.connected(address, verbose=False):
        nodes = runner.nodes()
    return concurrency(list(Allotment(space, facts, nodes, limits).requests()), nodes)


def git_commit() -> str | None:
    """The commit of the checkout that this program, or else the working folder, is part of."""
    for folder in (Path(__file__).parent, Path.cwd()):
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


class Allotment:
    """What a trial asks Ray for, whichever cell it is of."""

    def __init__(self, space: Space, facts: Facts, nodes: Sequence[Node], limits: Limits) -> None:
        self._classes = facts.classes
        self._work = work_of(space, facts)
        # The head of a cluster may have no cores for trials.
        workers = [node for node in nodes if node.cpus] or list(nodes)
        smallest = min(workers, key=lambda node: node.memory_bytes)
        given = threads(self._work, _cores(nodes))
        self._cpus = {name: limits.cpus_per_trial or cpus for name, cpus in given.items()}
        self._memory = memory_classes(self._work, smallest)
        self._gpus = _gpus_per_trial(self._work, nodes, limits)

    def request(self, trial: Trial) -> Request:
        """What `trial` asks for; all trials of a cell ask for the same."""
        cell = trial.cell
        name = _name(cell) if _name(cell) in self._work else _pair(cell)
        memory = self._memory[name]
        if memory_bytes(cell, self._classes) > memory:
            # A search may draw larger models than the default that the classes were made for.
            memory = memory_class(memory_bytes(cell, self._classes))
        return Request(self._cpus[name], self._gpus, memory)

    def requests(self) -> set[Request]:
        """The different requests of what the space asks for."""
        return {Request(self._cpus[name], self._gpus, self._memory[name]) for name in self._work}


def work_of(space: Space, facts: Facts) -> dict[str, Work]:
    """The size of each cell's trials, from the space alone: what is recorded changes nothing.

    A search stands for all its configurations, with the default as the size of each.
    """
    trials = space.trials if isinstance(space.trials, int) else space.trials.at_least
    work = {_name(cell): _work(cell, facts, trials) for cell in space.cells(facts.image_size)}
    if space.search:
        count = space.search.configurations * space.search.trials_each
        for pair in space.search_spaces():
            default = space.default_configuration(*pair, facts.image_size)
            work[_pair(default)] = _work(default, facts, count)
    return work


def _work(cell: Cell, facts: Facts, trials: int) -> Work:
    return Work(trials, operations_of(cell, facts), memory_bytes(cell, facts.classes))


def _name(cell: Cell) -> str:
    return json.dumps([cell.architecture, cell.variant, cell.columns()])


def _pair(cell: Cell) -> str:
    return json.dumps([cell.architecture, cell.variant])


def _cores(nodes: Sequence[Node]) -> int:
    return max(1, int(max((node.cpus for node in nodes), default=1)))


def _gpus_per_trial(work: Mapping[str, Work], nodes: Sequence[Node], limits: Limits) -> float:
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
    space: Space, facts: Facts, agenda: Agenda, folder: ResultsFolder, nodes: Sequence[Node]
) -> float | None:
    """Seconds between checkpoints; None where no trial takes as long, or nodes can't share them."""
    seconds = space.checkpoint_every * 60
    expected = estimated_seconds(agenda.plan.wanted, facts, agenda.records)
    longest = max(expected.values(), default=0.0)
    if space.training.epochs == 1 or longest < seconds / _DOUBT:
        return None
    if folder.is_local and len(nodes) > 1:
        _LOG.warning(
            "Long trials are not checkpointed: the results lie on one machine, where other nodes "
            "can't reach them. Name a URI with --results (s3://...) to have that."
        )
        return None
    return seconds
