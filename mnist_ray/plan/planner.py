"""What to run next: a pure function of what is wanted and what is recorded.

Run, resume, extend and rebuild are the same: missing = wanted - settled. A failed trial is wanted
again, a settled one never.
"""

from collections.abc import Iterable, Mapping, Sequence

from mnist_ray.ledger.record import Record
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.estimates import Timings
from mnist_ray.plan.plain_cells import PlainCells
from mnist_ray.plan.plan import CellPlan, Plan, is_done
from mnist_ray.plan.search import Searcher, SearchState
from mnist_ray.plan.test_sets import NO_OTHERS, TestSets, asked_test_sets
from mnist_ray.plan.trial import Trial, source_trials
from mnist_ray.space.space import Space, StoppingRule


def plan(space: Space, dataset_info: DatasetInfo, records: Mapping[str, Record]) -> Plan:
    """What `space` wants, given what is recorded."""
    return Planner(space, dataset_info).plan(records)


class Planner:
    """Plans one space again and again, as records come in.

    A plan depends on the space and the records alone. What does not change from one plan to the
    next (cells, trials and their keys, what searches proposed, recorded times) is kept in between.
    """

    def __init__(self, space: Space, dataset_info: DatasetInfo) -> None:
        self._space = space
        self._plain = PlainCells(space, dataset_info)
        self._varied = source_trials(space, self._plain.cells, dataset_info)
        self._tests = asked_test_sets(space, dataset_info)
        self._timings = Timings(dataset_info)
        self._searcher = Searcher(space, space.search, dataset_info) if space.search else None

    def plan(self, records: Mapping[str, Record]) -> Plan:
        """What the space wants, given what is recorded.

        Raises:
            InputError: a search is Optuna's, and Optuna is not installed.
        """
        searches = self._searcher.states(records) if self._searcher else []
        self._timings.learn(records)
        plain, budget = self._plain.plans(records, self._timings, self._varied)
        confirmed = [
            CellPlan(trials, trials)
            for search in searches
            for trials in _by_cell(search.confirmation)
        ]
        cells = [*plain, *confirmed]
        is_open = any(c.is_open for c in plain) or any(not s.is_ended for s in searches)
        missing = _missing(
            [trial for search in searches for trial in search.trials],
            [*(trial for cell in cells for trial in cell.started), *self._varied],
            records,
            self._tests,
            cut_short=self._space.early_stopping is not None,
        )
        return Plan(
            cells=tuple(cells),
            searches=tuple(searches),
            missing=tuple(self._in_order(missing, cells, records, is_open=is_open)),
            tests=self._tests,
            is_open=is_open,
            speculative=self._speculative(plain, searches),
            budget=budget,
            varied=self._varied,
        )

    def _in_order(
        self,
        missing: Sequence[Trial],
        cells: Sequence[CellPlan],
        records: Mapping[str, Record],
        *,
        is_open: bool,
    ) -> list[Trial]:
        ordered = _longest_first(missing, self._timings.seconds(missing))
        if is_open:
            # What is furthest from its goal goes first; equal trials of a search side by side.
            priority: dict[str, float] = {}
            for cell in cells:  # Several may have the same trials.
                key = cell.trials[0].cell_key
                priority[key] = max(cell.priority, priority.get(key, 0.0))
            ordered.sort(key=lambda trial: (-priority.get(trial.cell_key, 0.0), trial.index))
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


def _by_cell(trials: Iterable[Trial]) -> list[tuple[Trial, ...]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.cell_key, []).append(trial)
    return [tuple(group) for group in groups.values()]


def _missing(
    searched: Iterable[Trial],
    measured: Iterable[Trial],
    records: Mapping[str, Record],
    tests: TestSets,
    *,
    cut_short: bool,
) -> list[Trial]:
    """What is not recorded as asked. `cut_short`: whether a search takes trials cut short."""
    of_searches = [t for t in searched if not is_done(t, records, NO_OTHERS, cut_short=cut_short)]
    of_cells = [t for t in measured if not is_done(t, records, tests)]
    return list({trial.key: trial for trial in [*of_searches, *of_cells]}.values())


def _longest_first(trials: Sequence[Trial], seconds: Mapping[str, float]) -> list[Trial]:
    """`trials`, those that take long before those that do not, so that no core idles at the end.

    Trials of one cell stay together and in their order, the ordinary ones first: a worker that goes
    on in the same cell keeps its compiled graph.
    """
    first_seen = {key: number for number, key in enumerate(seconds)}

    def order(trial: Trial) -> tuple[float, int, str, int]:
        place = first_seen[trial.cell_key]
        return -seconds[trial.cell_key], place, trial.source or "", trial.index

    return sorted(trials, key=order)
