from collections.abc import Mapping
from dataclasses import replace

import pytest
from made_up import made_up_space
from pydantic import JsonValue
from walking import DATASET_INFO, failed, finished

from mnist_ray.ledger.record import Costs, Record
from mnist_ray.plan.costs import training_operations
from mnist_ray.plan.estimates import Timings, wall_seconds
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell

GRID = made_up_space({"training": {"learning_rate": {"grid_search": [1e-3, 1e-2]}}, "trials": 2})
TRIALS = plan(GRID, DATASET_INFO, {}).wanted


def cell(architecture: str, *, rate: float = 1e-3, variant: str = "centered") -> list[Trial]:
    """The trials of one cell of the grid."""
    return [
        trial
        for trial in TRIALS
        if (trial.cell.architecture, trial.cell.variant) == (architecture, variant)
        and trial.cell.training.learning_rate == rate
    ]


def took(trial: Trial, setup: float, train: float, evaluate: float) -> dict[str, Record]:
    """A finished trial's record with so many seconds of setup, training and evaluation."""
    return {trial.key: replace(finished(trial, 0.9), costs=Costs(setup, train, evaluate))}


def operations(cell: Cell) -> float:
    return training_operations(cell, DATASET_INFO)


def seconds_of(trial: Trial, records: Mapping[str, Record]) -> float:
    return Timings(DATASET_INFO, records).seconds([trial])[trial.cell_key]


def test_a_cell_takes_the_mean_of_its_recorded_trials() -> None:
    first, second = cell("cnn")
    records = took(first, 1.0, 10.0, 0.5) | took(second, 0.0, 12.0, 0.5)
    assert seconds_of(first, records) == pytest.approx((11.5 + 12.5) / 2)


def test_times_do_not_depend_on_the_seed_or_the_learning_rate() -> None:
    known = cell("cnn")[0]
    other = made_up_space({"seed": 5, "training": {}})
    elsewhere = plan(other, DATASET_INFO, {}).wanted
    same_work = next(
        t for t in elsewhere if (t.cell.architecture, t.cell.variant) == ("cnn", "centered")
    )
    records = took(known, 1.0, 2.0, 3.0)
    assert seconds_of(cell("cnn", rate=1e-2)[0], records) == 6.0
    assert seconds_of(same_work, records) == 6.0


def test_a_cell_without_records_is_reckoned_by_its_operations_at_the_known_speed() -> None:
    known, unknown = cell("cnn")[0], cell("feed_forward")[0]
    records = took(known, 0.0, 10.0, 0.0)
    seconds = Timings(DATASET_INFO, records).seconds([known, unknown])
    share = operations(unknown.cell) / operations(known.cell)
    assert seconds[unknown.cell_key] == pytest.approx(10 * share)


def test_the_speed_of_one_cell_is_taken_for_all_others() -> None:
    plain = Timings(DATASET_INFO, {}).seconds(TRIALS)
    known = cell("cnn")[0]
    usual = plain[known.cell_key]
    slow = Timings(DATASET_INFO, took(known, 0.0, 6 * usual, 1 * usual))
    for key, seconds in slow.seconds(TRIALS).items():
        assert seconds == pytest.approx(7 * plain[key])


def test_the_speed_of_the_same_builder_and_canvas_is_believed_more_than_others() -> None:
    wide = made_up_space({"architectures": {"wide": {"build": "feed_forward"}, "cnn": {}}})
    known, unknown = cell("feed_forward")[0], plan(wide, DATASET_INFO, {}).wanted[0]
    unknown = replace(unknown, cell=replace(unknown.cell, hyperparameters=WIDE))
    records = took(known, 0.0, 10.0, 0.0) | took(cell("cnn")[0], 0.0, 1000.0, 0.0)
    seconds = Timings(DATASET_INFO, records).seconds([known, cell("cnn")[0], unknown])
    share = operations(unknown.cell) / operations(known.cell)
    assert seconds[unknown.cell_key] == pytest.approx(10 * share)


WIDE: dict[str, JsonValue] = {"hidden_units": [1024], "dropout": 0.0}


def test_recorded_times_go_before_measured_ones_and_those_before_arithmetic() -> None:
    recorded, measured = cell("cnn")[0], cell("feed_forward")[0]
    timings = Timings(DATASET_INFO, {})
    timings.learn(took(recorded, 0.0, 10.0, 0.0))
    given = {recorded.cell_key: 99.0, measured.cell_key: 5.0, "of another sweep": 1e9}
    seconds = timings.seconds([recorded, measured], measured=given)
    assert seconds == {recorded.cell_key: 10.0, measured.cell_key: 5.0}


def test_a_failed_trial_is_no_measure_of_time() -> None:
    trial = cell("cnn")[0]
    late = replace(failed(trial), costs=Costs(1.0, 1000.0, 1.0))
    assert seconds_of(trial, {trial.key: late}) == seconds_of(trial, {})


def test_a_record_is_read_once() -> None:
    first, second = cell("cnn")
    timings = Timings(DATASET_INFO, {})
    for records in (took(first, 0, 2, 0), took(first, 0, 2, 0) | took(second, 0, 5, 0)):
        timings.learn(records)
        timings.learn(records)
    assert timings.seconds([first]) == {first.cell_key: 3.5}


def test_what_no_record_is_like_is_unknown() -> None:
    timings = Timings(DATASET_INFO, {})
    timings.learn(took(cell("cnn")[0], 0, 2, 0))
    unknown = timings.unknown_cells(TRIALS)
    places = {(each.architecture, each.variant) for each in unknown.values()}
    assert places == {("feed_forward", "centered"), ("feed_forward", "shifted"), ("cnn", "shifted")}


@pytest.mark.parametrize(
    ("durations", "workers", "expected"),
    [
        ([], 2, 0.0),
        ([3.0], 2, 3.0),
        ([3.0, 2.0, 2.0], 1, 7.0),
        ([3.0, 2.0, 2.0], 2, 4.0),  # 3 beside 2 + 2
        ([5.0, 4.0, 3.0, 3.0, 3.0], 2, 10.0),  # 5 + 3 beside 4 + 3 + 3
        ([1.0, 1.0], 9, 1.0),
    ],
)
def test_workers_share_the_trials_out_in_their_order(
    durations: list[float], workers: int, expected: float
) -> None:
    assert wall_seconds(durations, workers=workers) == expected
