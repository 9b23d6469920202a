"""What to run next: a pure function of what is wanted and what is recorded.

Run, resume, extend and rebuild are the same: missing = wanted - settled. A failed trial is wanted
again, a settled one never.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mnist_ray.estimates import estimated_seconds
from mnist_ray.facts import Facts
from mnist_ray.record import Record, Status
from mnist_ray.replication import Need, fixed, known_accuracies, larger, to_precision
from mnist_ray.search import Searcher, SearchState
from mnist_ray.space import Cell, Replication, Space
from mnist_ray.trial import Trial


@dataclass(frozen=True)
class CellPlan:
    """A cell whose mean is reported, and the trials that it is taken over.

    Attributes:
        trials: what counts.
        started: what should have been started by now, which may be more.
        urgency: how many times too wide its interval still is.
    """

    trials: tuple[Trial, ...]
    started: tuple[Trial, ...]
    urgency: float = 0.0

    @property
    def cell(self) -> Cell:
        """What they are trials of."""
        return self.trials[0].cell


@dataclass(frozen=True)
class Plan:
    """What is wanted, and what of it is still to run, in the order in which it should start.

    Attributes:
        cells: those whose means are reported, in the space's order.
        searches: the state of each search.
        missing: what is to run, as far as it is known.
        shifts: test shifts that a measured trial must be graded on.
        is_open: whether more may be wanted once what is missing is recorded.
    """

    cells: tuple[CellPlan, ...]
    searches: tuple[SearchState, ...]
    missing: tuple[Trial, ...]
    shifts: tuple[int, ...] = ()
    is_open: bool = False

    @cached_property
    def measured(self) -> tuple[Trial, ...]:
        """The trials that reported means are taken over, by cell."""
        return tuple(trial for cell in self.cells for trial in cell.trials)

    @cached_property
    def searched(self) -> tuple[Trial, ...]:
        """The trials of the searches themselves."""
        return tuple(trial for search in self.searches for trial in search.trials)

    @cached_property
    def wanted(self) -> tuple[Trial, ...]:
        """All trials that are asked for, as far as they are known."""
        trials = [*self.measured, *self.searched, *self.missing]
        return tuple({trial.key: trial for trial in trials}.values())

    def is_done(self, trial: Trial, record: Record) -> bool:
        """Whether a record is all that the plan wants of a trial."""
        if trial.key in {each.key for each in self.searched}:
            return is_done(trial, {trial.key: record}, (), cut_short=True)
        return is_done(trial, {trial.key: record}, self.shifts)

    @property
    def settled(self) -> int:
        """How many of the wanted trials are already recorded."""
        return len(self.wanted) - len(self.missing)


def plan(space: Space, facts: Facts, records: Mapping[str, Record]) -> Plan:
    """What `space` wants, given what is recorded."""
    searches = _searches(space, facts, records)
    plain = _plain_cells(space, facts, records)
    confirmed = [
        CellPlan(trials, trials) for search in searches for trials in _by_cell(search.confirmation)
    ]
    cells = [*plain.cells, *confirmed]
    shifts = asked_shifts(space)
    missing = [
        *_missing([t for search in searches for t in search.trials], records, (), cut_short=True),
        *_missing([trial for cell in cells for trial in cell.started], records, shifts),
    ]
    is_open = plain.is_open or any(not search.is_ended for search in searches)
    urgency = {cell.trials[0].cell_key: cell.urgency for cell in cells}
    ordered = longest_first(missing, facts, records)
    if is_open:
        # What is furthest from its goal goes first; equal trials of a search side by side.
        ordered.sort(key=lambda trial: (-urgency.get(trial.cell_key, 0.0), trial.index))
    return Plan(tuple(cells), tuple(searches), tuple(ordered), shifts, is_open)


def trials_of(space: Space, cell: Cell, facts: Facts, count: int) -> tuple[Trial, ...]:
    """The first `count` trials of a cell."""
    source = facts.sources.get(cell.builder)
    return tuple(
        Trial(cell, index, space.seed, facts.fingerprint, source) for index in range(count)
    )


def asked_shifts(space: Space) -> tuple[int, ...]:
    """The test shifts that the space asks to grade every model on, beside its own."""
    return tuple(space.evaluate.shifts) if space.evaluate else ()


def is_done(
    trial: Trial, records: Mapping[str, Record], shifts: Sequence[int], *, cut_short: bool = False
) -> bool:
    """Whether a trial is recorded as asked.

    Args:
        trial: which.
        records: by key.
        shifts: what it must be graded on.
        cut_short: whether it counts if it was stopped early: in a search it does.
    """
    record = records.get(trial.key)
    if record is None or record.status is Status.FAILED:
        return False
    if record.status is Status.CUT_SHORT:
        return cut_short
    return all(record.grading(shift) is not None for shift in shifts)


@dataclass(frozen=True)
class _PlainCells:
    cells: list[CellPlan]
    is_open: bool


def _plain_cells(space: Space, facts: Facts, records: Mapping[str, Record]) -> _PlainCells:
    """The cells that no search is needed for, with as many trials as their means need."""
    cells = space.cells(facts.image_size)
    if isinstance(space.trials, int):
        counted = [trials_of(space, cell, facts, space.trials) for cell in cells]
        return _PlainCells([CellPlan(trials, trials) for trials in counted], is_open=False)
    goal = space.trials
    trials = [trials_of(space, cell, facts, goal.at_most) for cell in cells]
    known = [known_accuracies(each, records) for each in trials]
    needs = [_need(number, cells, known, space, goal) for number in range(len(cells))]
    plans = [
        CellPlan(each[: need.counted], each[: need.started], need.urgency)
        for each, need in zip(trials, needs, strict=True)
    ]
    return _PlainCells(plans, is_open=any(need.is_open for need in needs))


def _need(
    number: int,
    cells: Sequence[Cell],
    known: Sequence[Mapping[int, float | None]],
    space: Space,
    goal: Replication,
) -> Need:
    """What a cell needs for its own mean, and for the differences that it is part of."""
    needs = []
    if goal.until_ci95 is not None:
        needs.append(to_precision(goal, goal.until_ci95, [known[number]]))
    if space.until is not None:
        needs += [
            to_precision(goal, space.until.ci95, [known[a], known[b]])
            for a, b in compared_pairs(cells, space.until.difference)
            if number in (a, b)
        ]
    return larger(needs) if needs else fixed(goal.at_least)


def compared_pairs(cells: Sequence[Cell], names: tuple[str, str]) -> list[tuple[int, int]]:
    """The cells, by number, of two architectures that agree in variant and training."""
    first, second = (
        [number for number, cell in enumerate(cells) if cell.architecture == name] for name in names
    )
    return [
        (a, b)
        for a in first
        for b in second
        if cells[a].variant == cells[b].variant and cells[a].training == cells[b].training
    ]


def _searches(space: Space, facts: Facts, records: Mapping[str, Record]) -> list[SearchState]:
    if space.search is None:
        return []
    searcher = Searcher(
        space,
        space.search,
        image_size=facts.image_size,
        fingerprint=facts.fingerprint,
        sources=facts.sources,
    )
    return [
        searcher.state(pair, distributions, records)
        for pair, distributions in space.search_spaces().items()
    ]


def _by_cell(trials: Iterable[Trial]) -> list[tuple[Trial, ...]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.cell_key, []).append(trial)
    return [tuple(group) for group in groups.values()]


def _missing(
    trials: Iterable[Trial],
    records: Mapping[str, Record],
    shifts: Sequence[int],
    *,
    cut_short: bool = False,
) -> list[Trial]:
    unique = {trial.key: trial for trial in trials}
    return [t for t in unique.values() if not is_done(t, records, shifts, cut_short=cut_short)]


def longest_first(
    trials: Sequence[Trial], facts: Facts, records: Mapping[str, Record]
) -> list[Trial]:
    """`trials`, those that take long before those that do not, so that no core idles at the end.

    Trials of one cell stay together and in their order: a worker that goes on in the same cell
    keeps its compiled graph.
    """
    seconds = estimated_seconds(trials, facts, records)
    first_seen = {key: number for number, key in enumerate(seconds)}

    def order(trial: Trial) -> tuple[float, int, int]:
        return -seconds[trial.cell_key], first_seen[trial.cell_key], trial.index

    return sorted(trials, key=order)


class Agenda:
    """Hands out what a plan lacks, trial by trial, while records come in.

    A trial is handed out once; one that fails waits for the next time that the command is given.
    """

    def __init__(
        self,
        plan_now: Callable[[Mapping[str, Record]], Plan],
        records: Mapping[str, Record],
        *,
        max_concurrent: int | None = None,
        stops_early: bool = False,
    ) -> None:
        """Make the first plan.

        Args:
            plan_now: the plan, from what is recorded by then.
            records: what is recorded already.
            max_concurrent: trials at a time.
            stops_early: whether trials of a search may be stopped before their last epoch.
        """
        self._plan_now = plan_now
        self._stops_early = stops_early
        self._limit = max_concurrent
        self._handed_out: set[str] = set()
        self._running: dict[str, Trial] = {}
        self.records = dict(records)
        self._follow(plan_now(self._known()))

    @property
    def left(self) -> int:
        """How many trials are running or waiting, as far as is known."""
        return len(self._running) + len(self._waiting)

    @property
    def is_exhausted(self) -> bool:
        """Whether no trial will be handed out any more, whatever the running ones give."""
        return not self._waiting and not (self._running and self.plan.is_open)

    def next(self) -> Trial | None:
        """The trial to start now, if there is one."""
        if self._limit is not None and len(self._running) >= self._limit:
            return None
        if not self._waiting:
            return None
        trial = self._waiting.popleft()
        self._handed_out.add(trial.key)
        self._running[trial.key] = trial
        return trial

    def may_stop(self, trial: Trial) -> bool:
        """Whether early stopping may end the trial: only in a search, not where it is measured."""
        return self._stops_early and trial.key in self._searched

    def settle(self, record: Record) -> None:
        """Take in how a trial ended."""
        self._running.pop(record.key, None)
        self.records[record.key] = record
        if self.plan.is_open:
            self._follow(self._plan_now(self._known()))

    def _follow(self, plan: Plan) -> None:
        self.plan = plan
        self._searched = {trial.key for trial in plan.searched}
        self._waiting = deque(t for t in plan.missing if t.key not in self._handed_out)

    def _known(self) -> dict[str, Record]:
        """The records to plan with: a failure of an earlier command is to be tried again."""
        return {
            key: record
            for key, record in self.records.items()
            if record.status is not Status.FAILED or key in self._handed_out
        }
