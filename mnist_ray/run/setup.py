"""What a sweep runs with, and what that asks of the machines that there are."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.allocation import ResourceAllocator, check_fit
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.device_kinds import change_of_device, check_one_kind, devices_for
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Space

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SweepSetup:
    """What a sweep runs with; nothing of it changes while trials run.

    Attributes:
        code: the modules of the user's own architectures and transforms.
        dataset_info: what plans depend on.
        folder: where the results go.
        limits: what a person asked for, for each trial.
        address: of the cluster; None for a Ray of the sweep's own.
    """

    space: Space
    code: Code
    dataset: Dataset
    dataset_info: DatasetInfo
    folder: ResultsFolder
    ledger: Ledger
    limits: Limits
    address: str | None

    @property
    def is_cluster(self) -> bool:
        """Whether trials run on a cluster that others may use too, and that may grow."""
        return self.address is not None

    def allocator(self, queue: TrialQueue, nodes: Sequence[Node]) -> ResourceAllocator:
        """What trials ask of `nodes`, which can give it.

        Raises:
            InputError: no machine can hold a trial, or decisions would mix kinds of device.
        """
        allocator = ResourceAllocator(self.space, self.dataset_info, nodes, self.limits)
        requests = allocator.requests()
        check_fit(requests, nodes, is_cluster=self.is_cluster)
        if any(node.cpus for node in nodes):  # Otherwise a node that joins decides.
            check_one_kind(queue.plan, queue.records, devices_for(requests, nodes))
        return allocator


def announced_devices(
    queue: TrialQueue, requests: Collection[Request], nodes: Sequence[Node]
) -> set[str]:
    """Where trials would run, with a warning where those that are recorded ran elsewhere."""
    devices = devices_for(requests, nodes)
    if changed := change_of_device(queue.plan, queue.records, devices):
        _LOG.warning("%s", changed)
    return devices
