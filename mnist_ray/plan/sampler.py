"""Which configurations a search tries, given the scores of the earlier ones.

The same seed and the same scores give the same configurations, however many workers there are. An
algorithm that learns proposes batches of a fixed size, and gets the scores of a batch as a whole,
in the order of its configurations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import SeedSequence
from pydantic import JsonValue

from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import digest
from mnist_ray.space.distributions import Distribution

BATCH_SIZE = 4
"""How many configurations Optuna proposes at a time."""

Values = dict[str, JsonValue]
"""Values of the searched hyperparameters, by column."""

Scores = tuple[float | None, ...]
"""Scores of a batch of configurations, higher is better; None for one without a mean."""


Sampler = Callable[[Sequence[Scores]], Sequence[Values]]
"""Gives the configurations to try next, from the scores of each earlier batch, in order."""


def random_configurations(
    distributions: Mapping[str, Distribution], seed: int, place: str, *, count: int
) -> list[Values]:
    """`count` configurations drawn at random; more never change earlier ones.

    `place` names what is searched, so that two searches of a space draw different values.
    """
    drawn = []
    for number in range(count):
        entropy = [seed, int(digest({"search": place}), 16), number]
        generator = np.random.default_rng(SeedSequence(entropy))
        drawn.append({c: each.at(generator.random()) for c, each in distributions.items()})
    return drawn


class OptunaSampler:
    """Optuna's TPE, `BATCH_SIZE` configurations at a time.

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, distributions: Mapping[str, Distribution], seed: int, place: str) -> None:
        check_optuna()
        self._distributions = distributions
        self._space = {
            str(number): _optuna_distribution(distribution)
            for number, distribution in enumerate(distributions.values())
        }
        self._seed = int(digest({"seed": seed, "search": place})[:8], 16)
        self._start()

    def next_batch(self, scores: Sequence[Scores]) -> Sequence[Values]:
        """The batch after those that `scores` belong to.

        The study starts again where `scores` contradict earlier ones. Otherwise each batch is asked
        for once and kept, since a study gets slower with each trial.
        """
        if list(scores[: len(self._scores)]) != self._scores[: len(scores)]:
            self._start()
        while len(self._batches) <= len(scores):
            if self._batches:
                self._learn(scores[len(self._scores)])
            self._batches.append(self._ask())
        return self._batches[len(scores)]

    def _start(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self._seed)
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._trials: list[list[Any]] = []
        self._batches: list[list[Values]] = []
        self._scores: list[Scores] = []

    def _ask(self) -> list[Values]:
        trials = [self._study.ask(fixed_distributions=self._space) for _ in range(BATCH_SIZE)]
        self._trials.append(trials)
        return [_values(self._distributions, trial.params) for trial in trials]

    def _learn(self, scores: Scores) -> None:
        from optuna.trial import TrialState

        trials = self._trials[len(self._scores)]
        self._scores.append(scores)
        for trial, score in zip(trials, scores, strict=False):
            state = TrialState.FAIL if score is None else TrialState.COMPLETE
            self._study.tell(trial, score, state=state)


def check_optuna() -> None:
    """Raises InputError where Optuna is not installed."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise InputError(
            "search: algorithm: optuna: Optuna is not installed. Install it with "
            "`pip install 'mnist-ray[optuna]'` (or `pip install optuna`), or take "
            "`algorithm: random`."
        )


def _optuna_distribution(distribution: Distribution) -> Any:
    """Optuna's counterpart. Options are given by number, since they may be lists."""
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
    return {
        column: each.parameters[answer[str(number)]]
        if each.has_options
        else each.cast(answer[str(number)])
        for number, (column, each) in enumerate(distributions.items())
    }
