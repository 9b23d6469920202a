"""Recorder and queue, driven by trials as Ray Tune drives them, without Ray."""

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
from made_up import MadeUp, as_failed, folder_at, made_up_sweep, on_device
from ray import tune
from ray.exceptions import ObjectLostError
from ray.tune import TuneError
from walking import cut_short

from mnist_ray.errors import InputError
from mnist_ray.ledger import writer
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Costs, Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder, StorageError
from mnist_ray.ledger.writer import LedgerWriter
from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.block import Block
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import runner
from mnist_ray.run.exchange import EndedTrial, TrainedModel
from mnist_ray.run.model_keeper import ModelKeeper
from mnist_ray.run.recorder import LOST_PROCESS_RETRIES, Recorder
from mnist_ray.run.worker import BlockWorker

SWEEP = made_up_sweep({"trials": 2})
TRIALS = 4 * 2
ONE_CELL = made_up_sweep(
    {"architectures": {"feed_forward": {}}, "variants": {"centered": {}}, "trials": 40}
)
HALF_A_SECOND = Costs(0.1, 0.3, 0.1)
SHORT = replace(
    ONE_CELL,
    records={key: replace(r, costs=HALF_A_SECOND) for key, r in ONE_CELL.records.items()},
)
NODE = Node(cpus=2, gpus=0, memory_bytes=16 << 30)
GPU_NODE = Node(cpus=8, gpus=1, memory_bytes=32 << 30, gpu_memory_bytes=16 << 30)


class Told:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.left: list[int] = []
        self.losses: list[tuple[Trial, str]] = []

    def recorded(self, record: Record, *, left: int) -> None:
        self.records.append(record)
        self.left.append(left)

    def lost(self, trial: Trial, reason: str) -> None:
        self.losses.append((trial, reason))

    def waiting(self, request: Request) -> None:
        raise AssertionError("nothing waits on one machine")


@dataclass(eq=False)
class Sweep:
    """A made-up sweep whose trials a test ends one by one."""

    folder: ResultsFolder
    node: Node = NODE
    told: Told = field(default_factory=Told)
    made_up: MadeUp = SWEEP
    records: Mapping[str, Record] = field(default_factory=dict)
    workers: int = 100
    """So many that each trial is a block of its own."""

    def __post_init__(self) -> None:
        space, dataset_info = self.made_up.space, self.made_up.dataset_info
        self.ledger = Ledger(self.folder)
        self.ledger.read()
        self.writer = LedgerWriter(self.ledger, self.records)
        self.allocator = ResourceAllocator(space, dataset_info, [self.node], Limits())
        self.queue = TrialQueue(lambda records: plan(space, dataset_info, records), self.records)
        self.recorder = Recorder(
            self.queue,
            dataset="digits",
            allocator=self.allocator,
            models=ModelKeeper(self.folder, self.queue.plan, self.queue.counting),
            writer=self.writer,
            listener=self.told,
            workers=self.workers,
        )
        self._attempts = 0

    def start(self) -> Any:
        """The next trial, as one of Ray Tune's that a worker has begun."""
        self._attempts += 1
        block = self.recorder.next_block(str(self._attempts))
        assert block is not None
        trial = SimpleNamespace(
            trial_id=str(self._attempts), config={"block": block}, error_file=None, status="RUNNING"
        )
        self.recorder.on_trial_start(0, [], trial)
        return trial

    def result(self, trial: Any, **result: Any) -> dict[str, Any]:
        self.recorder.on_trial_result(0, [], trial, result)
        return result

    def end(self, trial: Any, *records: Record) -> dict[str, Any]:
        """As trials of a block end, each with the model that it is asked for."""
        below = trial.config["block"].models_below
        ended = [
            EndedTrial(r, model_of(r) if r.trial < below and r.status is Status.FINISHED else None)
            for r in records
        ]
        return self.result(trial, ended=ended)

    def finish(self, trial: Any) -> dict[str, Any]:
        """As a block ends that went well."""
        result = self.end(trial, *self.records_of(trial))
        self.recorder.on_trial_complete(0, [], trial)
        return result

    def records_of(self, trial: Any) -> list[Record]:
        """Of a block's trials, in their order."""
        return [self.made_up.records[each.key] for each in trial.config["block"].trials]

    def asked(self, trial: Any) -> bool:
        """Whether a block is asked for a model."""
        return bool(trial.config["block"].models_below)

    def end_on(self, device: str) -> None:
        """The next trial, as it ends on a device."""
        trial = self.start()
        record = self.made_up.records[trial.config["block"].first.key]
        self.result(trial, ended=[EndedTrial(on_device(record, device))])

    def lose(self, trial: Any, why: str) -> None:
        """As Ray Tune reports a process that is gone."""
        path = Path(self.folder.path).parent / f"error-{trial.trial_id}.txt"
        path.write_text(f"Failure # 1 (occurred at 2024-05-01_12-00-00)\n{why}\n")
        trial.error_file = str(path)
        self.recorder.on_trial_error(0, [], trial)

    def run(self) -> list[Block]:
        """End all that is left, one after the other."""
        blocks = []
        while not self.recorder.is_done:
            trial = self.start()
            blocks.append(trial.config["block"])
            self.finish(trial)
        return blocks

    def model(self, trial: Trial) -> bytes:
        """The saved model of the trial's cell."""
        label = f"{trial.cell.architecture}-{trial.cell.variant}"
        return self.folder.read(self.folder.model(label, trial.cell_key))

    def share(self, trial: Trial) -> float:
        return self.allocator.request(trial).gpus

    def reported(self) -> list[Record]:
        """What the listener has heard of, once that is all that came in."""
        came_in = len(self.queue.records) - len(self.records)
        while len(self.told.records) < came_in:
            self.recorder.report_written()
            time.sleep(0.01)
        return self.told.records

    def stored(self) -> dict[str, Record]:
        """What another process finds in the ledger then."""
        self.reported()
        return Ledger(self.folder).read()


