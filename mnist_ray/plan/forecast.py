"""How long a sweep will take and what it will cost, before it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mnist_ray.ledger.record import Record
from mnist_ray.plan.costs import memory_bytes
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.estimates import Timings, wall_seconds
from mnist_ray.plan.planner import Plan
from mnist_ray.plan.search import SearchState, Stage
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.space import Cell, Space

START_UP_SECONDS = 10.0
"""Ray, workers with TensorFlow, and the report; measured on two cores."""

_MOST_CALIBRATED = 8


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
    source: str | None = None


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
    """

    cells: tuple[CellForecast, ...]
    wall_seconds: float
    concurrency: int
    peak_memory_bytes: int
    basis: str
    is_open: bool
    price: float | None


def forecast(
    plan: Plan,
    *,
    space: Space,
    dataset_info: DatasetInfo,
    records: Mapping[str, Record],
    concurrency: int,
    hourly_cost: float | None,
    calibrate: Callable[[dict[str, Cell]], Mapping[str, float]],
) -> Forecast:
    """What the rest of a sweep will take with `concurrency` trials of one thread at a time.

    Seconds come from recorded trials of the same work. For cells without any, `calibrate` measures
    some: it takes cells by their keys, and returns seconds for those that it could measure.
    Configurations that a search has not proposed yet, and the trials that confirm its winner, are
    expected to take as long as its default. Savings by a race are not predicted.
    """
    timings = Timings(dataset_info)
    timings.learn(records)
    to_come = _to_come(plan, space, dataset_info)
    unknown = _unlike_all_known(timings.unknown_cells([*plan.wanted, *to_come]), plan)
    measured = _calibrated(unknown, calibrate)
    seconds = timings.seconds([*plan.wanted, *to_come], measured=measured)
    to_run = [*plan.missing, *to_come]
    durations = [seconds[trial.cell_key] for trial in to_run]
    wall = wall_seconds(durations, workers=concurrency) + START_UP_SECONDS if durations else 0.0
    side_by_side = min(concurrency, len(durations))
    memory = sorted((memory_bytes(t.cell, dataset_info.classes) for t in to_run), reverse=True)
    return Forecast(
        cells=_cells(plan, to_come, seconds),
        wall_seconds=wall,
        concurrency=side_by_side,
        peak_memory_bytes=sum(memory[:side_by_side]),
        basis=_basis(unknown, measured),
        is_open=any(cell.is_open for cell in plan.cells),
        price=None if hourly_cost is None else hourly_cost * wall / 3600,
    )


def _unlike_all_known(unknown: Mapping[str, Cell], plan: Plan) -> dict[str, Cell]:
    """The unknown cells without the configurations of searches that have a timed trial."""
    known = {_pair(trial.cell) for trial in plan.searched if trial.cell_key not in unknown}
    return {key: cell for key, cell in unknown.items() if _pair(cell) not in known}


def _basis(unknown: Mapping[str, Cell], measured: Mapping[str, float]) -> str:
    if not unknown:
        return "recorded trials"
    return "a calibration on this machine" if measured else "arithmetic alone"


def _calibrated(
    unknown: Mapping[str, Cell], calibrate: Callable[[dict[str, Cell]], Mapping[str, float]]
) -> Mapping[str, float]:
    """Seconds of the unknown cells, or of some of them where there are many."""
    if not unknown:
        return {}
    # One of each architecture and variant first: the others are estimated from those.
    firsts: dict[tuple[str, str], str] = {}
    for key, cell in unknown.items():
        firsts.setdefault(_pair(cell), key)
    chosen = list(dict.fromkeys([*firsts.values(), *unknown]))[:_MOST_CALIBRATED]
    return calibrate({key: unknown[key] for key in chosen})


def _to_come(plan: Plan, space: Space, dataset_info: DatasetInfo) -> list[Trial]:
    """Trials that the searches will ask for later, with the default in place of each cell.

    They are those of configurations that are not proposed yet or still racing, and those that
    confirm the winner.
    """
    return [
        trial
        for search in plan.searches
        if not search.is_ended
        for trial in trials_of(space, search.default, dataset_info, _count_to_come(search, space))
    ]


def _count_to_come(search: SearchState, space: Space) -> int:
    if space.search is None:
        return 0
    each = space.search.trials_each
    running = [c for c in search.configurations if c.stage is Stage.RUNNING]
    proposed = sum(each - len(configuration.trials) for configuration in running)
    unknown = each * (space.search.configurations - len(search.configurations))
    return proposed + unknown + 2 * (space.confirm or 0)


def _cells(
    plan: Plan, to_come: Sequence[Trial], seconds: Mapping[str, float]
) -> tuple[CellForecast, ...]:
    """One entry for each cell that is not searched and source that it varies, and each search."""
    missing = {trial.key for trial in plan.missing}
    # Not by key: cells of equal settings share their trials, and each has its row.
    asked = {
        (trial.key, trial.cell.name): trial
        for trial in (*plan.measured, *plan.searched, *plan.varied, *plan.missing)
    }
    due = [(trial, trial.key in missing) for trial in asked.values()]
    due += [(trial, True) for trial in to_come]
    defaults = {(search.architecture, search.variant): search.default for search in plan.searches}
    groups: dict[tuple[str, ...], list[tuple[Trial, bool]]] = {}
    for trial, is_to_run in due:
        pair = _pair(trial.cell)
        place = pair if pair in defaults else (trial.cell.name, trial.source or "")
        groups.setdefault(place, []).append((trial, is_to_run))

    def of(group: Sequence[tuple[Trial, bool]]) -> CellForecast:
        first, _ = group[0]
        to_run = sum(is_to_run for _, is_to_run in group)
        mean = sum(seconds[trial.cell_key] for trial, _ in group) / len(group)
        cell = defaults.get(_pair(first.cell), first.cell)
        return CellForecast(cell, len(group) - to_run, to_run, mean, first.source)

    return tuple(of(group) for group in groups.values())


def _pair(cell: Cell) -> tuple[str, str]:
    return cell.architecture, cell.variant
