"""The queue of a sweep: every trial once, and nothing ends before all that is wanted has run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from found_records import FOUND, KEYS, SWEEP, as_found, found_records, keys
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import as_failed, folder_at, made_up_space, with_versions
from walking import DATASET_INFO, chosen, failed, noise, walk
from walking import finished as finished_with

from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Costs, Record, Versions
from mnist_ray.ledger.record_file import to_table
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.space import Space


def finished(trial: Trial) -> Record:
    return SWEEP.records[trial.key]


def queue(records: Mapping[str, Record], *, max_concurrent: int | None = None) -> TrialQueue:
    def plan_now(known: Mapping[str, Record]) -> Plan:
        return plan(SWEEP.space, SWEEP.dataset_info, known)

    return TrialQueue(plan_now, records, max_concurrent=max_concurrent)


@settings(max_examples=50)
@given(found=FOUND, max_concurrent=st.none() | st.integers(1, 20), seed=st.integers(0, 999))
def test_a_queue_submits_each_missing_trial_once_and_few_enough_at_a_time(
    found: dict[str, str], max_concurrent: int | None, seed: int
) -> None:
    due = queue(found_records(found), max_concurrent=max_concurrent)
    expected = keys(due.plan.missing)
    chance = np.random.default_rng(seed)
    submitted: list[str] = []
    running: list[Trial] = []
    while due.left:
        if chance.random() < 0.5 and (trial := due.next()) is not None:
            submitted.append(trial.key)
            running.append(trial)
        elif running:
            record = finished(running.pop(chance.integers(len(running))))
            due.complete(as_failed(record) if chance.random() < 0.3 else record)
        assert max_concurrent is None or len(running) <= max_concurrent
    assert submitted == expected
    assert due.next() is None
    assert set(due.records) == set(KEYS)


def test_a_queue_is_not_done_while_a_trial_runs() -> None:
    records = dict(SWEEP.records)
    del records[KEYS[0]]
    due = queue(records)
    trial = due.next()
    assert trial is not None
    assert due.next() is None
    assert due.left == 1
    due.complete(finished(trial))
    assert due.left == 0


def test_the_limit_counts_what_runs_and_not_what_has_ended() -> None:
    due = queue({}, max_concurrent=2)
    first, second, third = due.next(), due.next(), due.next()
    assert first is not None
    assert second is not None
    assert third is None
    due.complete(finished(first))
    assert due.next() is not None


def test_a_failed_trial_waits_for_the_next_time_that_the_command_is_given() -> None:
    failed = as_failed(SWEEP.records[KEYS[0]])
    records: dict[str, Record] = {**SWEEP.records, failed.key: failed}
    due = queue(records)
    trial = due.next()
    assert trial is not None
    assert trial.key == failed.key
    due.complete(failed)
    assert due.next() is None
    assert due.left == 0
    assert queue(due.records).next() is not None


def test_a_trial_that_was_requeued_is_the_next_one() -> None:
    due = queue({})
    first, second = due.next(), due.next()
    assert first is not None
    assert second is not None
    due.requeue(first)
    assert due.next() == first
    due.requeue_all()
    assert [due.next(), due.next()] == [second, first]


def test_a_queue_has_the_records_that_the_ledger_has(tmp_path: Path) -> None:
    """A finished trial runs again for another test shift alone: its figures stay as they are."""
    lacking = {key: as_found(record, "lacks a test shift") for key, record in SWEEP.records.items()}
    ledger = Ledger(folder_at(tmp_path))
    ledger.write(list(lacking.values()))
    due = queue(lacking)
    for number in range(due.left):
        trial = due.next()
        assert trial is not None
        again = replace(finished(trial), costs=Costs(peak_memory_bytes=1), epochs=())
        ended = as_failed(again) if number == 0 else again
        ledger.write([ended])
        due.complete(ended)
    in_ledger = ledger.read()
    assert to_table(list(due.records.values())) == to_table([in_ledger[k] for k in due.records])
    assert sum(len(record.robustness) for record in due.records.values()) == len(KEYS) - 1


# A second command, after one in which trials failed


def space_of(changes: Mapping[str, Any]) -> Space:
    return made_up_space({"variants": {"centered": {}}, "training": {"epochs": 1}, **changes})


SEARCHED = {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}}
OPEN_SPACES = {
    "search": {
        "architectures": SEARCHED,
        "search": {"configurations": 3, "trials_each": 2},
        "confirm": 2,
    },
    "race": {
        "architectures": SEARCHED,
        "search": {"configurations": 4, "trials_each": 3},
        "confirm": 2,
        "race": True,
    },
    "precision": {"trials": {"until_ci95": 0.004, "at_least": 3, "at_most": 12}},
    "difference": {
        "trials": {"at_least": 3, "at_most": 12},
        "until": {"difference": ["cnn", "feed_forward"], "ci95": 0.005},
    },
}


@settings(max_examples=120)
@given(
    kind=st.sampled_from(sorted(OPEN_SPACES)),
    space_seed=st.integers(0, 50),
    share=st.sampled_from([0.1, 0.3, 0.6, 1.0]),
    workers=st.integers(1, 8),
    order=st.integers(0, 999),
)
def test_a_second_command_runs_all_that_is_wanted_though_trials_had_failed(
    kind: str, space_seed: int, share: float, workers: int, order: int
) -> None:
    """While a trial runs again, its old failure is no result that a search could go on from."""
    space = space_of({**OPEN_SPACES[kind], "seed": space_seed})

    def ends(trial: Trial) -> Record:
        return finished_with(trial, 0.9 + noise(trial, 0.004))

    def partly_fails(trial: Trial) -> Record:
        return failed(trial) if chosen(trial, share) else ends(trial)

    first = walk(space, partly_fails, workers=workers, seed=order)
    second = walk(space, ends, workers=workers, seed=order + 1, records=first.records)
    assert not plan(space, DATASET_INFO, second.records).missing
    assert not second.plan.is_open
    undisturbed = walk(space, ends, workers=workers, seed=order)
    assert second.gist == undisturbed.gist


def later(key: str) -> Record:
    """The trial's record, had it run a day later."""
    record = SWEEP.records[key]
    assert record.setting is not None
    started_at = record.setting.started_at + timedelta(days=1)
    return replace(record, setting=replace(record.setting, started_at=started_at))


def test_outdated_trials_run_again_once_and_do_not_count_until_they_have() -> None:
    def is_outdated(record: Record) -> bool:
        return record.has_other_versions(Versions.installed())

    outdated = {key: with_versions(SWEEP.records[key], numpy_version="1.0") for key in KEYS[:3]}

    def plan_now(known: Mapping[str, Record]) -> Plan:
        assert not any(is_outdated(record) for record in known.values())
        return plan(SWEEP.space, SWEEP.dataset_info, known)

    current = {key: with_versions(later(key), **vars(Versions.installed())) for key in KEYS}
    due = TrialQueue(plan_now, {**current, **outdated}, is_outdated=is_outdated)
    assert {trial.key for trial in due.plan.missing} == set(outdated)
    due.take_over(list(outdated.values()))
    assert due.left == len(outdated)
    while (trial := due.next()) is not None:
        due.complete(current[trial.key])
    assert not due.left
    assert due.records == current
