"""How long a sweep will take and what it will cost, before it runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mnist_ray.ledger.record import Record
from mnist_ray.plan.costs import memory_bytes
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.estimates import Timings, wall_seconds
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.search import SearchState, Stage
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.sources import Source
from mnist_ray.space.space import Cell, Search, Space

START_UP_SECONDS = 10.0
"""Ray, workers with TensorFlow, and the report; measured on two cores."""

_MOST_CALIBRATED = 8
_ERROR_OF_ARITHMETIC = 10.0
"""Seconds that are estimated from operations alone may be wrong by this factor."""

Calibrate = Callable[[dict[str, Cell]], Mapping[str, float]]
"""Takes cells by their keys, and returns seconds for those that it could measure."""


@dataclass(frozen=True)
class CellForecast:
    """The trials of one cell: how many are recorded, how many are to run, their mean seconds.

    A search, with the trials that confirm its winner, is one entry; its cell is the default. The
    trials of a cell that vary one `source` alone are an entry, too.
    """

    cell: Cell
    recorded: int
    to_run: int
    seconds: float
    source: str | None
    half_width: float | None
    """Of the 95 % interval that a budget should buy, in accuracy; None without a budget, and where
    nothing is known of the spread."""


@dataclass(frozen=True)
class BudgetForecast:
    """What a budget of working time buys.

    Attributes:
        given: the budget, as the space has it.
        is_too_small: whether the trials that run in any case take more than that.
        is_spread_known: whether the recorded trials tell how much accuracies vary.
        differences: the two cells of each paired difference that it makes precise, and the
            half-width of its 95 % interval; those of which the spread is known.
    """

    given: str
    is_too_small: bool
    is_spread_known: bool
    differences: tuple[tuple[Cell, Cell, float], ...]


@dataclass(frozen=True)
class Forecast:
    """What a sweep will take.

    Attributes:
        cells: in the order of the plan.
        wall_seconds: from the start of the command to the report.
        concurrency: how many trials run at a time.
        peak_memory_bytes: of all workers together, an upper estimate.
        basis: what the seconds are estimated from.
        is_open: whether a precision goal may ask for more trials.
        price: in the currency of the hourly cost, if one was given.
        budget: what a budget of working time buys, if the space has one.
    """

    cells: tuple[CellForecast, ...]
    wall_seconds: float
    concurrency: int
    peak_memory_bytes: int
    basis: str
    is_open: bool
    price: float | None
    budget: BudgetForecast | None = None


def forecast(
    plan: Plan,
    *,
    space: Space,
    dataset_info: DatasetInfo,
    records: Mapping[str, Record],
    concurrency: int,
    hourly_cost: float | None,
    calibrate: Calibrate,
) -> Forecast:
    """What the rest of a sweep will take with `concurrency` trials of one thread at a time.

    Seconds come from recorded trials of the same work; for cells without any, `calibrate` measures
    some. Configurations that a search has not proposed yet, and the trials that confirm its winner,
    are expected to take as long as its default. Savings by a race are not predicted.
    """
    timings = Timings(dataset_info, records)
    to_come = _to_come(plan, space, dataset_info)
    unknown = _unlike_all_known(timings.unknown_cells([*plan.wanted, *to_come]), plan)
    measured = _calibrated(unknown, calibrate)
    seconds = timings.seconds([*plan.wanted, *to_come], measured=measured)
    half_widths: dict[tuple[int, ...], float] = {}
    if plan.budget:
        trials = plan.budget.trials(seconds)
        half_widths = plan.budget.half_widths(trials)
        to_come += _bought(plan, trials.tolist())
    to_run = [*plan.missing, *to_come]
    durations = [seconds[trial.cell_key] for trial in to_run]
    wall = wall_seconds(durations, workers=concurrency) + START_UP_SECONDS if durations else 0.0
    side_by_side = min(concurrency, len(durations))
    return Forecast(
        cells=_cells(plan, to_come, seconds, half_widths),
        wall_seconds=wall,
        concurrency=side_by_side,
        peak_memory_bytes=_peak_memory(to_run, dataset_info, side_by_side=side_by_side),
        basis=_basis(unknown, measured),
        is_open=any(cell.is_open for cell in plan.cells),
        price=None if hourly_cost is None else hourly_cost * wall / 3600,
        budget=_budget_forecast(plan, seconds, half_widths),
    )


def seconds_beyond_budget(
    plan: Plan, dataset_info: DatasetInfo, records: Mapping[str, Record], calibrate: Calibrate
) -> float | None:
    """What the trials that run in any case take, where that is more than the budget; else None.

    `calibrate` is only asked where arithmetic cannot tell.
    """
    if plan.budget is None or not plan.budget.unrecorded.any():
        return None
    timings = Timings(dataset_info, records)
    firsts = [cell.trials[0] for cell in plan.cells]
    seconds, unknown = timings.seconds(firsts), timings.unknown_cells(firsts)
    if unknown and plan.budget.seconds < _ERROR_OF_ARITHMETIC * plan.budget.least_seconds(seconds):
        seconds = timings.seconds(firsts, measured=_calibrated(unknown, calibrate))
    least = plan.budget.least_seconds(seconds)
    return least if least > plan.budget.seconds else None


def _to_come(plan: Plan, space: Space, dataset_info: DatasetInfo) -> list[Trial]:
    """Trials that the searches will ask for later, with the default in place of each cell.

    They are those of configurations that are not proposed yet or still racing, and those that
    confirm the winner.
    """
    trials: list[Trial] = []
    for search in plan.searches:
        if space.search and not search.is_ended:
            count = _to_search(search, space.search) + 2 * (space.confirm or 0)
            trials += trials_of(space, search.default, dataset_info, count)
    return trials


def _to_search(search: SearchState, asked: Search) -> int:
    """How many trials the search itself will still ask for, if no race ends any early."""
    each = asked.trials_each
    racing = [known for known in search.configurations if known.stage is Stage.RUNNING]
    proposed = sum(each - len(known.trials) for known in racing)
    return proposed + each * (asked.configurations - len(search.configurations))


def _bought(plan: Plan, counts: Sequence[int]) -> list[Trial]:
    """The trials that the budget pays for beyond those that the plan has already."""
    return [
        cell.trials[0].with_index(index)
        for cell, count in zip(plan.cells, counts, strict=False)
        for index in range(len(cell.started), count)
    ]


def _budget_forecast(
    plan: Plan, seconds: Mapping[str, float], half_widths: Mapping[tuple[int, ...], float]
) -> BudgetForecast | None:
    if plan.budget is None:
        return None
    pairs = [(*numbers, width) for numbers, width in half_widths.items() if len(numbers) == 2]
    return BudgetForecast(
        given=plan.budget.goal.within or "",
        is_too_small=plan.budget.least_seconds(seconds) > plan.budget.seconds,
        is_spread_known=plan.budget.is_spread_known,
        differences=tuple((plan.cells[a].cell, plan.cells[b].cell, width) for a, b, width in pairs),
    )


def _peak_memory(to_run: Sequence[Trial], dataset_info: DatasetInfo, *, side_by_side: int) -> int:
    """Of the workers where the largest trials run side by side."""
    cells = {trial.cell_key: trial.cell for trial in to_run}
    bytes_of = {key: memory_bytes(cell, dataset_info.classes) for key, cell in cells.items()}
    memory = sorted((bytes_of[trial.cell_key] for trial in to_run), reverse=True)
    return sum(memory[:side_by_side])


def _unlike_all_known(unknown: Mapping[str, Cell], plan: Plan) -> dict[str, Cell]:
    """The unknown cells without the configurations of searches that have a timed trial."""
    known = {_pair(trial.cell) for trial in plan.searched if trial.cell_key not in unknown}
    return {key: cell for key, cell in unknown.items() if _pair(cell) not in known}


def _basis(unknown: Mapping[str, Cell], measured: Mapping[str, float]) -> str:
    if not unknown:
        return "recorded trials"
    return "a calibration on this machine" if measured else "arithmetic alone"


def _calibrated(unknown: Mapping[str, Cell], calibrate: Calibrate) -> Mapping[str, float]:
    """Seconds of the unknown cells, or of some of them where there are many."""
    if not unknown:
        return {}
    # One of each architecture and variant first: the others are estimated from those.
    firsts: dict[tuple[str, str], str] = {}
    for key, cell in unknown.items():
        firsts.setdefault(_pair(cell), key)
    chosen = list(dict.fromkeys([*firsts.values(), *unknown]))[:_MOST_CALIBRATED]
    return calibrate({key: unknown[key] for key in chosen})


def _cells(
    plan: Plan,
    to_come: Sequence[Trial],
    seconds: Mapping[str, float],
    half_widths: Mapping[tuple[int, ...], float],
) -> tuple[CellForecast, ...]:
    """One entry for each cell that is not searched and source that it varies, and each search."""
    defaults = {(search.architecture, search.variant): search.default for search in plan.searches}
    groups: dict[object, dict[Source | None, list[tuple[Trial, bool]]]] = {}
    for trial, is_to_run in [*_asked(plan), *((trial, True) for trial in to_come)]:
        pair = _pair(trial.cell)
        own = groups.setdefault(pair if pair in defaults else trial.cell.name, {})
        own.setdefault(trial.source, []).append((trial, is_to_run))

    of_cells = {plan.cells[n].cell.name: w for (n, *more), w in half_widths.items() if not more}

    def entry(group: Sequence[tuple[Trial, bool]]) -> CellForecast:
        first, _ = group[0]
        to_run = sum(is_to_run for _, is_to_run in group)
        mean = sum(seconds[trial.cell_key] for trial, _ in group) / len(group)
        cell = defaults.get(_pair(first.cell), first.cell)
        half_width = None if first.source else of_cells.get(cell.name)
        return CellForecast(cell, len(group) - to_run, to_run, mean, first.source, half_width)

    return tuple(entry(group) for own in groups.values() for group in own.values())


def _asked(plan: Plan) -> Iterator[tuple[Trial, bool]]:
    """The trials that the plan knows of, and whether each is to run."""
    missing = {trial.key for trial in plan.missing}
    trials = (*plan.measured, *plan.searched, *plan.varied, *plan.missing)
    # Not by key: cells of equal settings share their trials, and each has its row.
    for trial in {(trial.key, trial.cell.name): trial for trial in trials}.values():
        yield trial, trial.key in missing


def _pair(cell: Cell) -> tuple[str, str]:
    return cell.architecture, cell.variant
