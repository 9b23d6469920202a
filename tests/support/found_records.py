"""A sweep of which some trials are recorded, not all of them as asked."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st
from made_up import as_failed, made_up_sweep

from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.trial import Trial

SWEEP = made_up_sweep({"trials": 3, "evaluate": {"shifts": [2]}})
KEYS = sorted(SWEEP.records)


def as_found(record: Record, how: str) -> Record:
    """A finished record with that evaluation, as it may be found instead."""
    if how == "failed":
        return as_failed(record)
    if how == "cut short":
        return replace(record, status=Status.CUT_SHORT, test=None, robustness=())
    return replace(record, robustness=()) if how == "lacks a test shift" else record


FOUND = st.dictionaries(
    st.sampled_from(KEYS),
    st.sampled_from(["finished", "failed", "cut short", "lacks a test shift"]),
)


def found_records(found: Mapping[str, str]) -> dict[str, Record]:
    return {key: as_found(SWEEP.records[key], how) for key, how in found.items()}


def keys(trials: tuple[Trial, ...]) -> list[str]:
    return [trial.key for trial in trials]
