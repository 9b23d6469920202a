"""Which trials tell where the spread comes from, and that they are mixed up with no others."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from made_up import made_up_record, made_up_space, made_up_sweep

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.forecast import forecast
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import left_out_sentences
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.space import Space, StoppingRule

ORDINARY = made_up_sweep({"trials": 4})
SPREAD = {"trials": 4, "spread": {"trials": 4}}


def planned(space: Space, records: dict[str, Record] | None = None) -> Plan:
    return plan(space, ORDINARY.dataset_info, records or {})


def recorded(spread: Plan) -> dict[str, Record]:
    rng = np.random.default_rng(0)
    made = (made_up_record(t, 0.9, test_set=ORDINARY.test_set, rng=rng) for t in spread.wanted)
    return {record.key: record for record in made}


def test_each_source_that_a_cell_has_is_varied_alone_in_so_many_trials() -> None:
    wanted = planned(made_up_space(SPREAD))
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for trial in wanted.varied:
        sources = counts.setdefault((trial.cell.architecture, trial.cell.variant), {})
        sources[str(trial.source)] = sources.get(str(trial.source), 0) + 1
    everywhere = {"weights": 4, "shuffling": 4, "sample": 4}
    assert counts == {
        ("feed_forward", "centered"): everywhere,
        ("feed_forward", "shifted"): everywhere | {"placement": 4},
        ("cnn", "centered"): everywhere | {"dropout": 4},
        ("cnn", "shifted"): everywhere | {"placement": 4, "dropout": 4},
    }
    assert len({trial.key for trial in wanted.wanted}) == 4 * 4 + sum(map(len, counts.values())) * 4


def test_what_a_cell_lacks_is_named() -> None:
    space = made_up_space({**SPREAD, "spread": {"sources": ["dropout", "placement", "weights"]}})
    assert left_out_sentences(space, space.cells((8, 8))) == [
        "No trials vary dropout alone for feed_forward (centered), feed_forward (shifted), which "
        "have no dropout.",
        "No trials vary placement alone for feed_forward (centered), cnn (centered), which have "
        "no placement.",
    ]


@pytest.mark.parametrize(
    ("architecture", "has_it"),
    [
        ({"build": "cnn", "dropout": 0.0}, False),
        ({"build": "feed_forward", "dropout": 0.2}, True),
        ({"build": "feed_forward", "dropout": 0.2, "hidden_units": []}, False),
        ({"build": "own:build"}, True),
    ],
)
def test_dropout_varies_where_there_may_be_some(architecture: object, *, has_it: bool) -> None:
    space = made_up_space({**SPREAD, "architectures": {"it": architecture}})
    assert has_it is any(trial.source == "dropout" for trial in planned(space).varied)


def test_ordinary_trials_have_the_keys_that_they_have_without_a_spread() -> None:
    wanted = planned(made_up_space(SPREAD), ORDINARY.records)
    assert {trial.key for trial in wanted.measured} == set(ORDINARY.records)
    assert not {trial.key for trial in wanted.varied} & set(ORDINARY.records)
    assert [trial.source for trial in wanted.missing if trial.source is None] == []


def test_there_are_at_least_as_many_ordinary_trials() -> None:
    assert made_up_space({"trials": 3, "spread": {"trials": 7}}).trials == 7
    assert made_up_space({"trials": 9, "spread": {"trials": 7}}).trials == 9
    assert made_up_space({"spread": {}}).trials == 20
    rule = made_up_space(
        {"trials": {"at_least": 2, "at_most": 5, "until_ci95": 0.01}, "spread": {"trials": 7}}
    ).trials
    assert isinstance(rule, StoppingRule)
    assert (rule.at_least, rule.at_most) == (7, 7)


def test_the_commands_number_of_trials_is_that_of_each_source_too() -> None:
    space = made_up_space({"spread": {"sources": ["weights"]}}).override(trials=5)
    assert len(planned(space).varied) == 4 * 5
    assert len(planned(space).measured) == 4 * 5
    with pytest.raises(InputError, match=r"spread\.trials: got 2; allowed: an integer from 3"):
        space.override(trials=2)


def test_the_written_space_asks_for_the_same() -> None:
    space = made_up_space({"spread": {"sources": ["weights", "sample"], "trials": 5}})
    assert made_up_space(space.to_data()) == space


def test_resuming_runs_what_is_missing_and_extending_only_what_is_new() -> None:
    wanted = planned(made_up_space(SPREAD))
    records = recorded(wanted)
    assert not planned(made_up_space(SPREAD), records).missing
    lost = wanted.varied[7]
    (again,) = planned(
        made_up_space(SPREAD), {k: r for k, r in records.items() if k != lost.key}
    ).missing
    assert again == lost
    longer = planned(made_up_space(SPREAD).override(trials=5), records)
    assert len(longer.missing) == 4 + 16
    assert {(trial.index, trial.source is None) for trial in longer.missing} == {
        (4, True),
        (5, False),
    }


def test_trials_of_a_source_that_is_no_longer_asked_for_are_unrequested() -> None:
    records = recorded(planned(made_up_space(SPREAD)))
    fewer = planned(
        made_up_space({**SPREAD, "spread": {"sources": ["weights"], "trials": 4}}), records
    )
    unrequested = fewer.unrequested(records)
    assert {records[key].source for key in unrequested} == {
        "shuffling",
        "placement",
        "dropout",
        "sample",
    }
    assert len(planned(made_up_space({"trials": 4}), records).unrequested(records)) == 64


def test_under_a_stopping_rule_they_are_unrequested_as_well() -> None:
    records = recorded(planned(made_up_space(SPREAD)))
    rule = {"trials": {"at_least": 2, "at_most": 50, "until_ci95": 0.5}}
    unrequested = planned(made_up_space(rule), records).unrequested(records)
    assert all(records[key].source for key in unrequested)
    assert len(unrequested) == 64


def test_they_are_not_graded_on_other_test_sets() -> None:
    space = made_up_space({**SPREAD, "evaluate": {"shifts": [0]}})
    wanted = planned(space)
    missing = planned(space, recorded(wanted)).missing
    assert missing
    assert all(trial.source is None for trial in missing)


def test_a_block_of_one_cell_holds_all_its_sources() -> None:
    wanted = planned(made_up_space(SPREAD))
    cells = [trial.cell_key for trial in wanted.missing]
    assert len(set(cells)) == 4 == 1 + sum(a != b for a, b in pairwise(cells))


def test_the_record_of_such_a_trial_says_what_it_varied_and_is_of_its_cell() -> None:
    wanted = planned(made_up_space(SPREAD))
    for trial in wanted.varied[:5]:
        record = recorded(wanted)[trial.key]
        assert (record.source, record.cell_key) == (trial.source, trial.cell_key)
    assert all(record.source is None for record in ORDINARY.records.values())


def test_the_forecast_counts_them_apart() -> None:
    space = made_up_space(SPREAD)
    wanted = planned(space, ORDINARY.records)
    expected = forecast(
        wanted,
        space=space,
        dataset_info=ORDINARY.dataset_info,
        records=ORDINARY.records,
        concurrency=2,
        hourly_cost=None,
        calibrate=lambda _: {},
    )
    ordinary = [row for row in expected.cells if row.source is None]
    assert [(row.recorded, row.to_run) for row in ordinary] == [(4, 0)] * 4
    varied = [row for row in expected.cells if row.source]
    assert [(row.recorded, row.to_run) for row in varied] == [(0, 4)] * 16


def test_a_failed_one_runs_again_by_the_next_command() -> None:
    space = made_up_space(SPREAD)
    records = recorded(planned(space))
    key = planned(space).varied[0].key
    queue = TrialQueue(lambda known: planned(space, dict(known)), records)
    assert queue.left == 0
    failed = {**records, key: replace(records[key], status=Status.FAILED)}
    assert TrialQueue(lambda known: planned(space, dict(known)), failed).left == 1
