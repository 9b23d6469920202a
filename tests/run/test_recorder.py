"""Recorder and queue, driven by trials as Ray Tune drives them, without Ray."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from driven_sweep import (
    SWEEP,
    TRIALS,
    Sweep,
    go_on,
    record_elsewhere,
    record_of,
)
from made_up import as_failed
from ray import tune
from ray.exceptions import ObjectLostError
from ray.tune import TuneError
from walking import cut_short

from mnist_ray.errors import StorageError
from mnist_ray.ledger.record import Status
from mnist_ray.plan.block import Block
from mnist_ray.run import runner
from mnist_ray.run.recorder import LOST_PROCESS_RETRIES
from mnist_ray.run.worker import BlockWorker


def test_each_trial_is_recorded_when_it_ends_and_the_sweep_is_done_with_the_last(
    sweep: Sweep,
) -> None:
    first = sweep.start()
    sweep.finish(first)
    assert list(sweep.stored()) == [record_of(first).key]
    assert sweep.heard.left == [TRIALS - 1]
    sweep.run()
    assert sweep.stored().keys() == SWEEP.records.keys()
    assert sweep.recorder.next_block("last") is None


def test_ray_tune_is_left_with_nothing_large(sweep: Sweep) -> None:
    assert sweep.finish(sweep.start()) == {}


def test_of_each_cell_the_model_of_the_lowest_finished_trial_stays(sweep: Sweep) -> None:
    for block in sweep.run():
        assert sweep.model(block.first) == b"weights of trial 0"


def test_a_trial_that_was_stopped_early_is_recorded_as_far_as_it_came(sweep: Sweep) -> None:
    trial = sweep.start()
    early = cut_short(trial.config["block"].first, 0.8)
    sweep.result(trial, cut_short=early)
    assert sweep.stored() == {}
    sweep.recorder.on_trial_complete(0, [], trial)
    assert [record.status for record in sweep.stored().values()] == [Status.CUT_SHORT]


def test_a_trial_that_another_sweep_has_run_meanwhile_is_not_run(sweep: Sweep) -> None:
    other = sweep.queue.plan.missing[0]
    record_elsewhere(sweep, SWEEP.records[other.key])
    while sweep.queue.left == TRIALS:
        sweep.recorder.on_step_begin(0, [])
    blocks = sweep.run()
    assert other.key not in {block.first.key for block in blocks}
    assert len(blocks) == TRIALS - 1


# Lost workers


def test_a_trial_whose_worker_is_lost_is_the_next_to_start_and_may_resume(sweep: Sweep) -> None:
    trial = sweep.start()
    assert not trial.config["block"].resumes
    sweep.lose(trial, "The actor died because its node has died. Node Id: 0123")
    assert [reason for _, reason in sweep.heard.losses] == ["its node has died"]
    again = sweep.start()
    assert again.config["block"].first.key == trial.config["block"].first.key
    assert again.config["block"].resumes
    sweep.finish(again)
    sweep.run()
    assert {record.status for record in sweep.stored().values()} == {Status.FINISHED}
    assert len(sweep.reported()) == TRIALS


@pytest.mark.parametrize("why", ["The actor died because of X.", "words that Ray never used", ""])
def test_a_trial_that_always_loses_its_worker_fails_after_so_many_however_ray_words_it(
    sweep: Sweep, why: str
) -> None:
    first = sweep.start()
    sweep.lose(first, why)
    for _ in range(LOST_PROCESS_RETRIES):
        again = sweep.start()
        assert again.config["block"].first.key == first.config["block"].first.key
        sweep.lose(again, why)
    assert len(sweep.heard.losses) == LOST_PROCESS_RETRIES
    [failed] = sweep.reported()
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error.startswith(f"process lost {LOST_PROCESS_RETRIES + 1} times")
    assert failed.traceback is not None
    assert failed.traceback.count(why) >= LOST_PROCESS_RETRIES + 1
    assert failed.key not in {block.first.key for block in sweep.run()}


def test_a_worker_lost_after_an_epoch_leaves_no_record_of_that_epoch(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.result(trial, cut_short=cut_short(trial.config["block"].first, 0.8))
    sweep.lose(trial, "gone")
    assert sweep.stored() == {}
    assert sweep.reported() == []


# Errors in callbacks


class FullDisk:
    """Storage that takes no more."""

    def __call__(self, *arguments: object, **keywords: object) -> None:
        raise StorageError("no space left on the device")


FAILS_IN: dict[str, Callable[[Sweep], None]] = {
    "a result": lambda sweep: sweep.finish(sweep.start()) and None,
    "a stopped trial": lambda sweep: _stop_early(sweep),
    "a lost worker": lambda sweep: _lose_for_good(sweep),
    "a look at what is written": lambda sweep: sweep.recorder.on_step_begin(0, []),
}


def _stop_early(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.result(trial, cut_short=cut_short(trial.config["block"].first, 0.8))
    sweep.recorder.on_trial_complete(0, [], trial)


def _lose_for_good(sweep: Sweep) -> None:
    for _ in range(LOST_PROCESS_RETRIES + 1):
        sweep.lose(sweep.start(), "gone")


@pytest.mark.parametrize("where", FAILS_IN)
def test_a_storage_error_ends_the_sweep_as_what_it_is_wherever_it_comes_up(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Ray Tune takes some of them for failures of the trial, and would run that again."""

    def fit(tuner: Any) -> None:
        trial = sweep.start()  # It runs all the while, and is lost after the error.
        monkeypatch.setattr(sweep.writer, "put", FullDisk())
        monkeypatch.setattr(sweep.writer, "written", FullDisk())
        try:
            FAILS_IN[where](sweep)
        except StorageError as error:
            sweep.heard.losses.clear()
            try:
                sweep.lose(trial, f"Traceback: {error}")
            except StorageError as again:
                raise TuneError("Traceback as text") from again
        raise AssertionError("the sweep goes on")

    monkeypatch.setattr(tune.Tuner, "fit", fit)
    with pytest.raises(StorageError, match="no space left"):
        run(sweep)
    assert sweep.heard.losses == []


