"""The trials that a sweep hands to its workers while records come in."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from mnist_ray.ledger.record import Record, Status, join
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.trial import Trial


class TrialQueue:
    """Submits what a plan lacks while records come in.

    A trial that the plan lacks is in one of three states: it waits; it runs, from when it is
    submitted until its record comes; or it has ended, which is for good: one that failed is run
    again by the next command only. Trials may be submitted as a block, to run one after the other.

    Attributes:
        plan: the last.
        records: all, by key.
        max_concurrent: how many trials, or blocks, may run at a time; None for no limit.
        counting: those that plans rest on: all but those of earlier commands whose trials run
            again.
    """

    def __init__(
        self,
        plan_now: Callable[[Mapping[str, Record]], Plan],
        records: Mapping[str, Record],
        *,
        max_concurrent: int | None = None,
        is_outdated: Callable[[Record], bool] = lambda record: False,
    ) -> None:
        """Make the first plan.

        `plan_now` gives the plan that follows from records, and `is_outdated` says whether a
        record's trial is to be run again although it finished.
        """
        self._plan_now, self._is_outdated = plan_now, is_outdated
        self.max_concurrent = max_concurrent
        self._waiting: deque[Trial] = deque()
        self._running: dict[str, tuple[Trial, int]] = {}
        """By key, each with the number of its block."""
        self._blocks = 0
        self._alone: set[str] = set()
        """Keys of the trials that were started and lost their process."""
        self._ended: set[str] = set()
        self.records = dict(records)
        self.counting = {key: r for key, r in self.records.items() if not self._runs_again(r)}
        self._plan_anew()

    @property
    def left(self) -> int:
        """How many trials run or wait, as far as is known; 0 when all is done."""
        return len(self._running) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many trials wait, as far as is known."""
        return len(self._waiting)

    def next(self) -> Trial | None:
        """The trial to start now, if there is one and the limit allows it."""
        if not self._waiting:
            return None
        if self.max_concurrent is not None:
            running = {block for _, block in self._running.values()}
            if len(running) >= self.max_concurrent:
                return None
        self._blocks += 1
        return self._submit()

    def next_in_block(self) -> Trial | None:
        """A trial to run after the last one, in the same block, if there is one.

        It is the next trial that waits, if that is of the same cell and source of randomness, and
        neither has to be alone.
        """
        if not self._waiting:
            return None
        trial, last = self._waiting[0], self._last
        is_alike = (trial.cell_key, trial.source) == (last.cell_key, last.source)
        is_alone = self._has_to_be_alone(trial) or self._has_to_be_alone(last)
        return self._submit() if is_alike and not is_alone else None

    def _submit(self) -> Trial:
        self._last = trial = self._waiting.popleft()
        self._running[trial.key] = trial, self._blocks
        return trial

    def runs(self, trial: Trial) -> bool:
        """Whether the trial was submitted and has not ended."""
        return trial.key in self._running

    def was_lost(self, trial: Trial) -> bool:
        """Whether the trial was submitted before, and put back since its process was lost."""
        return trial.key in self._alone

    def _has_to_be_alone(self, trial: Trial) -> bool:
        # One that takes down its process once more is then known to have done so.
        return self.was_lost(trial) or self.plan.may_stop(trial)

    def complete(self, *records: Record) -> None:
        """Take in how trials ended, and plan anew where that may change what is wanted.

        As in the ledger, a record is joined to one that is known of its trial.
        """
        for record in records:
            self._running.pop(record.key, None)
            join(self.records, record)
            joined = self.records[record.key]
            # No decision may rest on an outdated record, even if the trial failed when it ran
            # again.
            self.counting[record.key] = record if self._is_outdated(joined) else joined
            self._ended.add(record.key)
        if records and self.plan.may_change:
            self._plan_anew()

    def take_over(
        self, records: Sequence[Record], *, check: Callable[[Record], None] = lambda record: None
    ) -> None:
        """Take in what another sweep recorded, so that it does not run here too.

        What runs here already goes on. A record that is not all that is wanted of a waiting trial
        is left out. `check` is called for each that is taken over; it may refuse.
        """
        if not records:
            return
        waiting = {trial.key: trial for trial in self._waiting}
        for record in records:
            trial = waiting.get(record.key)
            is_own = record.key in self._running or record.key in self._ended
            lacks_something = trial is not None and not self.plan.is_done(trial, record)
            if is_own or lacks_something or self._runs_again(record):
                continue
            check(record)
            waiting.pop(record.key, None)
            self.records[record.key] = self.counting[record.key] = record
        self._waiting = deque(waiting.values())
        if self.plan.may_change:
            self._plan_anew()

    def requeue(self, *trials: Trial, was_lost: bool = True) -> None:
        """Let running trials wait again, before all others and in this order.

        They ended without a record: their process was lost, or they were not begun.
        """
        for trial in reversed(trials):
            self._running.pop(trial.key, None)
            self._waiting.appendleft(trial)
        if was_lost:
            self._alone.update(trial.key for trial in trials)

    def requeue_all(self) -> None:
        """Let all running trials wait again: their workers are gone."""
        self.requeue(*(trial for trial, _ in self._running.values()))

    def _plan_anew(self) -> None:
        self.plan = self._plan_now(self.counting)
        submitted = self._running.keys() | self._ended
        self._waiting = deque(trial for trial in self.plan.missing if trial.key not in submitted)

    def _runs_again(self, record: Record) -> bool:
        """Whether a record of an earlier command is of a trial that runs again.

        It does not count while the trial runs again: a search that took a failure for the trial's
        end would go on to its winner without that trial.
        """
        return record.status is Status.FAILED or self._is_outdated(record)
