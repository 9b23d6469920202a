"""Looks whether trials wait for a machine."""

import time
from collections.abc import Callable

import ray
from ray.tune.experiment import Trial as TuneTrial
from ray.util import placement_group_table

from mnist_ray.plan.block import Block
from mnist_ray.plan.resources import Request
from mnist_ray.run.connection import PATIENCE_SECONDS


class RoomWatch:
    """Reports that no node has room for a trial: once, until trials run again."""

    def __init__(self, waiting: Callable[[Request], None]) -> None:
        self._waiting = waiting
        self._since = time.monotonic()
        self._is_reported = False

    def look(self, trials: list[TuneTrial], *, is_idle: bool) -> None:
        """Look at Ray Tune's trials, of which none runs if `is_idle`."""
        now = time.monotonic()
        if not (is_idle and trials):
            self._since, self._is_reported = now, False
        elif not self._is_reported and now - self._since >= PATIENCE_SECONDS:
            self._since = now
            # A trial with room is starting: it imports TensorFlow, and may fetch the code first.
            if trials[-1].status == TuneTrial.PENDING and not _has_room():
                self._is_reported = True
                block: Block = trials[-1].config["block"]
                self._waiting(block.request)


def _has_room() -> bool:
    """Whether any of this program's requests has been given its resources."""
    job = ray.get_runtime_context().get_job_id()  # The end of its placement groups' names.
    groups = placement_group_table().items()
    return any(name.endswith(job) and group["state"] == "CREATED" for name, group in groups)
