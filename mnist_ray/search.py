"""The state of a hyperparameter search, from its space and the records alone.

A configuration's score is the mean validation accuracy over its trials; test accuracy is never
looked at. When the search has ended, its winner and the default are trained afresh, with seeds that
the search never used (the trials after its own): only those count as what the winner can do, since
the highest of many noisy scores is too high.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mnist_ray.distributions import Distribution
from mnist_ray.identity import digest
from mnist_ray.proposals import BATCH_SIZE, Values, ask_optuna, draw_at_random
from mnist_ray.record import Record, Status
from mnist_ray.space import Cell, Search, Space
from mnist_ray.statistics import race
from mnist_ray.trial import Trial


class Stage(StrEnum):
    """How far a configuration has come."""

    RUNNING = "running"
    COMPLETE = "complete"
    RACED_OUT = "raced_out"
    """Worse than the best beyond doubt, before all its trials were run."""
    CUT_SHORT = "cut_short"
    """A trial was stopped before its last epoch: there is no mean over whole trials."""
    FAILED = "failed"
    """A trial failed: the rest would be a mean of what did not."""


@dataclass(frozen=True, eq=False)
class Configuration:
    """One set of hyperparameters that a search tries.

    Attributes:
        number: from 0, in the order in which they were proposed.
        cell: with the hyperparameters filled in.
        trials: that the search has asked for so far.
        scores: validation accuracies of the finished ones, by index.
        stage: how far it has come.
    """

    number: int
    cell: Cell
    trials: tuple[Trial, ...]
    scores: tuple[float, ...]
    stage: Stage

    @property
    def mean(self) -> float | None:
        """The mean validation accuracy over its trials so far."""
        return sum(self.scores) / len(self.scores) if self.scores else None


@dataclass(frozen=True, eq=False)
class SearchState:
    """A search of one architecture on one variant.

    Attributes:
        configurations: proposed so far.
        winner: the complete one with the highest score, once the search has ended; None before,
            and where none is complete.
        default: the cell with every hyperparameter at its default.
        confirmation: fresh trials of the winner, and of the default, once there is a winner.
        is_ended: whether all configurations are proposed and none is running.
    """

    architecture: str
    variant: str
    configurations: tuple[Configuration, ...]
    winner: Configuration | None
    default: Cell
    confirmation: tuple[Trial, ...]
    is_ended: bool

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Of the search itself, those of equal index next to each other."""
        trials = [trial for each in self.configurations for trial in each.trials]
        return tuple(sorted(trials, key=lambda trial: trial.index))


