"""What would keep a sweep from running, found out before anything starts.

A dry run asks the same questions.
"""

from collections.abc import Sequence

from mnist_ray.plan import allocation
from mnist_ray.plan.trial import Trial
from mnist_ray.run import connection
from mnist_ray.run.cluster import check_reachable, check_same_versions
from mnist_ray.run.setup import SweepSetup
from mnist_ray.train.builder_check import check_builders


def check_missing(missing: Sequence[Trial], setup: SweepSetup) -> None:
    """See that the trials in `missing` can run: the cluster, the machine, the user's own models.

    Raises:
        InputError: they cannot.
    """
    if not missing:
        return
    if setup.address is None:
        expected_concurrency(setup)
    else:
        check_same_versions(check_reachable(setup.address))
    cells = {trial.cell_key: trial.cell for trial in missing}
    check_builders(list(cells.values()), classes=setup.dataset_info.classes, code=setup.code)


def expected_concurrency(setup: SweepSetup) -> int:
    """How many trials of the space would run at a time, here or on the cluster.

    Raises:
        InputError: this machine cannot hold a trial.
    """
    if setup.address is None:
        nodes = [connection.this_machine()]
    else:
        with connection.connected(setup.address, verbose=False):
            nodes = connection.nodes()
    return allocation.expected_concurrency(
        setup.space, setup.dataset_info, setup.limits, nodes, is_cluster=setup.is_cluster
    )