def record_of(trial: Any) -> Record:
    return SWEEP.records[trial.config["block"].first.key]


def model_of(record: Record) -> TrainedModel:
    return TrainedModel(np.frombuffer(b"weights of trial %d" % record.trial, np.uint8), "layers")


@pytest.fixture(autouse=True)
def _written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_WRITE_SECONDS", 0.01)
    monkeypatch.setattr(writer, "_LOOK_SECONDS", 0.01)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(folder_at(tmp_path / "results"))


def test_each_trial_is_recorded_when_it_ends_and_the_sweep_is_done_with_the_last(
    sweep: Sweep,
) -> None:
    first = sweep.start()
    sweep.finish(first)
    assert list(sweep.stored()) == [record_of(first).key]
    assert sweep.told.left == [TRIALS - 1]
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


def go_on(sweep: Sweep) -> NoReturn:
    """As Ray Tune does while trials run."""
    while True:
        sweep.recorder.on_step_begin(0, [])


def record_elsewhere(sweep: Sweep, record: Record) -> None:
    """As another sweep into the same folder does."""
    ledger = Ledger(sweep.folder)
    with LedgerWriter(ledger, ledger.read()) as other:
        other.put(record)


# Blocks and models


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
    while not in_blocks.recorder.is_done:
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


# Lost workers


def test_a_trial_whose_worker_is_lost_is_the_next_to_start_and_may_resume(sweep: Sweep) -> None:
    trial = sweep.start()
    assert not trial.config["block"].resumes
    sweep.lose(trial, "The actor died because its node has died. Node Id: 0123")
    assert [reason for _, reason in sweep.told.losses] == ["its node has died"]
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
    assert len(sweep.told.losses) == LOST_PROCESS_RETRIES
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


# GPUs


@pytest.fixture
def on_gpus(tmp_path: Path) -> Sweep:
    """A sweep of trials of which eight share a card."""
    sweep = Sweep(folder_at(tmp_path / "results"), node=GPU_NODE)
    assert sweep.share(sweep.queue.plan.missing[0]) == 1 / 8
    return sweep


def fail_gpu(sweep: Sweep, trial: Any, error: str) -> None:
    """As a worker reports it, which then ends."""
    sweep.result(trial, gpu_error=error)
    sweep.lose(trial, "ray::TrialWorker.train() ResourceExhaustedError")


