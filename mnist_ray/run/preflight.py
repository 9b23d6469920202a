"""What would keep a sweep from running, found out before anything starts.

A dry run asks the same questions.
"""

from collections.abc import Sequence

from mnist_ray.plan import allocation
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.resources import Limits
from mnist_ray.plan.trial import Trial
from mnist_ray.run import connection
from mnist_ray.run.cluster import check_reachable, check_same_versions
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Space
from mnist_ray.train.builder_check import check_builders


def check_missing(
    missing: Sequence[Trial],
    *,
    space: Space,
    code: Code,
    dataset_info: DatasetInfo,
    address: str | None,
    limits: Limits,
) -> None:
    """See that the trials in `missing` can run: the cluster, the machine, the user's own models.

    Raises:
        InputError: they cannot.
    """
    if not missing:
        return
    if address is None:
        expected_concurrency(space, dataset_info, address=None, limits=limits)
    else:
        check_same_versions(check_reachable(address))
    cells = {trial.cell_key: trial.cell for trial in missing}
    check_builders(list(cells.values()), classes=dataset_info.classes, code=code)


def expected_concurrency(
    space: Space, dataset_info: DatasetInfo, *, address: str | None, limits: Limits
) -> int:
    """How many trials of the space would run at a time, here or on the cluster at `address`.

    Raises:
        InputError: this machine cannot hold a trial.
    """
    if address is None:
        nodes = [connection.this_machine()]
    else:
        with connection.connected(address, verbose=False):
            nodes = connection.nodes()
    return allocation.expected_concurrency(
        space, dataset_info, limits, nodes, is_cluster=address is not None
    )
