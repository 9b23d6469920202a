"""Which configurations a search tries, from what is known of the earlier ones.

The same seed and the same scores give the same configurations, however many workers there are:
an algorithm that learns is asked for a batch of fixed size, and told of a batch as a whole, in the
order of its configurations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import SeedSequence
from pydantic import JsonValue

from mnist_ray.distributions import (
    Choice,
    Distribution,
    LogUniform,
    QUniform,
    RandInt,
    Uniform,
)
from mnist_ray.errors import InputError
from mnist_ray.identity import digest

BATCH_SIZE = 4
"""Configurations that Optuna is asked for at once."""

Values = dict[str, JsonValue]


def draw_at_random(
    distributions: Mapping[str, Distribution], *, seed: int, place: str, number: int
) -> Values:
    """Configuration `number` (from 0) of a random search, by column.

    Args:
        distributions: what to draw from, by column.
        seed: of the sweep.
        place: what is searched, so that two searches of a space draw apart.
        number: of the configuration; more of them never change earlier ones.
    """
    entropy = [seed, int(digest({"search": place}), 16), number]
    generator = np.random.default_rng(SeedSequence(entropy))
    return {column: each.at(float(generator.random())) for column, each in distributions.items()}


def ask_optuna(
    distributions: Mapping[str, Distribution],
    *,
    seed: int,
    place: str,
    told: Sequence[Sequence[float | None]],
) -> list[Values]:
    """The configurations of the batch after those told of, by Optuna's TPE through Ray Tune.

    Args:
        distributions: what to draw from, by column.
        seed: of the sweep.
        place: what is searched.
        told: of each earlier batch the scores of its configurations, higher is better; None for
            one that has none.

    Raises:
        InputError: Optuna is not installed.
    """
    searcher = _optuna_searcher(distributions, int(digest({"seed": seed, "search": place})[:8], 16))
    for batch, scores in enumerate(told):
        names = [f"{batch}-{number}" for number in range(len(scores))]
        for name in names:
            searcher.suggest(name)
        for name, score in zip(names, scores, strict=True):
            result = None if score is None else {"score": score}
            searcher.on_trial_complete(name, result=result, error=score is None)
    asked = [searcher.suggest(f"{len(told)}-{number}") for number in range(BATCH_SIZE)]
    return [_values(distributions, answer) for answer in asked]


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


def _optuna_searcher(distributions: Mapping[str, Distribution], seed: int) -> Any:
    check_optuna()
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # By number, not by name: a name of the user's may mean something to Ray Tune ("a/b").
    domains = [_domain(each) for each in distributions.values()]
    return OptunaSearch(
        space={str(number): domain for number, domain in enumerate(domains)},
        metric="score",
        mode="max",
        seed=seed,
    )


def _domain(distribution: Distribution) -> Any:
    """Ray Tune's distribution of the same name; of options by number, as they may be lists."""
    from ray import tune

    match distribution:
        case Choice(options):
            return tune.choice(range(len(options)))
        case LogUniform(low, high):
            return tune.loguniform(low, high)
        case QUniform(low, high, q):
            return tune.quniform(low, high, q)
        case RandInt(low, high):
            return tune.randint(low, high)
        case Uniform(low, high):
            return tune.uniform(low, high)
    raise TypeError(f"{distribution} is not sampled")


def _values(distributions: Mapping[str, Distribution], answer: Mapping[str, Any]) -> Values:
    values: Values = {}
    for number, (column, distribution) in enumerate(distributions.items()):
        given = answer[str(number)]
        if isinstance(distribution, Choice):
            values[column] = distribution.options[given]
        else:
            values[column] = distribution.cast(given)
    return values
