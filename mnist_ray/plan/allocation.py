"""What each trial of a space asks of the machines that there are, and whether they can give it."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mnist_ray.errors import InputError
from mnist_ray.plan.costs import gpu_memory_bytes, memory_bytes, training_operations
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.resources import (
    CellWorkload,
    Limits,
    Node,
    Request,
    gpu_fraction,
    gpu_share,
    memory_class,
    memory_classes,
    side_by_side,
    threads,
)
from mnist_ray.plan.trial import Trial, sources_of
from mnist_ray.space.architecture import BUILT_IN
from mnist_ray.space.space import Cell, Space

_LOG = logging.getLogger(__name__)


class ResourceAllocator:
    """What a trial asks Ray for; all trials of a cell ask for the same."""

    def __init__(
        self, space: Space, dataset_info: DatasetInfo, nodes: Sequence[Node], limits: Limits
    ) -> None:
        workers = [node for node in nodes if node.cpus] or list(nodes)
        smallest = int(min(node.memory_bytes for node in workers))
        work = _workloads(space, dataset_info, most_memory=smallest)
        gpus = _gpus_per_trial(work.values(), workers, limits)
        able = [node for node in workers if node.gpus >= gpus] or workers
        # By the smallest node that can take part, so that all of them do.
        given = threads(work, min(max(1, int(node.cpus)) for node in able))
        memory = memory_classes(work, min(able, key=lambda node: node.memory_bytes))
        self._classes = dataset_info.classes
        self._most_memory = int(max(node.memory_bytes for node in able))
        self._larger_shares: dict[str, float] = {}
        self._requests = {
            name: Request(limits.cpus_per_trial or given[name], gpus, memory[name]) for name in work
        }

    def request(self, trial: Trial) -> Request:
        cell = trial.cell
        usual = self._requests[cell.name if cell.name in self._requests else _search_name(cell)]
        if trial.cell_key in self._larger_shares:
            usual = replace(usual, gpus=self._larger_shares[trial.cell_key])
        needed = memory_bytes(cell, self._classes)
        if needed <= usual.memory_bytes or cell.builder not in BUILT_IN:
            return usual
        # A search may draw larger models than the default that the requests were made for. What no
        # machine has is not asked for: the trial would wait for ever.
        larger = min(memory_class(needed), self._most_memory)
        return replace(usual, memory_bytes=max(usual.memory_bytes, larger))

    def enlarge_gpu_share(self, trial: Trial, tried: Request) -> bool:
        """Give the trials of a cell a larger share of a GPU from now on, if there is a larger one.

        `tried` is the request whose share had too little memory for `trial`.
        """
        if not 0 < tried.gpus < 1:
            return False
        if self.request(trial).gpus <= tried.gpus:  # Otherwise another trial has enlarged it.
            self._larger_shares[trial.cell_key] = gpu_share(side_by_side(tried.gpus) // 2)
        return True

    def requests(self) -> set[Request]:
        return set(self._requests.values())


def _workloads(
    space: Space, dataset_info: DatasetInfo, *, most_memory: int
) -> dict[str, CellWorkload]:
    """The size of each cell's trials, from the space alone: what is recorded changes nothing.

    A search stands for all its configurations, with the default as the size of each. No guess at
    the memory of a custom architecture is above `most_memory`: it would exclude a machine.
    """

    def workload(cell: Cell, trials: int) -> CellWorkload:
        memory = memory_bytes(cell, dataset_info.classes)
        return CellWorkload(
            trials,
            training_operations(cell, dataset_info),
            memory if cell.builder in BUILT_IN else min(memory, most_memory),
            gpu_memory_bytes(cell, dataset_info),
        )

    ordinary = space.trials if isinstance(space.trials, int) else space.trials.at_least
    varied = space.spread.trials if space.spread else 0
    workloads = {
        cell.name: workload(cell, ordinary + varied * len(sources_of(space, cell)))
        for cell in space.cells(dataset_info.image_shape)
    }
    if space.search:
        count = space.search.configurations * space.search.trials_each
        for pair in space.search_spaces():
            default = space.bind(*pair, {}, dataset_info.image_shape)
            workloads[_search_name(default)] = workload(default, count)
    return workloads


def _search_name(cell: Cell) -> str:
    return json.dumps([cell.architecture, cell.variant])


def _gpus_per_trial(
    workloads: Iterable[CellWorkload], nodes: Sequence[Node], limits: Limits
) -> float:
    """As asked for; otherwise, where there are GPUs, one share for all trials."""
    if limits.gpus_per_trial is not None:
        return limits.gpus_per_trial
    with_gpus = [node for node in nodes if node.gpus]
    if not with_gpus:
        return 0.0
    return gpu_fraction(
        max(cell.gpu_memory_bytes for cell in workloads),
        gpu_memory_bytes=min(node.gpu_memory_bytes for node in with_gpus),
        cpus_per_gpu=min(node.cpus / node.gpus for node in with_gpus),
    )


def check_fit(requests: Iterable[Request], nodes: Sequence[Node], *, is_cluster: bool) -> None:
    """Refuse what no machine can hold; a cluster may yet grow, so there it is a warning.

    Raises:
        InputError: this machine cannot hold a trial.
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
