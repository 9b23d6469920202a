"""Budgets that are spent on random accuracies of a known mean, many times over."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_ray.plan.budget import Budget, Mean
from mnist_ray.space.space import StoppingRule
from mnist_ray.stats.sequential import precision
from mnist_ray.stats.summary import summarize

COSTS = np.array([1.0, 1.0, 40.0, 40.0])
KEYS = ("a", "b", "c", "d")
GOAL = StoppingRule(at_least=5, at_most=1000, within="1640 s")
"""Seconds for 20 trials of each cell."""
EQUAL = 20

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]


def bell(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return chance.standard_normal(shape)


def skewed(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Gumbel's distribution with its tail to the left, of mean 0 and standard deviation 1."""
    return -(chance.gumbel(size=shape) - np.euler_gamma) * np.sqrt(6) / np.pi


def with_bad_trials(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """3 of 100 trials are 4 standard deviations worse; of mean 0."""
    return chance.standard_normal(shape) - 4.0 * (chance.random(shape) < 0.03) + 0.12


@dataclass(frozen=True, eq=False)
class Spent:
    """What budgets bought.

    Attributes:
        covered: whether each reported interval holds the mean, bool [draws, cells].
        covered_equal: the same for Student's interval of equal numbers of trials.
        ratios: the widest half-width divided by that of equal numbers, float64 [draws].
    """

    covered: NDArray[np.bool_]
    covered_equal: NDArray[np.bool_]
    ratios: NDArray[np.float64]


def spend(draw: Draw, *, draws: int, seed: int, spread: float) -> Spent:
    """`spread`: of the logarithms of the cells' standard deviations."""
    chance = np.random.default_rng(seed)
    covered, covered_equal, ratios = [], [], []
    for _ in range(draws):
        stds = np.exp(spread * chance.standard_normal(len(COSTS)))
        values = draw(chance, (len(COSTS), 700)) * stds[:, None]
        numbers = _numbers(values)
        known = [
            precision(v[:n], goal=None, at_most=1000) for v, n in zip(values, numbers, strict=True)
        ]
        means = [float(v[:n].mean()) for v, n in zip(values, numbers, strict=True)]
        widths = [((k.ci95_high or 0.0) - (k.ci95_low or 0.0)) / 2 for k in known]
        equal = [summarize(v[:EQUAL]) for v in values]
        ends = [(s.mean or 0.0, ((s.ci95_high or 0.0) - (s.ci95_low or 0.0)) / 2) for s in equal]
        covered.append([abs(m) <= w for m, w in zip(means, widths, strict=True)])
        covered_equal.append([abs(mean) <= width for mean, width in ends])
        ratios.append(max(widths) / max(width for _, width in ends))
    return Spent(np.array(covered), np.array(covered_equal), np.array(ratios))


def _numbers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many trials each cell gets, where one runs at a time."""
    numbers = np.full(len(COSTS), GOAL.at_least)
    seconds = dict(zip(KEYS, COSTS.tolist(), strict=True))
    while True:
        means = tuple(Mean((k,), values[k, : numbers[k]].tolist()) for k in range(len(COSTS)))
        budget = Budget(GOAL, KEYS, float(numbers @ COSTS), numbers, np.zeros_like(numbers), means)
        wanted = budget.trials(seconds) > numbers
        if not wanted.any():
            return numbers
        numbers[np.where(wanted, budget.present_half_widths, -1.0).argmax()] += 1