def test_an_error_of_a_listener_ends_the_sweep_too(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(tuner: Any) -> None:
        sweep.finish(sweep.start())
        go_on(sweep)

    monkeypatch.setattr(sweep.heard, "recorded", FullDisk())
    monkeypatch.setattr(tune.Tuner, "fit", fit)
    with pytest.raises(StorageError):
        run(sweep)


def test_an_error_that_ray_tune_drops_ends_the_sweep_all_the_same(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(tuner: Any) -> None:
        monkeypatch.setattr(sweep.writer, "put", FullDisk())
        with pytest.raises(StorageError):
            sweep.finish(sweep.start())

    monkeypatch.setattr(tune.Tuner, "fit", fit)
    with pytest.raises(StorageError):
        run(sweep)


def test_a_result_that_is_lost_on_its_way_costs_what_was_running_and_no_more(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[Block] = []

    def fit(tuner: Any) -> None:
        if not blocks:
            done, running = sweep.start(), sweep.start()
            blocks.extend([done.config["block"], running.config["block"]])
            sweep.finish(done)
            raise TuneError("given up") from ObjectLostError("00", None, "")
        blocks.extend(sweep.run())

    monkeypatch.setattr(tune.Tuner, "fit", fit)
    run(sweep)
    assert sweep.stored().keys() == SWEEP.records.keys()
    keys = [block.first.key for block in blocks]
    assert len(keys) == TRIALS + 1
    assert keys[2] == keys[1]  # what ran is the first to start again


def test_a_failed_trial_is_recorded_and_stops_no_other(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.end(trial, as_failed(record_of(trial)))
    sweep.recorder.on_trial_complete(0, [], trial)
    sweep.run()
    statuses = [record.status for record in sweep.stored().values()]
    assert statuses.count(Status.FAILED) == 1
    assert len(statuses) == TRIALS


def test_ray_tune_saves_none_of_it(sweep: Sweep) -> None:
    """It would, again and again, for a resumption that the ledger makes needless."""
    assert len(pickle.dumps(sweep.recorder)) < 200


def run(sweep: Sweep) -> None:
    runner.run(sweep.recorder, trainable=BlockWorker, max_pending=1)
