"""What a sweep runs with: its space, the images, and the folder of its results."""

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mnist_ray.data.dataset import Dataset, load_dataset
from mnist_ray.data.keras_cache import DatasetUnavailable
from mnist_ray.ledger.ledger import Ledger, SweepManifest
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import TestSet, write_test_set
from mnist_ray.plan.allocation import ResourceAllocator, check_fit
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.device_kinds import change_of_device, check_one_kind, devices_for
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.sampler import check_optuna
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run.cluster import find_address
from mnist_ray.space.custom_code import Code, source_digests
from mnist_ray.space.space import Space, load_space
from mnist_ray.train.transform_check import checked_image_shapes

_DIGITS_NOTICE = (
    "This is not MNIST: it cannot be had here ({reason}), so this is scikit-learn's digits, 1,797 "
    "small handwritten digits set in 28x28 pixels. With MNIST at hand: --data PATH."
)

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
        notices: say plainly, at the start and at the end, what one would not expect.
    """

    space: Space
    code: Code
    dataset: Dataset
    dataset_info: DatasetInfo
    folder: ResultsFolder
    ledger: Ledger
    limits: Limits
    address: str | None
    notices: Sequence[str] = ()

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

    def describe_records(self, command: str) -> None:
        """Write what the records are of, so that the folder explains itself.

        Args:
            command: what runs what the sweep still lacks.
        """
        dataset = self.dataset
        self.ledger.set_aside_damaged()
        self.ledger.pack()
        test_set = TestSet(
            dataset.name,
            dataset.fingerprint,
            dataset.classes,
            dataset.test_images,
            dataset.test_labels.astype("int32"),
            dataset.class_names,
        )
        write_test_set(self.folder, test_set)
        shapes = {key: list(shape) for key, shape in self.space.image_shapes.items()}
        sources = dict(self.dataset_info.sources)
        self.ledger.write_manifest(SweepManifest(dataset.fingerprint, sources, command, shapes))
        self.folder.write(self.folder.space, self.space.to_yaml().encode())


def announced_devices(
    queue: TrialQueue, requests: Collection[Request], nodes: Sequence[Node]
) -> set[str]:
    """Where trials would run, with a warning where those that are recorded ran elsewhere."""
    devices = devices_for(requests, nodes)
    if changed := change_of_device(queue.plan, queue.records, devices):
        _LOG.warning("%s", changed)
    return devices


def set_up(
    name: str | None,
    *,
    data: str | None,
    trials: int | None,
    seed: int | None,
    results: str,
    limits: Limits,
    address: str | None,
) -> SweepSetup:
    """What a sweep of the space called `name`, which is a path or shipped, runs with.

    Without a name: the notebook's cells on MNIST where it can be had, otherwise on digits. MNIST
    lies at `data`, or where `MNIST_RAY_DATA` says. `trials` of each cell and `seed` replace what
    the file says. The sweep's folder is in the folder or URI `results`.

    Raises:
        InputError: the space or the images cannot be used, together or by themselves, or there
            can be no such folder or address.
    """
    space, dataset, notices = _find_images(name, data)
    space = space.override(trials=trials, seed=seed)
    code = space.user_code()
    space = space.with_image_shapes(checked_image_shapes(space, dataset, code))
    space.check_images(dataset.image_shape, dataset.classes)
    if space.search and space.search.algorithm == "optuna":
        check_optuna()
    folder = ResultsFolder.open(results, space.name)
    return SweepSetup(
        space=space,
        code=code,
        dataset=dataset,
        dataset_info=DatasetInfo.of(dataset, sources=source_digests(code)),
        folder=folder,
        ledger=Ledger(folder),
        limits=limits,
        address=find_address(address),
        notices=notices,
    )


def _find_images(name: str | None, data: str | None) -> tuple[Space, Dataset, Sequence[str]]:
    space = load_space(name or "notebook")
    try:
        return space, _load_images(space, data), []
    except DatasetUnavailable as error:
        if name is not None:
            raise
        reason = str(error.__cause__ or error).splitlines()[0]
    digits = load_space("digits")
    return digits, _load_images(digits, None), [_DIGITS_NOTICE.format(reason=reason)]


def _load_images(space: Space, data: str | None) -> Dataset:
    if space.dataset == "mnist":
        data = data or os.environ.get("MNIST_RAY_DATA") or None
    base = space.source.parent if space.source else None
    return load_dataset(space.dataset, data=data, base=base)
