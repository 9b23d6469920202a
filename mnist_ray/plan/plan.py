"""What is wanted, and what of it is still to run."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.budget import Budget
from mnist_ray.plan.search import SearchState
from mnist_ray.plan.test_sets import NO_OTHERS, TestSets
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell


@dataclass(frozen=True)
class CellPlan:
    """A cell whose mean is reported, and the trials that it is taken over.

    Attributes:
        trials: what counts.
        started: what should have been started by now, which may be more.
        priority: how many times too wide its interval still is.
        is_open: whether more may be wanted.
    """

    trials: tuple[Trial, ...]
    started: tuple[Trial, ...]
    priority: float = 0.0
    is_open: bool = False

    @property
    def cell(self) -> Cell:
        return self.trials[0].cell


@dataclass(frozen=True)
class Plan:
    """What is wanted, and what of it is still to run, in the order in which it should start.

    Attributes:
        cells: those whose means are reported, in the space's order.
        searches: the state of each search.
        missing: what is to run, as far as it is known.
        tests: test sets that a measured trial must be evaluated on, beside its own.
        is_open: whether more may be wanted once what is missing is recorded.
        speculative: by the key of each cell whose trials may be started before it is known that
            they count, how many of its trials may count in the end.
        budget: of working time, and what it is spent on; None where there is none.
        varied: the trials that vary one source of randomness alone, which are in no mean.
        stops_early: whether trials of a search may be stopped before their last epoch.
    """

    cells: tuple[CellPlan, ...]
    searches: tuple[SearchState, ...]
    missing: tuple[Trial, ...]
    tests: TestSets = NO_OTHERS
    is_open: bool = False
    speculative: Mapping[str, int] = field(default_factory=dict)
    varied: tuple[Trial, ...] = ()
    budget: Budget | None = None
    stops_early: bool = False

    @property
    def may_change(self) -> bool:
        """Whether a record may change it. With a budget, the trials that ran at its end count."""
        return self.is_open or self.budget is not None

    @cached_property
    def measured(self) -> tuple[Trial, ...]:
        """The trials that reported means are taken over, by cell."""
        return tuple(trial for cell in self.cells for trial in cell.trials)

    @cached_property
    def searched(self) -> tuple[Trial, ...]:
        return tuple(trial for search in self.searches for trial in search.trials)

    @cached_property
    def wanted(self) -> tuple[Trial, ...]:
        """All trials that are asked for, as far as they are known."""
        trials = [*self.measured, *self.searched, *self.varied, *self.missing]
        return tuple({trial.key: trial for trial in trials}.values())

    @cached_property
    def all_cells(self) -> tuple[Cell, ...]:
        """The cells of all trials; cells of other names and equal settings share their trials."""
        cells = [trial.cell for trial in (*self.measured, *self.searched, *self.missing)]
        return tuple({cell.name: cell for cell in cells}.values())

    @property
    def settled(self) -> int:
        """How many of the wanted trials are already recorded."""
        return len(self.wanted) - len(self.missing)

    @cached_property
    def only_searched(self) -> AbstractSet[str]:
        """Keys of the trials that a search asks for, and no reported mean."""
        measured = {trial.key for cell in self.cells for trial in cell.started}
        return {trial.key for trial in self.searched} - measured

    def is_done(self, trial: Trial, record: Record) -> bool:
        """Whether a record is all that the plan wants of a trial."""
        if trial.key in self.only_searched:
            return is_done(trial, record, NO_OTHERS, cut_short=self.stops_early)
        return is_done(trial, record, self.tests)

    def may_stop(self, trial: Trial) -> bool:
        """Whether early stopping may end the trial: only the first of a configuration in a search.

        The first trial stands for its configuration. If it survives, the others run to their last
        epoch, because the search compares means over whole trials. If each trial could be stopped
        by itself, few configurations would have such a mean.
        """
        return self.stops_early and not trial.index and trial.key in self.only_searched

    def unrequested(self, records: Mapping[str, Record]) -> set[str]:
        """Keys of the records that are not asked for, without those of speculative trials."""
        wanted = {trial.key for trial in self.wanted}
        return {
            key
            for key, record in records.items()
            if key not in wanted
            and (record.source or record.trial >= self.speculative.get(record.cell_key, 0))
        }


def is_done(
    trial: Trial, record: Record | None, tests: TestSets, *, cut_short: bool = False
) -> bool:
    """Whether a trial is recorded as asked, with an evaluation on each of `tests`.

    With `cut_short` a trial that was stopped early counts too: in a search it does. A trial that
    varies one source alone is evaluated on its own test set only.
    """
    if record is None or record.status is Status.FAILED:
        return False
    if record.status is Status.CUT_SHORT:
        return cut_short
    return trial.source is not None or tests.are_all_in(record)
