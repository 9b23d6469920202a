"""On which kinds of device a sweep's trials ran, and whether its decisions may use them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.resources import Node, Request

ANY_GPU = "GPU"
"""In place of the name of a GPU that is not known."""


def check_one_kind(plan: Plan, records: Mapping[str, Record], devices: Collection[str]) -> None:
    """Refuse to decide from figures of different kinds of device what to run next.

    A precision goal, a race and a search compare figures of trials, and those of a CPU and of a GPU
    differ by more than chance. A plan that decides nothing any more may mix them: its means are
    kept apart by device.

    `devices` are where it would run now: "CPU", or names of GPUs.

    Raises:
        InputError: the plan decides something, and these are of several kinds.
    """
    if plan.is_open and (several := _several_kinds(plan, records, devices)):
        raise InputError(
            f"the space decides from its results what to run next ({_what_decides(plan)}), and "
            f"results of different kinds of device cannot be compared. {several}. Run them on one "
            "kind (--gpus-per-trial 0 is for CPUs), or give the space another name and begin anew, "
            "or ask for a fixed number of trials."
        )


def check_joins(plan: Plan, record: Record, kinds: Collection[str]) -> None:
    """Refuse a result of another kind of device while results decide what to run next.

    A cluster may get a node with another card when trials already run. `kinds` are the devices of
    the sweep's other trials.

    Raises:
        InputError: the plan decides something, and the trial ran on another kind.
    """
    device = device_of(record)
    if not plan.is_open or device is None or are_one_kind([*kinds, device]):
        return
    others = " and ".join(sorted(set(kinds) - {device}))
    raise InputError(
        f"a trial of {record.architecture} {record.variant} ran on {device}, others of this sweep "
        f"on {others}. The space decides from its results what to run next "
        f"({_what_decides(plan)}), and results of different kinds of device cannot be compared. "
        "What was recorded before is kept. Leave one kind of device in the cluster and give the "
        "same command again, or ask for a fixed number of trials."
    )


def change_of_device(
    plan: Plan, records: Mapping[str, Record], devices: Collection[str]
) -> str | None:
    """A sentence on the devices of a sweep, if they are of several kinds; arguments as above."""
    several = _several_kinds(plan, records, devices)
    return several and (
        f"{several}. Each mean is over trials on one device, and cells on different devices are "
        "not compared."
    )


def _several_kinds(
    plan: Plan, records: Mapping[str, Record], devices: Collection[str]
) -> str | None:
    """On which devices trials ran and would run, where these are of several kinds."""
    recorded = devices_of(plan, records)
    if are_one_kind([*recorded, *devices]):
        return None
    known = ", ".join(f"{count} on {device}" for device, count in sorted(recorded.items()))
    now = " and ".join(sorted(devices))
    return f"Recorded trials: {known or 'none'}; the next ones would run on {now}"


def devices_of(plan: Plan, records: Mapping[str, Record]) -> Counter[str]:
    """How many of the trials that are wanted, or may yet be, were recorded on each device.

    Without those that run again.
    """
    left_out = plan.unrequested(records) | {trial.key for trial in plan.missing}
    found = (device_of(record) for key, record in records.items() if key not in left_out)
    return Counter(device for device in found if device)


def device_of(record: Record) -> str | None:
    """Where a trial ended that did not fail; None where it failed, or that is not known."""
    return None if record.status is Status.FAILED else record.device


def devices_for(requests: Iterable[Request], nodes: Iterable[Node]) -> set[str]:
    """Where trials with these requests would run: "CPU", or the names of GPUs."""
    if not any(request.gpus for request in requests):
        return {"CPU"}
    names = {name for node in nodes if node.cpus for name in node.gpu_names}
    return names or {ANY_GPU}


def are_one_kind(devices: Collection[str]) -> bool:
    """Whether all of these devices are of one kind."""
    return all(is_same_kind(first, second) for first, second in combinations(set(devices), 2))


def is_same_kind(first: str, second: str) -> bool:
    """Whether two devices are of one kind, as far as their names say."""
    if "CPU" in (first, second):
        return first == second
    return ANY_GPU in (first, second) or _model(first) == _model(second)


def _model(gpu: str) -> str:
    """The name of a card, without the maker's and that of a part of it.

    TensorFlow may name the part of the card that a trial has, where the driver names the card. Old
    drivers leave out the maker.
    """
    return gpu.removeprefix("NVIDIA ").partition(" MIG ")[0]


def _what_decides(plan: Plan) -> str:
    return "a search" if plan.searches else "trials until an interval is narrow enough"
