"""The state of a hyperparameter search, from its space and the records alone.

A configuration's score is the mean validation accuracy over its trials; test accuracy is never
looked at. When the search has ended, its winner and the default are trained afresh, with seeds that
the search never used (the trials after its own): only those count as what the winner can do, since
the highest of many noisy scores is too high.
"""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.sampler import (
    OptunaSampler,
    RandomSampler,
    Sampler,
    Scores,
    Values,
)
from mnist_ray.plan.trial import Trial
from mnist_ray.space.distributions import Distribution
from mnist_ray.space.space import Cell, Search, Space
from mnist_ray.stats.racing import race

Pair = tuple[str, str]
"""Names of an architecture and a variant."""


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

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """Of the search itself, those of equal index next to each other."""
        trials = [trial for each in self.configurations for trial in each.trials]
        return tuple(sorted(trials, key=lambda trial: trial.index))

    @property
    def is_without_winner(self) -> bool:
        """Whether it has ended with no configuration of which all trials finished."""
        return self.is_ended and self.winner is None


class Searcher:
    """Works out the state of each search of a space, again and again as records come in.

    What it has been asked before it remembers, so that a state takes no longer the more there is.
    """

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
        self._spaces = space.search_spaces()
        self._proposals: dict[Pair, Sampler] = {}
        self._tried: dict[tuple[Pair, str], tuple[Trial, ...]] = {}
        self._defaults: dict[Pair, Cell] = {}

    def states(self, records: Mapping[str, Record]) -> list[SearchState]:
        """The search of each architecture and variant that is searched, as `records` tell it.

        Raises:
            InputError: it is Optuna's to propose, and Optuna is not installed.
        """
        return [self._state(pair, records) for pair in self._spaces]

    def _state(self, pair: Pair, records: Mapping[str, Record]) -> SearchState:
        configurations: list[Configuration] = []
        told: list[Scores] = []
        while (left := self._search.configurations - len(configurations)) > 0:
            proposed = self._proposals_of(pair).next_batch(told)[:left]
            batch = self._run_batch(pair, proposed, len(configurations), records)
            configurations += batch
            if any(each.stage is Stage.RUNNING for each in batch):
                break
            told.append(tuple(each.mean if _counts(each.stage) else None for each in batch))
        is_ended = len(configurations) == self._search.configurations and not any(
            each.stage is Stage.RUNNING for each in configurations
        )
        winner = _best(configurations) if is_ended else None
        default = self._default(pair)
        return SearchState(
            architecture=pair[0],
            variant=pair[1],
            configurations=tuple(configurations),
            winner=winner,
            default=default,
            confirmation=self._confirmation(winner, default) if winner else (),
            is_ended=is_ended,
        )

    def _proposals_of(self, pair: Pair) -> Sampler:
        if pair not in self._proposals:
            self._proposals[pair] = self._new_proposals(pair, self._spaces[pair])
        return self._proposals[pair]

    def _new_proposals(self, pair: Pair, distributions: Mapping[str, Distribution]) -> Sampler:
        place = digest({"architecture": pair[0], "variant": pair[1]})
        seed = self._space.seed
        if self._search.algorithm == "optuna":
            return OptunaSampler(distributions, seed=seed, place=place)
        return RandomSampler(
            distributions, seed=seed, place=place, configurations=self._search.configurations
        )

    def _run_batch(
        self, pair: Pair, proposed: Sequence[Values], first: int, records: Mapping[str, Record]
    ) -> list[Configuration]:
        trials = [self._trials_of(pair, values) for values in proposed]
        known = [self._known(each, records) for each in trials]
        if self._space.race:
            asked = _raced(known, self._search.trials_each)
        else:
            asked = [_asked(each, self._search.trials_each) for each in known]
        return [
            Configuration(
                number,
                own[0].cell,
                own[:count],
                told.scores[:count],
                _stage(told, count, self._search.trials_each),
            )
            for number, (own, told, count) in enumerate(
                zip(trials, known, asked, strict=True), start=first
            )
        ]

    def _trials_of(self, pair: Pair, values: Values) -> tuple[Trial, ...]:
        """The trials of a configuration, made once: their keys are hashes."""
        place = pair, json.dumps(values)
        if place not in self._tried:
            cell = self._space.bind(*pair, values, self._image_size)
            self._tried[place] = self._trials(cell, range(self._search.trials_each))
        return self._tried[place]

    def _known(self, trials: Sequence[Trial], records: Mapping[str, Record]) -> "_Known":
        scores: list[float] = []
        for trial in trials:
            record = records.get(trial.key)
            if record is None or not self._settles(record):
                return _Known(tuple(scores))
            if record.status is not Status.FINISHED or record.validation_accuracy is None:
                return _Known(tuple(scores), spoilt=record.status)
            scores.append(record.validation_accuracy)
        return _Known(tuple(scores))

    def _settles(self, record: Record) -> bool:
        """A trial that was cut short runs again as a whole where trials are not cut short."""
        return record.status is not Status.CUT_SHORT or self._space.early_stopping is not None

    def _trials(self, cell: Cell, indices: range) -> tuple[Trial, ...]:
        source = self._sources.get(cell.builder)
        seed = self._space.seed
        return tuple(Trial(cell, index, seed, self._fingerprint, source) for index in indices)

    def _default(self, pair: Pair) -> Cell:
        if pair not in self._defaults:
            cell = self._space.default_configuration(*pair, self._image_size)
            self._defaults[pair] = cell
        return self._defaults[pair]

    def _confirmation(self, winner: Configuration, default: Cell) -> tuple[Trial, ...]:
        first = self._search.trials_each
        fresh = range(first, first + (self._space.confirm or 0))
        trials = [*self._trials(winner.cell, fresh), *self._trials(default, fresh)]
        # The default may itself have won.
        return tuple({trial.key: trial for trial in trials}.values())


