"""How long trials will take: by recorded trials, by a calibration, or by arithmetic."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mnist_ray.ledger.identity import JSON, digest
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.costs import training_operations
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell

_OPERATIONS_PER_SECOND = 50e9
"""Of one core in these models, measured on an AVX-512 server core; used where nothing is known."""


class Timings:
    """How long trials took, and how long others will take.

    Each record is read once only, so that estimates after every record stay cheap.
    """

    def __init__(self, dataset_info: DatasetInfo, records: Mapping[str, Record]) -> None:
        self._dataset_info = dataset_info
        self._read: set[str] = set()
        self._spent: dict[str, float] = defaultdict(float)
        """Seconds of all timed trials, by their work."""
        self._timed: Counter[str] = Counter()
        """The number of timed trials, by their work."""
        self._works: dict[str, _Work] = {}
        self.learn(records)

    def learn(self, records: Mapping[str, Record]) -> None:
        """Learn the times of the finished trials among `records`, which are by key."""
        for key, record in records.items():
            if record.status is not Status.FINISHED or key in self._read:
                continue
            self._read.add(key)
            if record.costs.train_seconds is not None:
                work = _work_key(record.identity)
                self._spent[work] += record.costs.seconds
                self._timed[work] += 1

    def seconds(
        self, trials: Iterable[Trial], *, measured: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Seconds of one trial of each cell, by the cell's key in the order of `trials`.

        They are the mean of recorded trials of the same work, whatever their seed; otherwise those
        in `measured` (seconds by the cell's key). Otherwise they are the cell's operations at the
        speed that is known of the same builder and canvas, or of all cells, or at a typical speed.
        """
        works = self._works_of(trials)
        known = {key: value for key, value in (measured or {}).items() if key in works}
        for key, work in works.items():
            if work.key in self._timed:
                known[key] = self._spent[work.key] / self._timed[work.key]
        paces: dict[tuple[str, int], list[float]] = defaultdict(list)
        for key, seconds in known.items():
            paces[works[key].family].append(seconds / works[key].operations)
        all_paces = [pace for family in paces.values() for pace in family]

        def estimated(work: _Work) -> float:
            alike = paces.get(work.family, all_paces) or [1 / _OPERATIONS_PER_SECOND]
            return work.operations * fmean(alike)

        return {key: known[key] if key in known else estimated(work) for key, work in works.items()}

    def unknown_cells(self, trials: Iterable[Trial]) -> dict[str, Cell]:
        """The cells, by key, for which no trial of the same work is recorded."""
        works = self._works_of(trials)
        return {key: work.cell for key, work in works.items() if work.key not in self._timed}

    def _works_of(self, trials: Iterable[Trial]) -> "dict[str, _Work]":
        """The work of each cell, by its key in the order of `trials`."""
        works: dict[str, _Work] = {}
        for trial in trials:
            key = trial.cell_key
            if key not in self._works:
                operations = training_operations(trial.cell, self._dataset_info)
                self._works[key] = _Work(trial.cell, _work_key(trial.cell_identity), operations)
            works[key] = self._works[key]
        return works


def wall_seconds(durations: Sequence[float], *, workers: int) -> float:
    """Seconds until all are done, where each worker takes the next duration when it is free."""
    ends = [0.0] * max(1, workers)
    for duration in durations:
        heapq.heappush(ends, heapq.heappop(ends) + duration)
    return max(ends)


@dataclass(frozen=True)
class _Work:
    """What a trial of a cell has to compute; trials with equal `key` take equally long."""

    cell: Cell
    key: str
    operations: float

    @property
    def family(self) -> tuple[str, int]:
        """What trials have in common that run at about the same speed."""
        return self.cell.builder, self.cell.canvas


def _work_key(identity: JSON) -> str:
    """A hash of all that the duration of a trial depends on."""
    names = ["data", "builder", "source", "hyperparameters", "canvas"]
    names += ["transform"] if "transform" in identity else []
    training = {key: value for key, value in identity["training"].items() if key != "learning_rate"}
    if isinstance(training["optimizer"], dict):
        # Which arguments an optimizer has matters, their values hardly do.
        training["optimizer"] = [training["optimizer"]["name"], *sorted(training["optimizer"])]
    return digest({**{name: identity[name] for name in names}, "training": training})
