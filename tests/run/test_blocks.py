"""Blocks of trials, and the models that they hand over, as the recorder sees them."""

from pathlib import Path
from typing import Any

import pytest
from driven_sweep import GPU_NODE, SHORT, Sweep
from made_up import as_failed, folder_at
from object_storage import ObjectStorage

from mnist_ray.ledger.record import Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.block import Block
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Request
from mnist_ray.run.exchange import EndedTrial, TrainedModel
from mnist_ray.run.model_keeper import ModelKeeper


@pytest.fixture
def in_blocks(tmp_path: Path) -> Sweep:
    """A sweep of one cell with 40 trials of half a second, in one worker."""
    return Sweep(folder_at(tmp_path / "results"), made_up=SHORT, workers=1)


def blocks_of(sweep: Sweep, count: int) -> list[Any]:
    """The first trials of Ray Tune's, after one that made known how long a trial takes."""
    sweep.finish(sweep.start())
    return [sweep.start() for _ in range(count)]


def indices(trial: Any) -> list[int]:
    return [each.index for each in trial.config["block"].trials]


def test_trials_run_in_blocks_once_it_is_known_how_long_they_take(in_blocks: Sweep) -> None:
    first = in_blocks.start()
    assert indices(first) == [0]
    in_blocks.finish(first)
    second = in_blocks.start()
    assert indices(second) == [1, 2, 3, 4]
    in_blocks.finish(second)
    blocks = in_blocks.run()
    assert [len(block.trials) for block in blocks][-3:] == [2, 1, 1]
    assert in_blocks.stored().keys() == SHORT.records.keys()


def test_what_a_worker_hands_over_is_recorded_while_the_rest_of_its_block_runs(
    in_blocks: Sweep,
) -> None:
    [block] = blocks_of(in_blocks, 1)
    done, *rest = in_blocks.records_of(block)
    in_blocks.end(block, done)
    assert done.key in in_blocks.stored()
    assert not {record.key for record in rest} & in_blocks.stored().keys()


def test_a_trial_that_kills_its_process_fails_alone_and_the_rest_of_its_block_runs(
    in_blocks: Sweep,
) -> None:
    [block] = blocks_of(in_blocks, 1)
    done, deadly, *_others = in_blocks.records_of(block)
    in_blocks.end(block, done)
    in_blocks.lose(block, "The actor died because of SIGKILL. More of it.")
    while in_blocks.queue.left:
        trial = in_blocks.start()
        if any(each.key == deadly.key for each in trial.config["block"].trials):
            assert len(trial.config["block"].trials) == 1
            in_blocks.lose(trial, "The actor died because of SIGKILL. More of it.")
        else:
            in_blocks.finish(trial)
    stored = in_blocks.stored()
    assert [key for key, record in stored.items() if record.status is Status.FAILED] == [deadly.key]
    assert "of SIGKILL" in str(stored[deadly.key].error)
    assert stored.keys() == SHORT.records.keys()
    assert len(in_blocks.reported()) == len(stored)  # none ran twice


def test_trials_of_a_block_that_had_not_begun_when_a_card_failed_go_on_as_a_block(
    tmp_path: Path,
) -> None:
    sweep = Sweep(folder_at(tmp_path / "results"), made_up=SHORT, workers=1, node=GPU_NODE)
    [block] = blocks_of(sweep, 1)
    done, too_large, *others = sweep.records_of(block)
    sweep.result(block, ended=[EndedTrial(done)], gpu_error="ResourceExhaustedError: OOM")
    sweep.lose(block, "ray::BlockWorker.train() ResourceExhaustedError")
    again, rest = sweep.start(), sweep.start()
    assert [each.key for each in again.config["block"].trials] == [too_large.key]
    assert [each.key for each in rest.config["block"].trials][: len(others)] == [
        record.key for record in others
    ]


def test_only_what_may_be_kept_is_asked_for_and_the_lowest_model_stays(in_blocks: Sweep) -> None:
    lowest, second, third = in_blocks.start(), in_blocks.start(), in_blocks.start()
    assert in_blocks.asked(lowest)
    assert in_blocks.asked(second)
    assert not in_blocks.asked(third)  # Two lower ones are on their way.
    in_blocks.finish(second)
    assert in_blocks.model(second.config["block"].first) == b"weights of trial 1"
    in_blocks.finish(lowest)
    assert in_blocks.model(lowest.config["block"].first) == b"weights of trial 0"
    in_blocks.finish(third)
    assert not any(block.models_below for block in in_blocks.run())


def test_another_trial_is_asked_for_its_model_where_the_lowest_failed(in_blocks: Sweep) -> None:
    lowest, second = in_blocks.start(), in_blocks.start()
    waiting = in_blocks.recorder.next_block("waits")
    assert waiting is not None
    assert not waiting.models_below
    for trial in (lowest, second):
        in_blocks.end(trial, *map(as_failed, in_blocks.records_of(trial)))
        in_blocks.recorder.on_trial_complete(0, [], trial)
    assert waiting.models_below


def test_an_extension_replaces_no_model(in_blocks: Sweep) -> None:
    in_blocks.finish(in_blocks.start())
    later = Sweep(in_blocks.folder, made_up=SHORT, records=in_blocks.stored())
    assert not any(block.models_below for block in later.run())


def test_on_object_storage_the_model_of_the_lowest_trial_is_moved_to_its_place(
    object_storage: ObjectStorage,
) -> None:
    """Workers write models there themselves, in whatever order they finish."""
    folder = ResultsFolder.open(object_storage.uri("results"), "sweep")
    folder.check_writable()
    arriving = folder.checkpoints("run")
    whole = plan(SHORT.space, SHORT.dataset_info, {})
    keeper = ModelKeeper(folder, whole, {}, arriving=arriving)
    for trial in (whole.missing[1], whole.missing[0], whole.missing[2]):
        content = b"weights of trial %d" % trial.index
        arriving.write(arriving.arriving_model(trial.key), content)
        ended = EndedTrial(SHORT.records[trial.key], TrainedModel(None, "layers"))
        write = keeper.keep(ended, trial.cell_key)
        assert write is not None
        write()
    name = folder.model("feed_forward-centered", whole.missing[0].cell_key)
    assert folder.read(name) == b"weights of trial 0"
    assert arriving.names("") == []
    kept = {whole.missing[0].key: SHORT.records[whole.missing[0].key]}
    again = ModelKeeper(folder, whole, kept, arriving=arriving)
    block = Block((whole.missing[3],), Request(1, 0.0, 0))
    again.ask(block)
    assert not block.models_below