# One configuration, and the race of a batch


@dataclass(frozen=True)
class _Known:
    """What is recorded of a configuration's trials, from index 0 on, up to the first gap.

    Attributes:
        scores: validation accuracies of those that finished, before any that did not.
        spoilt: how the next one ended that did not finish; None where it is not recorded.
    """

    scores: tuple[float, ...]
    spoilt: Status | None = None


def _asked(known: _Known, trials_each: int) -> int:
    """All trials; none after one that did not finish, as there is no mean of all any more."""
    return len(known.scores) + 1 if known.spoilt else trials_each


def _stage(known: _Known, asked: int, trials_each: int) -> Stage:
    if len(known.scores) < asked:
        if known.spoilt is None:
            return Stage.RUNNING
        return Stage.CUT_SHORT if known.spoilt is Status.CUT_SHORT else Stage.FAILED
    return Stage.COMPLETE if asked == trials_each else Stage.RACED_OUT


def _counts(stage: Stage) -> bool:
    return stage in (Stage.COMPLETE, Stage.RACED_OUT)


def _best(configurations: Sequence[Configuration]) -> Configuration | None:
    complete = [each for each in configurations if each.stage is Stage.COMPLETE]
    return max(complete, key=lambda each: each.mean or 0.0, default=None)


def _raced(known: Sequence[_Known], trials_each: int) -> list[int]:
    """How many trials each configuration of a batch is asked for, so far.

    One of which a trial did not finish can't win: the race is held again as if it had never been
    in it, so that what was only behind that one comes back.
    """
    asked = [0] * len(known)
    inside = list(range(len(known)))
    while inside:
        lap = _laps([known[number] for number in inside], trials_each)
        for number, count in zip(inside, lap.asked, strict=True):
            asked[number] = count
        if not lap.spoilt:
            break
        inside = [number for place, number in enumerate(inside) if place not in lap.spoilt]
    return asked


@dataclass(frozen=True)
class _Lap:
    """How far a race has come: trials asked for, and who could not finish the last of them."""

    asked: list[int]
    spoilt: set[int]


def _laps(known: Sequence[_Known], trials_each: int) -> _Lap:
    """One trial index after the other, each when all who still run have done the one before."""
    asked = [0] * len(known)
    running: AbstractSet[int] = set(range(len(known)))
    for index in range(trials_each):
        for number in running:
            asked[number] = index + 1
        behind = {number for number in running if len(known[number].scores) == index}
        if any(known[number].spoilt is None for number in behind):
            break
        if behind:
            return _Lap(asked, behind)
        running = _survivors(tuple(each.scores[: index + 1] for each in known), trials_each)
    return _Lap(asked, set())


# A plan asks again after each record, where most often nothing has changed.
@lru_cache(maxsize=1024)
def _survivors(scores: tuple[tuple[float, ...], ...], trials_each: int) -> frozenset[int]:
    return frozenset(race(scores, trials_each=trials_each))