def test_a_trial_for_which_a_card_has_no_memory_runs_again_with_a_larger_share(
    on_gpus: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    first, pending = on_gpus.start(), on_gpus.start()
    assert first.config["block"].first.cell_key == pending.config["block"].first.cell_key
    fail_gpu(on_gpus, first, "ResourceExhaustedError: OOM")
    again = on_gpus.start()
    assert again.config["block"].first.key == first.config["block"].first.key
    assert again.config["block"].request.gpus == 1 / 4
    assert on_gpus.told.losses == []  # no retry is used up
    # One that had been asked for before it was known gets the larger share too.
    fail_gpu(on_gpus, pending, "ResourceExhaustedError: OOM")
    assert on_gpus.start().config["block"].request.gpus == 1 / 4
    fail_gpu(on_gpus, again, "InternalError: CUDA_ERROR_ILLEGAL_ADDRESS")
    assert on_gpus.start().config["block"].request.gpus == 1 / 2
    [message] = caplog.messages
    assert "ran out of memory" in message


def test_later_trials_of_the_cell_get_the_larger_share_and_other_cells_do_not(
    on_gpus: Sweep,
) -> None:
    first = on_gpus.start()
    fail_gpu(on_gpus, first, "ResourceExhaustedError: OOM")
    cell_key = first.config["block"].first.cell_key
    for block in on_gpus.run():
        assert block.request.gpus == (1 / 4 if block.first.cell_key == cell_key else 1 / 8)
    assert {record.status for record in on_gpus.stored().values()} == {Status.FINISHED}


def test_only_a_trial_for_which_a_whole_card_is_too_small_fails_with_the_figure(
    on_gpus: Sweep,
) -> None:
    shares = []
    while not on_gpus.reported():
        trial = on_gpus.start()
        shares.append(trial.config["block"].request.gpus)
        fail_gpu(on_gpus, trial, "ResourceExhaustedError: OOM when allocating 90.00GiB")
    assert shares == [1 / 8, 1 / 4, 1 / 2, 1]
    [failed] = on_gpus.reported()
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert "90.00GiB" in failed.error


def test_a_card_that_breaks_down_under_a_trial_of_its_own_is_a_lost_process(
    on_gpus: Sweep,
) -> None:
    attempts = 0
    while not on_gpus.reported():
        fail_gpu(on_gpus, on_gpus.start(), "InternalError: CUDA_ERROR_LAUNCH_FAILED")
        attempts += 1
    assert attempts == 3 + LOST_PROCESS_RETRIES + 1  # three times with a larger share
    assert on_gpus.reported()[0].status is Status.FAILED


def test_a_card_that_only_ray_sees_ends_the_sweep_with_what_is_amiss(on_gpus: Sweep) -> None:
    with pytest.raises(InputError, match="sees no GPU"):
        on_gpus.result(on_gpus.start(), done=True, missing_gpu="laptop: TensorFlow sees no GPU")
    assert isinstance(on_gpus.recorder.error, InputError)
    assert on_gpus.stored() == {}


def test_a_card_that_joins_while_results_decide_ends_the_sweep_and_leaves_no_record(
    tmp_path: Path,
) -> None:
    sweep = deciding_on("NVIDIA T4", folder_at(tmp_path / "results"))
    with pytest.raises(InputError, match=r"NVIDIA A100.*NVIDIA T4.*narrow enough"):
        sweep.end_on("NVIDIA A100")
    assert isinstance(sweep.recorder.error, InputError)
    assert {on.setting.device for on in sweep.stored().values() if on.setting} == {"NVIDIA T4"}

    # The same command goes on once the card has left.
    assert len(deciding_on("NVIDIA T4", sweep.folder, records=sweep.stored()).stored()) == 4


def test_what_another_sweep_recorded_on_another_card_decides_nothing_either(
    tmp_path: Path,
) -> None:
    sweep = deciding_on("NVIDIA T4", folder_at(tmp_path / "results"))
    waiting = sweep.queue.plan.missing[0]
    record_elsewhere(sweep, on_device(DECIDING.records[waiting.key], "NVIDIA A100"))
    with pytest.raises(InputError, match=r"NVIDIA A100.*NVIDIA T4"):
        go_on(sweep)


def test_a_sweep_that_goes_on_on_one_card_takes_no_other_for_its_own(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "results")
    recorded = deciding_on("NVIDIA T4", folder).stored()
    with pytest.raises(InputError, match=r"NVIDIA A100.*NVIDIA T4"):
        deciding_on("NVIDIA A100", folder, records=recorded)


def test_a_card_that_joins_a_fixed_number_of_trials_is_welcome(sweep: Sweep) -> None:
    for device in ("NVIDIA T4", "NVIDIA A100"):
        sweep.end_on(device)
    devices = [record.setting.device for record in sweep.stored().values() if record.setting]
    assert sorted(devices) == ["NVIDIA A100", "NVIDIA T4"]


DECIDING = made_up_sweep({"trials": {"until_ci95": 0.001, "at_least": 3, "at_most": 50}}, trials=10)


def deciding_on(
    device: str, folder: ResultsFolder, *, records: Mapping[str, Record] | None = None
) -> Sweep:
    """A sweep of which two trials have run on a device, and whose results decide how many run."""
    sweep = Sweep(folder, made_up=DECIDING, records=records or {})
    for _ in range(2):
        sweep.end_on(device)
    return sweep


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
            sweep.told.losses.clear()
            try:
                sweep.lose(trial, f"Traceback: {error}")
            except StorageError as again:
                raise TuneError("Traceback as text") from again
        raise AssertionError("the sweep goes on")

    monkeypatch.setattr(tune.Tuner, "fit", fit)
    with pytest.raises(StorageError, match="no space left"):
        run(sweep)
    assert sweep.told.losses == []


def test_an_error_of_a_listener_ends_the_sweep_too(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(tuner: Any) -> None:
        sweep.finish(sweep.start())
        go_on(sweep)

    monkeypatch.setattr(sweep.told, "recorded", FullDisk())
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
    runner.run(sweep.queue, sweep.recorder, trainable=BlockWorker, max_pending=1)
