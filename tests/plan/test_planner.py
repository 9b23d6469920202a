from dataclasses import replace

import pytest
from found_records import FOUND, KEYS, SWEEP, found_records, keys
from hypothesis import given
from made_up import made_up_space, made_up_sweep

from mnist_ray.ledger.record import Costs
from mnist_ray.plan.planner import plan


@given(FOUND)
def test_what_is_not_finished_as_asked_is_planned_once_and_nothing_else(
    found: dict[str, str],
) -> None:
    planned = plan(SWEEP.space, SWEEP.dataset_info, found_records(found))
    assert sorted(keys(planned.wanted)) == KEYS
    missing = [key for key in KEYS if found.get(key) != "finished"]
    assert sorted(keys(planned.missing)) == missing
    assert planned.settled == len(KEYS) - len(missing)
    assert not planned.is_open


@given(FOUND)
def test_records_of_other_sweeps_change_nothing(found: dict[str, str]) -> None:
    others = made_up_sweep({"seed": 99}).records
    records = found_records(found)
    planned = (
        plan(SWEEP.space, SWEEP.dataset_info, known) for known in (records, records | others)
    )
    ours, with_others = (sorted(keys(each.missing)) for each in planned)
    assert ours == with_others


@pytest.mark.parametrize("trials", [1, 3, 10])
def test_more_trials_never_change_earlier_ones(trials: int) -> None:
    wanted = plan(made_up_space({"trials": trials}), SWEEP.dataset_info, SWEEP.records)
    if trials <= 3:
        assert not wanted.missing
    else:
        assert {trial.index for trial in wanted.missing} == set(range(3, trials))
        assert len(wanted.missing) == 4 * (trials - 3)


def test_a_new_architecture_runs_only_its_own_cells() -> None:
    extended = made_up_space({"architectures": {"feed_forward": {}, "cnn": {}, "new": WIDE}})
    missing = plan(extended, SWEEP.dataset_info, SWEEP.records).missing
    assert {trial.cell.architecture for trial in missing} == {"new"}
    assert len(missing) == 2 * 3


WIDE = {"build": "feed_forward", "hidden_units": [1024]}


def test_two_names_of_one_and_the_same_architecture_are_run_once() -> None:
    space = made_up_space(
        {"architectures": {"one": {"build": "cnn"}, "two": {"build": "cnn"}}, "trials": 3}
    )
    planned = plan(space, SWEEP.dataset_info, {})
    assert len(keys(planned.missing)) == len(set(keys(planned.missing))) == 2 * 3
    assert planned.settled == 0
    assert plan(space, SWEEP.dataset_info, SWEEP.records).settled == 2 * 3


def test_an_own_shift_that_is_asked_for_is_graded_anyway() -> None:
    space = made_up_space({"evaluate": {"shifts": [0, 4]}, "variants": {"it": {"shift": 4}}})
    without = made_up_sweep({"variants": {"it": {"shift": 4}}})
    planned = plan(space, without.dataset_info, without.records)
    assert len(planned.missing) == len(planned.wanted)  # they lack the shift 0
    own = made_up_space({"evaluate": {"shifts": [4]}, "variants": {"it": {"shift": 4}}})
    assert not plan(own, without.dataset_info, without.records).missing


def test_the_longest_start_first_by_their_operations_before_any_has_run() -> None:
    order = plan(
        made_up_space({"trials": 2}), replace(SWEEP.dataset_info, image_shape=(28, 28)), {}
    )
    cells = [(t.cell.architecture, t.cell.variant, t.index) for t in order.missing]
    assert cells == [
        (architecture, variant, index)
        for architecture in ("cnn", "feed_forward")
        for variant in ("shifted", "centered")
        for index in range(2)
    ]


def test_recorded_times_are_believed_more_than_operations() -> None:
    seconds = {("cnn", "shifted"): 1.0, ("cnn", "centered"): 3.0, ("feed_forward", "shifted"): 2.0}
    records = {
        key: replace(record, costs=Costs(9.0, seconds[record.architecture, record.variant], 0.5))
        for key, record in SWEEP.records.items()
        if (record.architecture, record.variant) in seconds
    }
    longer = made_up_space({"trials": 4, "evaluate": {"shifts": [2]}})
    missing = plan(longer, SWEEP.dataset_info, records).missing
    known = [(t.cell.architecture, t.cell.variant) for t in missing if t.index == 3]
    known.remove(("feed_forward", "centered"))  # its three earlier trials are missing too
    assert known == sorted(seconds, key=lambda cell: -seconds[cell])


def test_a_record_that_lacks_another_variants_test_set_is_run_again_whatever_its_name() -> None:
    noisy = {"transform": "own:noise", "sigma": 9}
    both = {"variants": {"clean": {}, "noisy": noisy}, "trials": 2}
    without = made_up_sweep(both)
    asked = made_up_sweep({**both, "evaluate": {"variants": "all"}})
    assert asked.records.keys() == without.records.keys()  # They are no part of the identity.
    assert not plan(asked.space, asked.dataset_info, asked.records).missing
    missing = plan(asked.space, asked.dataset_info, without.records).missing
    assert {trial.key for trial in missing} == without.records.keys()
    renamed = {"plain": {}, "grainy": noisy}
    space = made_up_space({"variants": renamed, "trials": 2, "evaluate": {"variants": "all"}})
    assert not plan(space, asked.dataset_info, asked.records).missing
