"""How many trials each cell gets from a budget of working time.

The budget is spent such that the widest interval becomes as narrow as it can: each next trial goes
where the interval is widest. Half-widths shrink as s · q(n) / √n, so this equalises them, and a
cell gets trials in proportion to the variance of its accuracies. Neyman allocation (Journal of the
Royal Statistical Society 97, 1934) minimises the variance of a sum instead; for that it would take
trials from an expensive cell whose interval is the widest already.

What is spent and how much the accuracies vary are read from the records, so that every sweep that
sees the same records allocates alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mnist_ray.plan.stopping import Demand
from mnist_ray.space.space import StoppingRule
from mnist_ray.stats.sequential import half_width_factors, shrunk_std

_HALVINGS = 50
"""Of the interval that the common half-width is sought in."""
_LEAST_STD = 1e-9


@dataclass(frozen=True)
class Mean:
    """A mean that the budget is to make precise.

    Attributes:
        cells: numbers of the cells that a further value takes a trial of: one cell, or the two
            whose paired difference it is.
        values: accuracies, or paired differences, of the recorded trials.
        unit: what its half-width is measured in: the goal, or 1 where there is none.
        demand: what the stopping rule asks for; None where there is no goal.
    """

    cells: tuple[int, ...]
    values: Sequence[float]
    unit: float = 1.0
    demand: Demand | None = None

    @property
    def is_settled(self) -> bool:
        """Whether more trials would not change it: precise enough, or all trials failed."""
        return self.demand is not None and not self.demand.is_open


@dataclass(frozen=True, eq=False)
class Budget:
    """What is to be allocated, and what is known of it.

    Attributes:
        goal: the bounds on the number of trials, and the seconds.
        cell_keys: of the cells, in their order. Seconds of their trials are given by these keys.
        spent: seconds of work that are recorded.
        begun: of each cell, how many trials from index 0 on are run in any case, int64 [cells].
        unrecorded: of each cell, how many of these have no record yet, int64 [cells].
        means: what is to become precise.
    """

    goal: StoppingRule
    cell_keys: tuple[str, ...]
    spent: float
    begun: NDArray[np.int64]
    unrecorded: NDArray[np.int64]
    means: tuple[Mean, ...]

    @property
    def seconds(self) -> float:
        """All that may be spent; 0 where the goal names no budget."""
        return self.goal.within_seconds or 0.0

    def least_seconds(self, seconds: Mapping[str, float]) -> float:
        """What is spent, and what the trials that run in any case still take."""
        return self.spent + float(self.unrecorded @ self._of_cells(seconds))

    @property
    def is_spread_known(self) -> bool:
        """Whether the recorded trials tell how much the values of every mean vary."""
        return bool(np.isfinite(self._stds).all())

    @property
    def present_half_widths(self) -> NDArray[np.float64]:
        """Of each mean with what is recorded, in accuracy, float64 [means].

        ∞ below two trials, NaN where nothing is known of the spread.
        """
        recorded = [len(mean.values) for mean in self.means]
        factors = half_width_factors(max([2, *recorded]))
        return np.asarray(np.maximum(self._stds, _LEAST_STD) * factors[recorded])

    def half_widths(self, trials: NDArray[np.int64]) -> dict[tuple[int, ...], float]:
        """Of each mean after so many `trials` of each cell, by the numbers of its cells.

        What a settled mean is reported with depends on where the rule stopped, not on the budget:
        it has none here, nor has one of which the spread is not known.
        """
        factors = half_width_factors(int(trials.max(initial=2)))
        return {
            mean.cells: float(std * factors[trials[list(mean.cells)].min()])
            for mean, std in zip(self.means, self._stds, strict=True)
            if not (mean.is_settled or np.isnan(std))
        }

    def trials(self, seconds: Mapping[str, float]) -> NDArray[np.int64]:
        """Of each cell at the smallest common half-width that can be paid for, int64 [cells].

        At least those that are run in any case. Where no cell has two trials yet, all are taken to
        vary alike.
        """
        means = [mean for mean in self.means if not mean.is_settled]
        if not means:
            return self.begun
        costs, remaining = self._of_cells(seconds), self.seconds - self.least_seconds(seconds)
        most = self._most(remaining, costs)
        factors, widths = half_width_factors(most), self._widths()
        # A goal is 1 in its own unit. Beyond it nothing is bought.
        narrowest = 1.0 if means[0].demand else 0.0

        parts = [(cell, place) for place, mean in enumerate(means) for cell in mean.cells]
        cells, places = np.array(parts).T
        one_more = np.array([self.begun[list(mean.cells)].min() + 1 for mean in means])

        def trials_for(level: float) -> NDArray[np.int64]:
            needed = np.searchsorted(-factors, -level / widths)
            if level == narrowest:  # The shrunk spread may call a mean precise that is not.
                needed = np.maximum(needed, one_more)
            trials = self.begun.copy()
            np.maximum.at(trials, cells, np.minimum(needed, most)[places])
            return trials

        def price(trials: NDArray[np.int64]) -> float:
            return float((trials - self.begun) @ costs)

        if price(all_wanted := trials_for(narrowest)) <= remaining:
            return all_wanted
        widest = max(float(widths.max()) * factors[2], narrowest)
        level = _lowest(lambda each: price(trials_for(each)) <= remaining, narrowest, widest)
        trials = trials_for(level)
        return _with_single_steps(trials, means, costs, most, left=remaining - price(trials))

    def _widths(self) -> NDArray[np.float64]:
        """Standard deviations of the means that are not settled, each in its unit."""
        stds = self._stds if self.is_spread_known else np.ones(len(self.means))
        # Where all accuracies are equal, the budget is spent on equal numbers.
        known = zip(self.means, np.maximum(stds, _LEAST_STD), strict=True)
        return np.array([std / mean.unit for mean, std in known if not mean.is_settled])

    def _most(self, remaining: float, costs: NDArray[np.float64]) -> int:
        """An upper bound: what a cell would get if all that is left were spent on it."""
        affordable = max(remaining, 0.0) / max(float(costs.min()), 1e-6)
        return int(min(self.goal.at_most, self.begun.max() + affordable + 2))

    def _of_cells(self, seconds: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([seconds[key] for key in self.cell_keys])

    @cached_property
    def _stds(self) -> NDArray[np.float64]:
        """Of accuracies and of differences, each shrunk towards those of their own kind."""
        stds = np.full(len(self.means), np.nan)
        for size in {len(mean.cells) for mean in self.means}:
            alike = [number for number, mean in enumerate(self.means) if len(mean.cells) == size]
            stds[alike] = shrunk_std([self.means[number].values for number in alike])
        return stds


def _lowest(is_paid: Callable[[float], bool], low: float, high: float) -> float:
    """The lowest half-width that can be paid for, by halving: `low` cannot, `high` can."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_paid(middle) else (middle, high)
    return high


def _with_single_steps(
    trials: NDArray[np.int64],
    means: Sequence[Mean],
    seconds: NDArray[np.float64],
    most: int,
    *,
    left: float,
) -> NDArray[np.int64]:
    """One trial more for as many means as can be paid for, the cheapest step first.

    What is left is too little to narrow all of the widest by one trial. They are equally wide but
    for one trial, so the cheapest step narrows them most for each second.
    """

    trials = trials.copy()

    def behind(mean: Mean) -> list[int]:
        fewest = min(trials[cell] for cell in mean.cells)
        return [cell for cell in mean.cells if trials[cell] == fewest < most]

    def price(mean: Mean) -> float:
        return float(seconds[behind(mean)].sum())

    for mean in sorted(means, key=price):
        if (due := price(mean)) <= left:
            trials[behind(mean)] += 1
            left -= due
    return trials
