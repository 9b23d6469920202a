"""On which kinds of device a sweep's trials ran, and whether its decisions may rest on them."""

from collections import Counter
from collections.abc import Collection, Mapping

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.planner import Plan

ANY_GPU = "GPU"
"""In place of the name of a GPU that is not known."""


def check_one_kind(plan: Plan, records: Mapping[str, Record], devices: Collection[str]) -> None:
    """Refuse to decide from figures of different kinds of device what to run next.

    A precision goal, a race and a search compare figures of trials, and those of a CPU and of a GPU
    differ by more than chance. A plan that decides nothing any more may mix them: its means are
    kept apart by device. `devices` are those where it would run now: "CPU", or names of GPUs.

    Raises:
        InputError: the plan decides something, and these are of several kinds.
    """
    if not plan.is_open:
        return
    recorded = _devices_of(plan, records)
    kinds = [*recorded, *devices]
    if all(is_same_kind(first, second) for first in kinds for second in kinds):
        return
    what_decides = "a search" if plan.searches else "trials until an interval is narrow enough"
    known = ", ".join(f"{count} on {device}" for device, count in sorted(recorded.items()))
    raise InputError(
        f"the space decides from its results what to run next ({what_decides}), and results "
        f"of different kinds of device can't be compared. Recorded trials: {known or 'none'}; the "
        f"next ones would run on {' and '.join(sorted(devices))}. Run them on one kind "
        "(--gpus-per-trial 0 is for CPUs), or give the space another name and begin anew, or ask "
        "for a fixed number of trials."
    )


def _devices_of(plan: Plan, records: Mapping[str, Record]) -> Counter[str]:
    """How many of the wanted trials that need not run again were recorded on each device."""
    missing = {trial.key for trial in plan.missing}
    found = (records.get(trial.key) for trial in plan.wanted if trial.key not in missing)
    return Counter(
        record.setting.device
        for record in found
        if record and record.setting and record.status is not Status.FAILED
    )


def is_same_kind(first: str, second: str) -> bool:
    """Whether two devices are of one kind, as far as their names say.

    The driver and TensorFlow may name a card differently, one with an addition.
    """
    if "CPU" in (first, second):
        return first == second
    return ANY_GPU in (first, second) or first in second or second in first
