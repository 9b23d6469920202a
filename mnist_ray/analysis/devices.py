"""On which devices trials ran: what ran on different ones is not compared, and that is said."""

from collections import Counter

from mnist_ray.analysis.tables import Tables
from mnist_ray.ledger.record import Status
from mnist_ray.space.columns import SWEEP


def device_sentences(tables: Tables) -> list[str]:
    """A sentence on the devices that trials ran on, if they are several."""
    names = ["key", "status", "device"]
    names += [SWEEP.name] if SWEEP.name in tables.trials.column_names else []
    # By key: cells of equal settings share their trials.
    trials = {(r.get(SWEEP.name), r["key"]): r for r in tables.trials.select(names).to_pylist()}
    ended = [row for row in trials.values() if row["status"] != Status.FAILED]
    counts = Counter(row["device"] for row in ended if row["device"])
    if len(counts) < 2:
        return []
    devices = ", ".join(f"{count} on {device}" for device, count in sorted(counts.items()))
    unnamed = " A finding that names no device is about the CPU." if "CPU" in counts else ""
    return [
        f"The trials ran on different devices: {devices}. Each mean is over trials on one device, "
        f"and cells on different devices are not compared.{unnamed}"
    ]
