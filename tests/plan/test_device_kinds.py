"""Decisions rest on figures of one kind of device."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from made_up import as_failed, made_up_space, made_up_sweep, on_device
from walking import DATASET_INFO, finished, noise, walk

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record
from mnist_ray.plan.device_kinds import (
    change_of_device,
    check_joins,
    check_one_kind,
    devices_of,
    is_same_kind,
)
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.planner import plan

SEARCHED = {
    "architectures": {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}},
    "variants": {"centered": {}},
    "search": {"configurations": 3, "trials_each": 2},
}
DECIDE: dict[str, dict[str, Any]] = {
    "precision": {"trials": {"until_ci95": 0.001, "at_least": 3, "at_most": 50}},
    "difference": {
        "trials": {"at_least": 3, "at_most": 50},
        "until": {"difference": ["cnn", "feed_forward"], "ci95": 0.001},
    },
    "search": SEARCHED,
    "race": {**SEARCHED, "race": True},
}
SETTING = next(iter(made_up_sweep({"trials": 1}).records.values()))


def half_done(changes: Mapping[str, Any], *devices: str) -> tuple[Plan, dict[str, Record]]:
    """A sweep of which each device has run a trial in turn, as far as four trials."""
    space = made_up_space(changes)
    walked = walk(space, lambda trial: finished(trial, 0.9), workers=1, stop_after=4)
    records = {}
    for number, (key, record) in enumerate(walked.records.items()):
        assert SETTING.setting
        object.__setattr__(record, "setting", SETTING.setting)
        records[key] = on_device(record, devices[number % len(devices)])
    return plan(space, DATASET_INFO, records), records


@pytest.mark.parametrize("how", DECIDE)
def test_a_sweep_that_decides_from_results_does_not_go_on_with_another_kind(how: str) -> None:
    planned, records = half_done(DECIDE[how], "CPU")
    check_one_kind(planned, records, {"CPU"})
    with pytest.raises(InputError, match=r"on CPU; .* on NVIDIA T4\..*--gpus-per-trial 0"):
        check_one_kind(planned, records, {"NVIDIA T4"})


@pytest.mark.parametrize("how", DECIDE)
def test_nor_with_records_of_two_kinds_or_a_cluster_of_two(how: str) -> None:
    planned, records = half_done(DECIDE[how], "CPU", "NVIDIA T4")
    with pytest.raises(InputError, match=r"Recorded trials: 2 on CPU, 2 on NVIDIA T4"):
        check_one_kind(planned, records, {"CPU"})
    planned, records = half_done(DECIDE[how], "NVIDIA T4")
    with pytest.raises(InputError, match=r"NVIDIA A100 and NVIDIA T4"):
        check_one_kind(planned, records, {"NVIDIA T4", "NVIDIA A100"})


@pytest.mark.parametrize("how", DECIDE)
def test_a_card_that_joins_decides_nothing(how: str) -> None:
    planned, records = half_done(DECIDE[how], "NVIDIA T4")
    kinds = devices_of(planned, records)
    record = next(iter(records.values()))
    check_joins(planned, record, kinds)
    check_joins(planned, as_failed(on_device(record, "NVIDIA A100")), kinds)
    with pytest.raises(InputError, match=r"ran on NVIDIA A100, others .* on NVIDIA T4\."):
        check_joins(planned, on_device(record, "NVIDIA A100"), kinds)


@pytest.mark.parametrize("how", ["search", "race"])
def test_the_fresh_trials_after_a_search_may_run_on_another_device(how: str) -> None:
    space = made_up_space({**DECIDE[how], "confirm": 2})
    walked = walk(space, lambda trial: finished(trial, 0.9 + noise(trial, 0.02)), workers=1)
    searched = {trial.key for trial in walked.plan.searched}
    records = {
        key: on_device(replace(record, setting=SETTING.setting), "CPU")
        for key, record in walked.records.items()
        if key in searched
    }
    planned = plan(space, DATASET_INFO, records)
    assert planned.missing
    check_one_kind(planned, records, {"NVIDIA T4"})
    assert change_of_device(planned, records, {"NVIDIA T4"}) is not None


def test_a_fixed_number_of_trials_decides_nothing_and_may_go_on_anywhere() -> None:
    planned, records = half_done({"trials": 3}, "CPU")
    check_one_kind(planned, records, {"NVIDIA T4"})


def test_trials_that_may_count_later_are_not_forgotten() -> None:
    """A precision goal starts more trials at once than may be needed at the next look."""
    space = made_up_space(DECIDE["precision"])
    walked = walk(space, lambda trial: finished(trial, 0.9 + noise(trial, 0.02)), stop_after=40)
    wanted = {trial.key for trial in plan(space, DATASET_INFO, walked.records).wanted}
    ahead = {
        key: on_device(replace(record, setting=SETTING.setting), "CPU")
        for key, record in walked.records.items()
    }
    last = max(ahead.values(), key=lambda record: record.trial)
    early = {k: r for k, r in ahead.items() if r.trial < 3 or k == last.key}
    early[last.key] = on_device(last, "NVIDIA T4")
    planned = plan(space, DATASET_INFO, early)
    assert wanted
    assert last.key not in {trial.key for trial in planned.wanted}
    with pytest.raises(InputError, match=r"1 on NVIDIA T4"):
        check_one_kind(planned, early, {"CPU"})


def test_a_sweep_that_goes_on_on_another_device_says_what_ran_where() -> None:
    planned, records = half_done({"trials": 3}, "CPU")
    changed = change_of_device(planned, records, {"NVIDIA T4"})
    assert changed is not None
    assert "Recorded trials: 4 on CPU; the next ones would run on NVIDIA T4." in changed
    assert change_of_device(planned, records, {"CPU"}) is None
    assert change_of_device(plan(made_up_space(), DATASET_INFO, {}), {}, {"NVIDIA T4"}) is None


def test_failed_trials_and_those_that_are_not_asked_for_are_of_no_device() -> None:
    planned, records = half_done({"trials": 3}, "CPU", "NVIDIA T4")
    assert devices_of(planned, records) == {"CPU": 2, "NVIDIA T4": 2}
    fewer = made_up_space({"trials": 1})
    failed = {
        key: as_failed(record) if record.trial == 0 else record for key, record in records.items()
    }
    assert not devices_of(plan(fewer, DATASET_INFO, failed), failed)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("CPU", "CPU", True),
        ("CPU", "NVIDIA T4", False),
        ("CPU", "GPU", False),
        ("NVIDIA T4", "NVIDIA T4", True),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA A100-SXM4-40GB", True),
        ("Tesla T4", "NVIDIA Tesla T4", True),
        ("NVIDIA T4", "GPU", True),  # not known
        ("NVIDIA T4", "NVIDIA A100", False),
        # One name begins with the other, and they are different cards.
        ("NVIDIA L4", "NVIDIA L40S", False),
        ("NVIDIA A10", "NVIDIA A100-SXM4-40GB", False),
    ],
)
def test_kinds_are_distinguished_by_their_names(first: str, second: str, same: bool) -> None:
    assert is_same_kind(first, second) is is_same_kind(second, first) is same
