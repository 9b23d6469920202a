"""What the report shows of transformed test images is kept beside the records."""

import logging

from mnist_ray.errors import InputError
from mnist_ray.ledger.test_images import transformed_path, write_transformed
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run.setup import SweepSetup
from mnist_ray.train.transform_check import transformed_test_images

_MOST_TRANSFORMS = 24
"""A page shows examples of no more cells; a grid may have thousands of transforms."""

_LOG = logging.getLogger(__name__)


def keep_transformed_images(queue: TrialQueue, setup: SweepSetup) -> None:
    """Keep the test images of each transform that a reported trial was graded on.

    A child process makes them. Where it fails, the report has no examples of them.

    Raises:
        StorageError: they cannot be written.
    """
    wanted = _not_kept(queue, setup)
    transforms = [trial.cell.transform for trial in wanted if trial.cell.transform]
    try:
        made = transformed_test_images(transforms, setup.dataset, setup.code, seed=setup.space.seed)
    except InputError as error:
        _LOG.warning("The report has no examples of transformed images: %s", error)
        return
    for trial, images in zip(wanted, made, strict=True):
        write_transformed(setup.folder, trial.identity, images)


def _not_kept(queue: TrialQueue, setup: SweepSetup) -> list[Trial]:
    places: dict[str, Trial] = {}
    for trial in queue.plan.measured:
        if trial.cell.transform and trial.key in queue.records:
            place = transformed_path(setup.folder, trial.identity)
            places.setdefault(place, trial)
    first = list(places.items())[:_MOST_TRANSFORMS]
    return [trial for place, trial in first if not setup.folder.exists(place)]
