"""A real Ray that believes in two GPUs, on whatever machine: who gets which, and for how long.

Ray keeps account of GPUs and says to each process which are its own; it never looks at them. So all
that is Ray's and the sweep's part can be seen without a card. The workers here train nothing.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from made_up import folder_at, made_up_sweep
from ray.tune.result import DONE
from walking import finished

from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.writer import LedgerWriter
from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node, Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import runner
from mnist_ray.run.exchange import EndedTrial
from mnist_ray.run.model_keeper import ModelKeeper
from mnist_ray.run.recorder import Recorder
from mnist_ray.run.worker import BlockWorker

SWEEP = made_up_sweep({"trials": 8})
TRIALS = 4 * 8
NODE = Node(cpus=8, gpus=2, memory_bytes=1 << 40, gpu_memory_bytes=16 << 30)
LOG = "CLAIMED_GPUS_LOG"


class Idle(BlockWorker):
    """A worker that notes what it was given."""

    def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
        pass

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        block = self.config["block"]
        begin = time.time()
        time.sleep(0.3)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        with Path(os.environ[LOG]).open("a") as log:
            log.write(f"{os.getpid()} {visible} {block.request.gpus} {begin} {time.time()}\n")
        return {DONE: True, "ended": [EndedTrial(finished(trial, 0.9)) for trial in block.trials]}


@dataclass(frozen=True)
class Use:
    """What one trial was given, and when."""

    process: int
    card: str
    share: float
    begin: float
    end: float


class Silent:
    """A listener."""

    def recorded(self, record: Record, *, left: int) -> None:
        pass

    def lost(self, trial: Trial, reason: str) -> None:
        raise AssertionError(reason)

    def waiting(self, request: Request) -> None:
        raise AssertionError(f"there is no room for {request}")


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory) -> list[Use]:
    folder = tmp_path_factory.mktemp("claimed")
    log = folder / "uses.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOG, str(log))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # The workers import this module.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        ray.init("local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False)
        try:
            run_sweep_in(folder)
        finally:
            ray.shutdown()
    lines = (line.split() for line in log.read_text().splitlines())
    return [Use(int(p), card, float(s), float(b), float(e)) for p, card, s, b, e in lines]


def run_sweep_in(folder: Path) -> None:
    space, dataset_info = SWEEP.space, SWEEP.dataset_info
    results = folder_at(folder / "results")
    queue = TrialQueue(lambda records: plan(space, dataset_info, records), {})
    ledger = Ledger(results)
    with LedgerWriter(ledger, ledger.read()) as writer:
        recorder = Recorder(
            queue,
            dataset="digits",
            allocator=ResourceAllocator(space, dataset_info, [NODE], Limits()),
            models=ModelKeeper(results, queue.plan, queue.counting, arriving=results),
            writer=writer,
            listener=Silent(),
            workers=100,  # so many that each trial is a block of its own
        )
        runner.run(recorder, trainable=Idle, max_pending=16)


def test_every_trial_sees_one_card_and_both_are_used(uses: list[Use]) -> None:
    assert len(uses) == TRIALS
    assert {use.card for use in uses} == {"0", "1"}


def test_the_shares_of_a_card_never_add_up_to_more_than_it(uses: list[Use]) -> None:
    assert {use.share for use in uses} == {1 / 4}  # four cores feed each card
    for use in uses:
        beside = [
            other
            for other in uses
            if other.card == use.card and other.begin <= use.begin < other.end
        ]
        assert sum(other.share for other in beside) <= 1


def test_workers_stay_for_the_next_trial_of_their_share_and_on_their_card(uses: list[Use]) -> None:
    processes = {use.process for use in uses}
    assert len(processes) <= 8 < TRIALS
    for process in processes:
        assert len({use.card for use in uses if use.process == process}) == 1