class Searcher:
    """Works out the state of each search of a space."""

    def __init__(
        self,
        space: Space,
        search: Search,
        *,
        image_size: tuple[int, int],
        fingerprint: str,
        sources: Mapping[str, str],
    ) -> None:
        self._space, self._search = space, search
        self._image_size, self._fingerprint, self._sources = image_size, fingerprint, sources

    def state(
        self,
        pair: tuple[str, str],
        distributions: Mapping[str, Distribution],
        records: Mapping[str, Record],
    ) -> SearchState:
        """The search of an (architecture, variant), as far as `records` tell it."""
        configurations: list[Configuration] = []
        told: list[list[float | None]] = []
        size = self._search.configurations if self._search.algorithm == "random" else BATCH_SIZE
        while len(configurations) < self._search.configurations:
            left = self._search.configurations - len(configurations)
            proposed = self._propose(pair, distributions, told)[: min(size, left)]
            cells = [self._space.bind(*pair, values, self._image_size) for values in proposed]
            batch = self._run_batch(cells, len(configurations), records)
            configurations += batch
            if any(each.stage is Stage.RUNNING for each in batch):
                break
            told.append([each.mean if _counts(each.stage) else None for each in batch])
        is_ended = len(configurations) == self._search.configurations and not any(
            each.stage is Stage.RUNNING for each in configurations
        )
        winner = _best(configurations) if is_ended else None
        default = self._space.default_configuration(*pair, self._image_size)
        return SearchState(
            architecture=pair[0],
            variant=pair[1],
            configurations=tuple(configurations),
            winner=winner,
            default=default,
            confirmation=self._confirmation(winner, default) if winner else (),
            is_ended=is_ended,
        )

    def _propose(
        self,
        pair: tuple[str, str],
        distributions: Mapping[str, Distribution],
        told: Sequence[Sequence[float | None]],
    ) -> list[Values]:
        place = digest({"architecture": pair[0], "variant": pair[1]})
        seed = self._space.seed
        if self._search.algorithm == "optuna":
            return ask_optuna(distributions, seed=seed, place=place, told=told)
        return [
            draw_at_random(distributions, seed=seed, place=place, number=number)
            for number in range(self._search.configurations)
        ]

    def _trials(self, cell: Cell, indices: range) -> tuple[Trial, ...]:
        source = self._sources.get(cell.builder)
        seed = self._space.seed
        return tuple(Trial(cell, index, seed, self._fingerprint, source) for index in indices)

    def _run_batch(
        self, cells: Sequence[Cell], first: int, records: Mapping[str, Record]
    ) -> list[Configuration]:
        """The configurations of a batch; with racing, one trial index after the other."""
        each = self._search.trials_each
        trials = [self._trials(cell, range(each)) for cell in cells]
        asked = [each] * len(cells)
        if self._space.race:
            asked = _raced(trials, records)
        return [
            _configuration(first + number, cell, all_trials, all_trials[:count], records)
            for number, (cell, all_trials, count) in enumerate(
                zip(cells, trials, asked, strict=True)
            )
        ]

    def _confirmation(self, winner: Configuration, default: Cell) -> tuple[Trial, ...]:
        fresh = range(
            self._search.trials_each, self._search.trials_each + (self._space.confirm or 0)
        )
        trials = [*self._trials(winner.cell, fresh), *self._trials(default, fresh)]
        # The default may itself have won.
        return tuple({trial.key: trial for trial in trials}.values())


def _counts(stage: Stage) -> bool:
    return stage in (Stage.COMPLETE, Stage.RACED_OUT)


def _best(configurations: Sequence[Configuration]) -> Configuration | None:
    complete = [each for each in configurations if each.stage is Stage.COMPLETE]
    return max(complete, key=lambda each: each.mean or 0.0, default=None)


def _configuration(
    number: int,
    cell: Cell,
    all_trials: Sequence[Trial],
    asked: tuple[Trial, ...],
    records: Mapping[str, Record],
) -> Configuration:
    found = [records[trial.key] for trial in asked if trial.key in records]
    scores = tuple(
        record.validation_accuracy
        for record in found
        if record.status is Status.FINISHED and record.validation_accuracy is not None
    )
    statuses = {record.status for record in found}
    if Status.FAILED in statuses:
        stage = Stage.FAILED
    elif len(found) < len(asked):
        stage = Stage.RUNNING
    elif Status.CUT_SHORT in statuses:
        stage = Stage.CUT_SHORT
    else:
        stage = Stage.COMPLETE if len(asked) == len(all_trials) else Stage.RACED_OUT
    return Configuration(number, cell, asked, scores, stage)


def _raced(trials: Sequence[Sequence[Trial]], records: Mapping[str, Record]) -> list[int]:
    """How many trials each configuration of a batch is asked for, so far."""
    each = len(trials[0])
    asked = [1] * len(trials)
    scores: dict[int, list[float]] = {number: [] for number in range(len(trials))}
    for index in range(each):
        for number in scores:
            asked[number] = index + 1
        found = {number: records.get(trials[number][index].key) for number in scores}
        if any(record is None for record in found.values()):
            break
        for number, record in found.items():
            whole = record is not None and record.status is Status.FINISHED
            accuracy = record.validation_accuracy if record and whole else None
            if accuracy is None:
                # Failed or cut short: no mean of whole trials any more, and no more trials.
                del scores[number]
            else:
                scores[number].append(accuracy)
        numbers = list(scores)
        left = race([scores[number] for number in numbers], trials_each=each)
        scores = {number: scores[number] for place, number in enumerate(numbers) if place in left}
    return asked
