"""Which configurations a search tries, from what is known of the earlier ones.

The same seed and the same scores give the same configurations, however many workers there are:
an algorithm that learns is asked for a batch of fixed size, and told of a batch as a whole, in the
order of its configurations.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.random import SeedSequence
from pydantic import JsonValue

from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import digest
from mnist_ray.space.distributions import Distribution

BATCH_SIZE = 4
"""Configurations that Optuna is asked for at once."""

Values = dict[str, JsonValue]
"""Of the searched hyperparameters, by column."""

Scores = tuple[float | None, ...]
"""Of a batch of configurations, higher is better; None for one that has no mean."""


class Sampler(Protocol):
    """A search algorithm."""

    def next_batch(self, told: Sequence[Scores]) -> Sequence[Values]:
        """The configurations to try next.

        Args:
            told: the scores of each earlier batch, in order.
        """


class RandomSampler:
    """Configurations drawn at random, all at once: a `Sampler`."""

    def __init__(
        self,
        distributions: Mapping[str, Distribution],
        *,
        seed: int,
        place: str,
        configurations: int,
    ) -> None:
        """Draw them.

        Args:
            distributions: what to draw from, by column.
            seed: of the sweep.
            place: what is searched, so that two searches of a space draw apart.
            configurations: how many; more of them never change earlier ones.
        """
        self._drawn = [
            draw_at_random(distributions, seed=seed, place=place, number=number)
            for number in range(configurations)
        ]

    def next_batch(self, told: Sequence[Scores]) -> Sequence[Values]:
        """All of them; none after those."""
        return [] if told else self._drawn


class OptunaSampler:
    """Configurations by Optuna's TPE, `BATCH_SIZE` at once: a `Sampler`."""

    def __init__(self, distributions: Mapping[str, Distribution], *, seed: int, place: str) -> None:
        """Make ready.

        Args:
            distributions: what to draw from, by column.
            seed: of the sweep.
            place: what is searched, so that two searches of a space draw apart.

        Raises:
            InputError: Optuna is not installed.
        """
        check_optuna()
        self._distributions = distributions
        self._seed = int(digest({"seed": seed, "search": place})[:8], 16)
        self._begin()

    def next_batch(self, told: Sequence[Scores]) -> Sequence[Values]:
        """The batch after those told of; one that was told otherwise before is forgotten.

        Each batch is asked for once: asking and telling again takes longer the more there are.
        """
        if list(told[: len(self._told)]) != self._told[: len(told)]:
            self._begin()
        while len(self._batches) <= len(told):
            if self._batches:
                self._tell(told[len(self._told)])
            self._batches.append(self._ask())
        return self._batches[len(told)]

    def _begin(self) -> None:
        self._space = {
            str(number): _optuna_distribution(distribution)
            for number, distribution in enumerate(self._distributions.values())
        }
        self._study = _optuna_study(self._seed)
        self._trials: list[list[Any]] = []
        self._batches: list[list[Values]] = []
        self._told: list[Scores] = []

    def _ask(self) -> list[Values]:
        trials = [self._study.ask(fixed_distributions=self._space) for _ in range(BATCH_SIZE)]
        self._trials.append(trials)
        return [_values(self._distributions, trial.params) for trial in trials]

    def _tell(self, scores: Scores) -> None:
        from optuna.trial import TrialState

        trials = self._trials[len(self._told)]
        self._told.append(scores)
        for trial, score in zip(trials, scores, strict=False):
            state = TrialState.FAIL if score is None else TrialState.COMPLETE
            self._study.tell(trial, score, state=state)


def draw_at_random(
    distributions: Mapping[str, Distribution], *, seed: int, place: str, number: int
) -> Values:
    """Configuration `number` (from 0) of a random search; arguments as for `RandomSampler`."""
    entropy = [seed, int(digest({"search": place}), 16), number]
    generator = np.random.default_rng(SeedSequence(entropy))
    return {column: each.at(float(generator.random())) for column, each in distributions.items()}


def check_optuna() -> None:
    """See that Optuna is there.

    Raises:
        InputError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise InputError(
            "search: algorithm: optuna: Optuna is not installed. Install it with "
            "`pip install 'mnist-ray[optuna]'` (or `pip install optuna`), or take "
            "`algorithm: random`."
        )


def _optuna_study(seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(sampler=sampler, direction="maximize")


def _optuna_distribution(distribution: Distribution) -> Any:
    """Optuna's counterpart. Options go by number, since they may be lists."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution.kind, distribution.parameters:
        case "choice", options:
            return CategoricalDistribution(range(len(options)))
        case "loguniform", (low, high):
            return FloatDistribution(low, high, log=True)
        case "quniform", (low, high, q):
            return FloatDistribution(low, high, step=q)
        case "randint", (low, high):
            return IntDistribution(low, high - 1)
        case "uniform", (low, high):
            return FloatDistribution(low, high)
    raise TypeError(f"{distribution} is not sampled")


def _values(distributions: Mapping[str, Distribution], answer: Mapping[str, Any]) -> Values:
    values: Values = {}
    for number, (column, distribution) in enumerate(distributions.items()):
        given = answer[str(number)]
        is_index = distribution.has_options
        values[column] = distribution.parameters[given] if is_index else distribution.cast(given)
    return values
