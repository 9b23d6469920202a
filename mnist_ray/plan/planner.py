"""What to run next: a pure function of what is wanted and what is recorded.

Run, resume, extend and rebuild are the same: missing = wanted - settled. A failed trial is wanted
again, a settled one never.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from mnist_ray.ledger.record import Record
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.estimates import Timings
from mnist_ray.plan.plain_cells import PlainCells
from mnist_ray.plan.plan import CellPlan, Plan, is_done
from mnist_ray.plan.search import Searcher, SearchState
from mnist_ray.plan.test_sets import NO_OTHERS, asked_test_sets
from mnist_ray.plan.trial import Trial, source_trials
from mnist_ray.space.space import Space, StoppingRule


def plan(space: Space, dataset_info: DatasetInfo, records: Mapping[str, Record]) -> Plan:
    """What `space` wants, given what is recorded."""
    return Planner(space, dataset_info).plan(records)


class Planner:
    """Plans one space again and again, as records come in.

    A plan depends on the space and the records alone. What does not change from one plan to the
    next (cells, trials and their keys, what searches proposed, recorded times) is kept in between.

    Raises:
        InputError: a search is Optuna's, and Optuna is not installed.
    """

    def __init__(self, space: Space, dataset_info: DatasetInfo) -> None:
        self._space = space
        self._plain = PlainCells(space, dataset_info)
        self._varied = source_trials(space, self._plain.cells, dataset_info)
        self._tests = asked_test_sets(space, dataset_info)
        self._timings = Timings(dataset_info, {})
        self._stops_early = space.early_stopping is not None
        self._searchers = [
            Searcher(space, space.search, dataset_info, pair)
            for pair in space.search_spaces()
            if space.search
        ]

    def plan(self, records: Mapping[str, Record]) -> Plan:
        """What the space wants, given what is recorded."""
        searches = [searcher.state(records) for searcher in self._searchers]
        self._timings.learn(records)
        plain, budget = self._plain.plans(records, self._timings, self._varied)
        confirmation = [trial for search in searches for trial in search.confirmation]
        confirmed = [tuple(group) for _, group in groupby(confirmation, attrgetter("cell_key"))]
        cells = [*plain, *(CellPlan(trials, trials) for trials in confirmed)]
        is_open = any(c.is_open for c in plain) or any(not s.is_ended for s in searches)
        missing = self._missing(searches, cells, records)
        return Plan(
            cells=tuple(cells),
            searches=tuple(searches),
            missing=tuple(self._in_order(missing, cells, is_open=is_open)),
            tests=self._tests,
            is_open=is_open,
            speculative=self._speculative(plain, searches),
            budget=budget,
            varied=self._varied,
            stops_early=self._stops_early,
        )

    def _missing(
        self,
        searches: Iterable[SearchState],
        cells: Iterable[CellPlan],
        records: Mapping[str, Record],
    ) -> list[Trial]:
        """What is not recorded as asked."""
        searched = [trial for search in searches for trial in search.trials]
        measured = [*(trial for cell in cells for trial in cell.started), *self._varied]
        missing = [
            trial
            for trial in searched
            if not is_done(trial, records.get(trial.key), NO_OTHERS, cut_short=self._stops_early)
        ]
        missing += [t for t in measured if not is_done(t, records.get(t.key), self._tests)]
        return list({trial.key: trial for trial in missing}.values())

    def _in_order(
        self, missing: Sequence[Trial], cells: Iterable[CellPlan], *, is_open: bool
    ) -> list[Trial]:
        """Those that take long before those that do not, so that no core idles at the end.

        Trials of one cell stay together and in their order, the ordinary ones first: a worker that
        goes on in the same cell keeps its compiled graph. Where more may be wanted, what is
        furthest from its goal goes first, and equal trials of a search side by side.
        """
        seconds = self._timings.seconds(missing)
        first_seen = {key: number for number, key in enumerate(seconds)}

        def order(trial: Trial) -> tuple[float, int, str, int]:
            place = first_seen[trial.cell_key]
            return -seconds[trial.cell_key], place, trial.source or "", trial.index

        ordered = sorted(missing, key=order)
        if is_open:
            priority: dict[str, float] = defaultdict(float)
            for cell in cells:  # Several may have the same trials.
                key = cell.trials[0].cell_key
                priority[key] = max(cell.priority, priority[key])
            ordered.sort(key=lambda trial: (-priority[trial.cell_key], trial.index))
        return ordered

    def _speculative(
        self, plain: Sequence[CellPlan], searches: Sequence[SearchState]
    ) -> dict[str, int]:
        most: dict[str, int] = {}
        if isinstance(self._space.trials, StoppingRule):
            most = {cell.trials[0].cell_key: self._space.trials.at_most for cell in plain}
        if self._space.search:
            tried = [each for search in searches for each in search.configurations]
            most |= {each.trials[0].cell_key: self._space.search.trials_each for each in tried}
        return most
