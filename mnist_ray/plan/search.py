"""The state of a hyperparameter search, from its space and the records alone.

A configuration's score is the mean validation accuracy over its trials; test accuracy is never
used. When the search has ended, its winner and the default are trained again, with seeds that the
search never used (those of the trials after its own). Only these fresh trials estimate what the
winner can do, since the highest of many noisy scores is too high.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.sampler import OptunaSampler, Sampler, Scores, Values, random_configurations
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.space import Cell, Search, Space
from mnist_ray.stats.racing import survivors


class Stage(StrEnum):
    """How far a configuration has come."""

    RUNNING = "running"
    COMPLETE = "complete"
    RACED_OUT = "raced_out"
    """Significantly worse than the best before all its trials were run."""
    CUT_SHORT = "cut_short"
    """A trial was stopped before its last epoch, so that there is no mean over whole trials."""
    FAILED = "failed"
    """A trial failed, so that there is no mean over all trials."""

    @property
    def has_score(self) -> bool:
        """Whether the mean over its trials counts in the search."""
        return self in (Stage.COMPLETE, Stage.RACED_OUT)


@dataclass(frozen=True, eq=False)
class Configuration:
    """One set of hyperparameters that a search tries.

    Attributes:
        number: from 0, in the order in which they were proposed.
        cell: with the hyperparameters filled in.
        trials: that the search has asked for so far, from index 0 on.
        scores: validation accuracies of the finished ones, in order and without a gap.
        stage: how far it has come.
    """

    number: int
    cell: Cell
    trials: tuple[Trial, ...]
    scores: tuple[float, ...]
    stage: Stage

    @property
    def mean(self) -> float | None:
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

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """Of the search itself, those of equal index next to each other."""
        trials = [trial for each in self.configurations for trial in each.trials]
        return tuple(sorted(trials, key=lambda trial: trial.index))


@dataclass(frozen=True)
class Progress:
    """What is recorded of a configuration's trials, from index 0 on, up to the first gap.

    Attributes:
        scores: validation accuracies of the trials that finished, up to the first that did not.
        broken_off: how that one ended; None where it has not ended.
    """

    scores: tuple[float, ...]
    broken_off: Status | None = None


class Searcher:
    """Works out the state of one search, again and again as records come in.

    What follows from the space alone (cells, trials and their keys) and what the sampler has
    proposed is kept in between, so that more records do not make a state take longer.

    Raises:
        InputError: the search uses Optuna, and Optuna is not installed.
    """

    def __init__(
        self, space: Space, search: Search, dataset_info: DatasetInfo, pair: tuple[str, str]
    ) -> None:
        self._space, self._search, self._dataset_info = space, search, dataset_info
        self._architecture, self._variant = pair
        self._default = space.bind(*pair, {}, dataset_info.image_shape)
        self._tried: dict[str, tuple[Trial, ...]] = {}
        place = digest({"architecture": self._architecture, "variant": self._variant})
        searched = space.search_spaces()[pair], space.seed, place
        if search.algorithm == "optuna":
            self._next_batch: Sampler = OptunaSampler(*searched).next_batch
        else:
            drawn = random_configurations(*searched, count=search.configurations)
            self._next_batch = lambda scores: drawn

    def state(self, records: Mapping[str, Record]) -> SearchState:
        """The search, given what is recorded."""
        configurations = self._configurations(records)
        is_ended = len(configurations) == self._search.configurations and not any(
            each.stage is Stage.RUNNING for each in configurations
        )
        complete = [each for each in configurations if each.stage is Stage.COMPLETE]
        winner = max(complete, key=lambda c: c.mean or 0.0, default=None) if is_ended else None
        return SearchState(
            architecture=self._architecture,
            variant=self._variant,
            configurations=tuple(configurations),
            winner=winner,
            default=self._default,
            confirmation=self._confirmation(winner) if winner else (),
            is_ended=is_ended,
        )

    def _configurations(self, records: Mapping[str, Record]) -> list[Configuration]:
        """All that are proposed by now: a batch only after the whole batch before has ended."""
        configurations: list[Configuration] = []
        scores: list[Scores] = []
        while len(configurations) < self._search.configurations:
            left = self._search.configurations - len(configurations)
            proposed = self._next_batch(scores)[:left]
            batch = self._batch(proposed, len(configurations), records)
            configurations += batch
            if any(each.stage is Stage.RUNNING for each in batch):
                break
            scores.append(tuple(each.mean if each.stage.has_score else None for each in batch))
        return configurations

    def _batch(
        self, proposed: Sequence[Values], first: int, records: Mapping[str, Record]
    ) -> list[Configuration]:
        trials = [self._trials(values) for values in proposed]
        progress = [self._progress(each, records) for each in trials]
        trials_each = self._search.trials_each
        if self._space.race:
            asked = trials_of_race(progress, trials_each=trials_each)
        else:
            asked = [trials_without_race(each, trials_each=trials_each) for each in progress]
        return [
            Configuration(
                number, own[0].cell, own[:count], known.scores[:count], self._stage(known, count)
            )
            for number, (own, known, count) in enumerate(
                zip(trials, progress, asked, strict=True), start=first
            )
        ]

    def _trials(self, values: Values) -> tuple[Trial, ...]:
        """Of a configuration; made once, as their keys are hashes."""
        place = json.dumps(values)
        if place not in self._tried:
            shape, count = self._dataset_info.image_shape, self._search.trials_each
            cell = self._space.bind(self._architecture, self._variant, values, shape)
            self._tried[place] = trials_of(self._space, cell, self._dataset_info, count)
        return self._tried[place]

    def _progress(self, trials: Sequence[Trial], records: Mapping[str, Record]) -> Progress:
        scores: list[float] = []
        for trial in trials:
            record = records.get(trial.key)
            if record is None:
                break
            if record.status is Status.CUT_SHORT and self._space.early_stopping is None:
                break  # It runs again as a whole.
            if record.status is not Status.FINISHED or record.validation_accuracy is None:
                return Progress(tuple(scores), broken_off=record.status)
            scores.append(record.validation_accuracy)
        return Progress(tuple(scores))

    def _stage(self, known: Progress, asked: int) -> Stage:
        if len(known.scores) < asked:
            if known.broken_off is None:
                return Stage.RUNNING
            return Stage.CUT_SHORT if known.broken_off is Status.CUT_SHORT else Stage.FAILED
        return Stage.COMPLETE if asked == self._search.trials_each else Stage.RACED_OUT

    def _confirmation(self, winner: Configuration) -> tuple[Trial, ...]:
        count, first = self._space.confirm or 0, self._search.trials_each
        trials = [
            trial
            for cell in (winner.cell, self._default)
            for trial in trials_of(self._space, cell, self._dataset_info, count, first=first)
        ]
        # The default may itself have won.
        return tuple({trial.key: trial for trial in trials}.values())


def trials_without_race(progress: Progress, *, trials_each: int) -> int:
    """How many trials to ask for: all, but none after one that ended without finishing.

    The mean that the search compares is over all trials, so such a configuration has none.
    """
    return len(progress.scores) + 1 if progress.broken_off else trials_each


def trials_of_race(progress: Sequence[Progress], *, trials_each: int) -> list[int]:
    """How many trials each configuration is asked for, as far as the race can be decided.

    After each index that all racing configurations have finished, those that are significantly
    worse than the best drop out. A configuration with a trial that ended without finishing cannot
    win, so it is excluded. Others may have dropped out only because they were worse than that one:
    the race starts again without it.
    """
    asked: dict[int, int] = {}
    entrants = set(range(len(progress)))
    excluded = None
    while excluded != set():
        counts, excluded = _run(progress, entrants, trials_each)
        asked |= counts
        entrants -= excluded
    return [asked[number] for number in range(len(progress))]


def _run(
    progress: Sequence[Progress], entrants: Collection[int], trials_each: int
) -> tuple[dict[int, int], set[int]]:
    """The trials that each entrant is asked for, and those that are then to be excluded."""
    asked: dict[int, int] = {}
    racing = sorted(entrants)
    for finished in range(trials_each):
        if finished >= 2:
            scores = tuple(progress[number].scores[:finished] for number in racing)
            staying = _survivors(scores, trials_each - 2)
            racing = [number for place, number in enumerate(racing) if place in staying]
        asked |= dict.fromkeys(racing, finished + 1)
        behind = {number for number in racing if len(progress[number].scores) == finished}
        if behind:
            is_waiting = any(progress[number].broken_off is None for number in behind)
            return asked, set() if is_waiting else behind
    return asked, set()


# A plan is made after each record, and most often nothing has changed in most of the races.
@lru_cache(maxsize=4096)
def _survivors(scores: tuple[tuple[float, ...], ...], looks: int) -> frozenset[int]:
    return frozenset(survivors(scores, looks=looks))
