"""What becomes of the trials that Ray Tune runs: records, models, and what is run again."""

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.util import placement_group_table

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.writer import LedgerWriter
from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.block import Block, BlockSizes
from mnist_ray.plan.device_kinds import check_joins, device_of, devices_of
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run.connection import PATIENCE_SECONDS
from mnist_ray.run.exchange import EndedTrial, Result
from mnist_ray.run.model_keeper import ModelKeeper
from mnist_ray.run.trackers import Tracker

_LOG = logging.getLogger(__name__)

LOST_PROCESS_RETRIES = 3
"""How often a trial is started again after its process was lost."""
_LOOKED_AT = 500
"""Records of earlier commands from which the first sizes of blocks follow."""


class Listener(Protocol):
    """Is notified of how a sweep goes."""

    def recorded(self, record: Record, *, left: int) -> None:
        """A trial has ended and its record is kept; `left` are known to be still to run."""

    def lost(self, trial: Trial, reason: str) -> None:
        """A trial's process is gone; the trial is started again."""

    def waiting(self, request: Request) -> None:
        """No trial runs, because no node has room for one."""


class Recorder(tune.Callback):  # type: ignore[misc]
    """Gives Ray Tune blocks of trials, and takes in how each trial ends.

    A trial is recorded as soon as its worker hands it over. Every trial of Ray Tune's is one
    attempt at a block: Ray Tune repeats none. What is run again, and how often, is decided here
    alone.

    Attributes:
        queue: what is to run.
        error: the first error in here. It ends the sweep, whatever Ray Tune makes of it: Ray Tune
            takes some errors of callbacks for failures of the trial.
    """

    def __init__(
        self,
        queue: TrialQueue,
        *,
        dataset: str,
        allocator: ResourceAllocator,
        models: ModelKeeper,
        writer: LedgerWriter,
        listener: Listener,
        trackers: Sequence[Tracker] = (),
        workers: int = 1,
        devices: Iterable[str] = (),
        nodes_may_join: bool = False,
    ) -> None:
        self.queue, self._dataset, self._allocator = queue, dataset, allocator
        self._writer, self._listener, self._trackers = writer, listener, trackers
        self._models = models
        self._sizes = BlockSizes(workers=workers, records=[*queue.records.values()][-_LOOKED_AT:])
        self._room = RoomWatch(listener.waiting) if nodes_may_join else None
        self._pending: dict[str, Block] = {}
        """By trial of Ray Tune's, the blocks that wait for a worker."""
        self._running: dict[str, Result] = {}
        """For each trial of Ray Tune's that a worker has begun, what its last result says of its
        end.
        """
        self._losses: dict[str, list[str]] = {}
        """By key of a trial, what Ray reported of each of its processes that were lost."""
        self._devices = {*devices, *devices_of(queue.plan, queue.records)}
        self._enlarged: set[str] = set()
        """Keys of the cells of which a larger share of a GPU was reported."""
        self._unwritten = 0
        """Records that have come in and are not yet safe."""
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune saves callbacks for resuming, which the ledger makes needless."""
        return {}

    def next_block(self, trial_id: str) -> Block | None:
        """What a trial of Ray Tune's is to run, if there is something now."""
        with self._keeping_errors():
            if (first := self.queue.next()) is None:
                return None
            block = self._pending[trial_id] = self._block(first)
            self._models.ask(block)
            return block

    def _block(self, first: Trial) -> Block:
        size = self._sizes.size(first, waiting=self.queue.waiting + 1)
        trials = [first]
        while len(trials) < size and (trial := self.queue.next_in_block()) is not None:
            trials.append(trial)
        return Block(
            tuple(trials),
            self._allocator.request(first),
            reports_epochs=self.queue.plan.may_stop(first),
            resumes=self.queue.was_lost(first),
            test_code=self.queue.plan.tests.code,
        )

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """End the sweep after an error; see what is recorded, and what waits for room."""
        with self._keeping_errors():
            self.report_written()
            self.queue.take_over(self._writer.of_others(), check=self._check_device)
            if self._room:
                self._room.look(trials, is_idle=not self._running)

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Remember that something runs."""
        self._running[trial.trial_id] = {}
        self._pending.pop(trial.trial_id, None)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: Result,
        **info: Any,
    ) -> None:
        """Record what has ended, and keep what holds if the trial under way ends now."""
        with self._keeping_errors():
            if "missing_gpu" in result:
                raise InputError(result["missing_gpu"])
            # Ray Tune keeps the last result of every trial until the end: take out what is large.
            self._take_in(_block_of(trial).first, *result.pop("ended", ()))
            at_end = {"cut_short", "gpu_error"} & result.keys()
            self._running[trial.trial_id] = {name: result.pop(name) for name in at_end}

    def _take_in(self, trial: Trial, *ended: EndedTrial) -> None:
        """Keep how trials of the cell of `trial` ended."""
        for each in ended:
            self._check_device(each.record)
            write_model = self._models.keep(each, trial.cell_key)
            self._writer.put(each.record, before=write_model)
            self._unwritten += 1
        records = [each.record for each in ended]
        self._sizes.learn(records)
        self.queue.complete(*records)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Record a trial that was stopped early."""
        with self._keeping_errors():
            if record := self._end(trial).get("cut_short"):
                self._take_in(_block_of(trial).first, EndedTrial(record))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Run trials again whose process was lost, unless that happened too often."""
        with self._keeping_errors():
            gpu_error = self._end(trial).get("gpu_error")
            block = _block_of(trial)
            unfinished = [each for each in block.trials if self.queue.runs(each)]
            if unfinished and gpu_error:
                self.queue.requeue(*unfinished[1:], was_lost=False)  # None of them has begun.
                self._take_gpu_error(unfinished[0], block.request, gpu_error)
            elif unfinished:
                self._lose(unfinished, _account_of(trial))

    def _end(self, trial: TuneTrial) -> Result:
        """What the last result of an ended trial of Ray Tune's says of its end.

        Blocks that wait may be asked for a model now.
        """
        self._pending.pop(trial.trial_id, None)
        self._models.dismiss(_block_of(trial))
        for block in self._pending.values():
            self._models.ask(block)
        return self._running.pop(trial.trial_id, {})

    def _take_gpu_error(self, trial: Trial, tried: Request, error: str) -> None:
        if self._allocator.enlarge_gpu_share(trial, tried):
            self.queue.requeue(trial)
            self._warn_of_larger_share(trial, tried)
        elif error.startswith("ResourceExhaustedError"):
            self._fail(trial, f"a GPU of its own is too small for it: {error}")
        else:
            self._lose([trial], error)

    def _warn_of_larger_share(self, trial: Trial, tried: Request) -> None:
        if trial.cell_key not in self._enlarged:
            self._enlarged.add(trial.cell_key)
            _LOG.warning(
                "%s %s: a GPU ran out of memory with %g of it for each trial. This trial and those "
                "to come get %g, and more if that is too little, so fewer run side by side.",
                trial.cell.architecture,
                trial.cell.variant,
                tried.gpus,
                self._allocator.request(trial).gpus,
            )

    def _lose(self, unfinished: Sequence[Trial], account: str) -> None:
        """Run them again, unless a trial's process was lost too often.

        Which of several was running is not known. Each runs alone now: the one that takes its
        process down is found out, and the loss of the block is counted for none.
        """
        first = unfinished[0]
        losses = self._losses.setdefault(first.key, [])
        if len(unfinished) == 1:
            losses.append(account)
        if len(losses) > LOST_PROCESS_RETRIES:
            self._fail_of_losses(first, losses)
            return
        self.queue.requeue(*unfinished)
        self._listener.lost(first, _reason_in(account))

    def _fail_of_losses(self, trial: Trial, accounts: Sequence[str]) -> None:
        reason = f"process lost {len(accounts)} times: {_reason_in(accounts[-1])}"
        numbered = (f"Failure # {n}\n{text}" for n, text in enumerate(accounts, start=1))
        self._fail(trial, reason, traceback="\n".join(numbered))

    def _fail(self, trial: Trial, error: str, *, traceback: str | None = None) -> None:
        failed = trial.record(self._dataset, Status.FAILED, error=error, traceback=traceback)
        self._take_in(trial, EndedTrial(failed))

    def report_written(self) -> None:
        """Report the records that are safe since this was last called."""
        for record in self._writer.written():
            self._unwritten -= 1
            self._listener.recorded(record, left=self.queue.left + self._unwritten)
            for tracker in self._trackers:
                tracker.log(record)

    def _check_device(self, record: Record) -> None:
        check_joins(self.queue.plan, record, self._devices)
        if device := device_of(record):
            self._devices.add(device)

    @contextlib.contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        if self.error:
            raise self.error
        try:
            yield
        except Exception as error:
            self.error = error
            raise


class RoomWatch:
    """Reports that no node has room for a trial: once, until trials run again."""

    def __init__(self, waiting: Callable[[Request], None]) -> None:
        self._waiting = waiting
        self._since = time.monotonic()
        self._is_reported = False

    def look(self, trials: list[TuneTrial], *, is_idle: bool) -> None:
        """Look at Ray Tune's trials, of which none runs if `is_idle`."""
        now = time.monotonic()
        if not (is_idle and trials):
            self._since, self._is_reported = now, False
        elif not self._is_reported and now - self._since >= PATIENCE_SECONDS:
            self._since = now
            # A trial with room is starting: it imports TensorFlow, and may fetch the code first.
            if trials[-1].status == TuneTrial.PENDING and not _has_room():
                self._is_reported = True
                self._waiting(_block_of(trials[-1]).request)


def _has_room() -> bool:
    """Whether any of this program's requests has been given its resources."""
    job = ray.get_runtime_context().get_job_id()  # The end of its placement groups' names.
    groups = placement_group_table().items()
    return any(name.endswith(job) and group["state"] == "CREATED" for name, group in groups)


def _block_of(trial: TuneTrial) -> Block:
    block: Block = trial.config["block"]
    return block


def _account_of(trial: TuneTrial) -> str:
    """What Ray reported when it lost the process of a trial."""
    # Ray Tune's own `get_error` looks where the file is copied to only later.
    path = trial.error_file
    text = Path(path).read_text() if path and Path(path).is_file() else ""
    return text.partition("\n")[2] if text.startswith("Failure #") else text


def _reason_in(account: str) -> str:
    """Why the process was lost, in one line; for people only."""
    account = account.strip()
    if re.match(r"The actor \w+ is unavailable", account):
        return "it cannot be reached"
    death = re.search(r"The actor (?:is dead|died) because (.*?)\.(?:\s|$)", account)
    return death[1] if death else next(iter(account.splitlines()), "unknown")
