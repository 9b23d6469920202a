"""What a sweep runs with."""

from dataclasses import dataclass

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.resources import Limits
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Space


@dataclass(frozen=True, eq=False)
class SweepSetup:
    """What a sweep runs with; nothing of it changes while trials run.

    Attributes:
        space: which cells, and how many trials.
        code: the modules of the user's own architectures and transforms.
        dataset: the images.
        dataset_info: what plans depend on.
        folder: where the results go.
        ledger: the records in it.
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
