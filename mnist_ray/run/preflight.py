"""What would keep a sweep from running, found out before anything starts.

A dry run asks the same questions.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

from mnist_ray.plan.forecast import Forecast, forecast, seconds_beyond_budget
from mnist_ray.plan.resources import concurrency
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import connection
from mnist_ray.run.cluster import check_joinable
from mnist_ray.run.setup import SweepSetup, announced_devices
from mnist_ray.space.space import Cell
from mnist_ray.train.calibration import calibrate
from mnist_ray.train.cell_check import check_cells

_LOG = logging.getLogger(__name__)


def check_missing(queue: TrialQueue, setup: SweepSetup) -> None:
    """See that what is missing can run: the cluster, the machine, the user's own models,
    and what Keras takes.

    Raises:
        InputError: it cannot.
    """
    missing = queue.plan.missing
    if not missing:
        return
    if setup.address is None:
        setup.allocator(queue, [connection.this_machine()])
    else:
        check_joinable(setup.address)
    cells = {trial.cell_key: trial.cell for trial in missing}
    _warn_of_small_budget(queue, setup)
    check_cells(list(cells.values()), setup.dataset_info, setup.code)


def _warn_of_small_budget(queue: TrialQueue, setup: SweepSetup) -> None:
    plan = queue.plan
    seconds = seconds_beyond_budget(plan, setup.dataset_info, queue.records, _calibration(setup))
    if plan.budget and seconds is not None:
        _LOG.warning(
            "trials.within: a budget of %s is less than what %d trials of each cell take, about "
            "%s of work. They run all the same, and none beyond them.",
            plan.budget.goal.within,
            plan.budget.goal.at_least,
            f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min",
        )


def expected(queue: TrialQueue, setup: SweepSetup, *, hourly_cost: float | None) -> Forecast:
    """What the rest of a sweep would take; raises as `expected_concurrency` does."""
    return forecast(
        queue.plan,
        space=setup.space,
        dataset_info=setup.dataset_info,
        records=queue.records,
        concurrency=expected_concurrency(queue, setup) if queue.plan.missing else 1,
        hourly_cost=hourly_cost,
        calibrate=_calibration(setup),
    )


def _calibration(setup: SweepSetup) -> Callable[[dict[str, Cell]], Mapping[str, float]]:
    """Measures how long trials of cells take, by their keys."""
    return partial(calibrate, dataset_info=setup.dataset_info, code=setup.code)


def expected_concurrency(queue: TrialQueue, setup: SweepSetup) -> int:
    """How many trials of the space would run at a time, here or on the cluster.

    Says so where they would run on another kind of device than those that are recorded.

    Raises:
        InputError: this machine cannot hold a trial, or decisions would mix kinds of device.
    """
    if setup.address is None:
        nodes = [connection.this_machine()]
    else:
        with connection.connected(setup.address, verbose=False):
            nodes = connection.nodes()
    requests = setup.allocator(queue, nodes).requests()
    announced_devices(queue, requests, nodes)
    found = concurrency(requests, nodes)
    return min(found, queue.max_concurrent or found)
