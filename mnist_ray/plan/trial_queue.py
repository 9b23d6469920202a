"""The trials that a sweep hands to its workers, one by one, while records come in."""

from collections import deque
from collections.abc import Callable, Mapping

from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.planner import Plan
from mnist_ray.plan.trial import Trial


class TrialQueue:
    """Submits what a plan lacks, trial by trial, while records come in.

    A trial that the plan lacks is in one of three states: it waits; it runs, from when it is
    submitted until its record comes; or it has ended, which is for good: one that failed is run
    again by the next command only.
    """

    def __init__(
        self,
        plan_now: Callable[[Mapping[str, Record]], Plan],
        records: Mapping[str, Record],
        *,
        max_concurrent: int | None = None,
        stops_early: bool = False,
        is_outdated: Callable[[Record], bool] = lambda record: False,
    ) -> None:
        """Make the first plan.

        Args:
            plan_now: gives the plan that follows from records.
            records: what is recorded already, by key.
            max_concurrent: how many trials may run at a time; None for no limit.
            stops_early: whether trials of a search may be stopped before their last epoch.
            is_outdated: whether a record's trial is to be run again although it finished.
        """
        self._plan_now = plan_now
        self._stops_early = stops_early
        self._limit = max_concurrent
        self._is_outdated = is_outdated
        self._running: dict[str, Trial] = {}
        self._ended: dict[str, Record] = {}
        self.records = dict(records)
        self._follow(plan_now(self._planned_with()))

    @property
    def left(self) -> int:
        """How many trials run or wait, as far as is known; 0 when all is done."""
        return len(self._running) + len(self._waiting)

    def next(self) -> Trial | None:
        """The trial to start now, if there is one and the limit allows it."""
        is_full = self._limit is not None and len(self._running) >= self._limit
        if is_full or not self._waiting:
            return None
        trial = self._waiting.popleft()
        self._running[trial.key] = trial
        return trial

    def may_stop(self, trial: Trial) -> bool:
        """Whether early stopping may end the trial: only the first of a configuration in a search.

        The first trial stands for its configuration. If it survives, the others run to their last
        epoch, because the search compares means over whole trials. If each trial could be stopped
        by itself, few configurations would have such a mean.
        """
        return self._stops_early and not trial.index and trial.key in self.plan.only_searched

    def is_done(self, trial: Trial, record: Record) -> bool:
        """Whether a record that another sweep wrote of a waiting trial is all that is wanted."""
        return not self._is_outdated(record) and self.plan.is_done(trial, record)

    def complete(self, record: Record) -> None:
        """Take in how a trial ended, and plan anew where that may change what is wanted.

        As in the ledger, the record is joined to one that is known of the trial.
        """
        self._running.pop(record.key, None)
        known = self.records.get(record.key)
        joined = record if known is None else known.joined(record)
        self.records[record.key] = joined
        # No decision may rest on an outdated record, even if the trial failed when it ran again.
        self._ended[record.key] = record if self._is_outdated(joined) else joined
        # With a budget, trials that ran when it was spent count too.
        if self.plan.is_open or self.plan.budget:
            self._follow(self._plan_now(self._planned_with()))

    def requeue(self, trial: Trial) -> None:
        """Let a running trial wait again, before all others: it ended without a record."""
        del self._running[trial.key]
        self._waiting.appendleft(trial)

    def requeue_all(self) -> None:
        """Let all running trials wait again: their workers are gone."""
        for trial in reversed(list(self._running.values())):
            self.requeue(trial)

    def _follow(self, plan: Plan) -> None:
        self.plan = plan
        submitted = self._running.keys() | self._ended.keys()
        self._waiting = deque(trial for trial in plan.missing if trial.key not in submitted)

    def _planned_with(self) -> dict[str, Record]:
        """All records but those of earlier commands whose trials run again.

        These are failed or outdated. They do not count while the trial runs again: a search that
        took a failure for the trial's end would go on to its winner without that trial.
        """
        counts = {key: r for key, r in self.records.items() if not self._runs_again(r)}
        return counts | self._ended

    def _runs_again(self, record: Record) -> bool:
        return record.status is Status.FAILED or self._is_outdated(record)
