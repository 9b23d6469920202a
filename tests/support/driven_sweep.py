"""Sweeps whose trials a test ends one by one, as Ray Tune does, without Ray."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
from made_up import MadeUp, made_up_sweep, on_device

from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Costs, Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.writer import LedgerWriter
from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.block import Block
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run.exchange import EndedTrial, TrainedModel
from mnist_ray.run.model_keeper import ModelKeeper
from mnist_ray.run.recorder import Recorder

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


class Heard:
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
    heard: Heard = field(default_factory=Heard)
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
            models=ModelKeeper(
                self.folder, self.queue.plan, self.queue.counting, arriving=self.folder
            ),
            writer=self.writer,
            listener=self.heard,
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
        while self.queue.left:
            trial = self.start()
            blocks.append(trial.config["block"])
            self.finish(trial)
        return blocks

    def model(self, trial: Trial) -> bytes:
        """The saved model of the trial's cell, once all that came in is reported."""
        self.reported()
        label = f"{trial.cell.architecture}-{trial.cell.variant}"
        return self.folder.read(self.folder.model(label, trial.cell_key))

    def share(self, trial: Trial) -> float:
        return self.allocator.request(trial).gpus

    def reported(self) -> list[Record]:
        """What the listener has heard of, once that is all that came in."""
        came_in = len(self.queue.records) - len(self.records)
        while len(self.heard.records) < came_in:
            self.recorder.report_written()
            time.sleep(0.01)
        return self.heard.records

    def stored(self) -> dict[str, Record]:
        """What another process finds in the ledger then."""
        self.reported()
        return Ledger(self.folder).read()


def record_of(trial: Any) -> Record:
    return SWEEP.records[trial.config["block"].first.key]


def model_of(record: Record) -> TrainedModel:
    return TrainedModel(np.frombuffer(b"weights of trial %d" % record.trial, np.uint8), "layers")


def go_on(sweep: Sweep) -> NoReturn:
    """As Ray Tune does while trials run."""
    while True:
        sweep.recorder.on_step_begin(0, [])


def record_elsewhere(sweep: Sweep, record: Record) -> None:
    """As another sweep into the same folder does."""
    ledger = Ledger(sweep.folder)
    with LedgerWriter(ledger, ledger.read()) as other:
        other.put(record)
