"""How many trials each cell gets of a budget of working time.

The budget is spent such that the widest interval becomes as narrow as it can: each next trial goes
where the interval is widest. Half-widths shrink as s · q(n) / √n, so this equalises them, and a
cell gets trials in proportion to the variance of its accuracies. Neyman allocation (Journal of the
Royal Statistical Society 97, 1934) minimises the variance of a sum instead; for that it would take
trials from an expensive cell whose interval is the widest already.

What is spent and how much the accuracies vary are read from the records, so that every sweep that
sees the same records allocates alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
class Allocation:
    """What a budget pays for.

    Attributes:
        trials: of each cell, int64 [cells]; at least those that are recorded.
        half_widths: of each mean after so many trials, in accuracy, by its cells; of none where
            nothing is known of its spread, and where more trials would not change it.
        present: of each mean with what is recorded now, float64 [means]; ∞ below two trials, NaN
            where nothing is known of its spread.
    """

    trials: NDArray[np.int64]
    half_widths: Mapping[tuple[int, ...], float]
    present: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Budget:
    """What is to be allocated, and what is known of it.

    Attributes:
        goal: the bounds on the number of trials, and the seconds.
        cell_keys: of the cells, in their order.
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
        return self.spent + float(self.unrecorded @ self._seconds_of_cells(seconds))

    def allocate(
        self, seconds: Mapping[str, float], *, assume_equal_spread: bool = False
    ) -> Allocation:
        """What the rest of the budget buys.

        Args:
            seconds: of a trial of each cell, by the key of the cell.
            assume_equal_spread: what to do where no cell has two trials: allocate as if all varied
                equally; or leave it at the trials that are run in any case.
        """
        stds = self._stds()
        is_known = bool(np.isfinite(stds).all())
        trials = self.begun
        if is_known or assume_equal_spread:
            trials = self._filled(stds if is_known else np.ones_like(stds), seconds)
        factors = half_width_factors(int(trials.max(initial=2)))
        # What a settled mean is reported with depends on where the rule stopped, not on the budget.
        half_widths = {
            mean.cells: float(std * factors[trials[list(mean.cells)].min()])
            for mean, std in zip(self.means, stds, strict=True)
            if not (mean.is_settled or np.isnan(std))
        }
        recorded = [len(mean.values) for mean in self.means]
        present = np.maximum(stds, _LEAST_STD) * factors[recorded]
        return Allocation(trials, half_widths, present)

    def _seconds_of_cells(self, seconds: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([seconds[key] for key in self.cell_keys])

    def _stds(self) -> NDArray[np.float64]:
        """Of accuracies and of differences, each shrunk towards those of their own kind."""
        stds = np.full(len(self.means), np.nan)
        for size in {len(mean.cells) for mean in self.means}:
            alike = [number for number, mean in enumerate(self.means) if len(mean.cells) == size]
            stds[alike] = shrunk_std([self.means[number].values for number in alike])
        return stds

    def _filled(self, stds: NDArray[np.float64], each: Mapping[str, float]) -> NDArray[np.int64]:
        """Trials of each cell at the smallest common half-width that can be paid for."""
        open_means = np.array([not mean.is_settled for mean in self.means], dtype=bool)
        means = [mean for mean in self.means if not mean.is_settled]
        if not means:
            return self.begun
        seconds = self._seconds_of_cells(each)
        remaining = self.seconds - self.least_seconds(each)
        # No cell can get more trials than if it got all that is left.
        affordable = max(remaining, 0.0) / max(float(seconds.min()), 1e-6)
        most = int(min(self.goal.at_most, self.begun.max() + affordable + 2))
        # Where all accuracies are equal, the budget is spent on equal numbers.
        widths = np.maximum(stds[open_means], _LEAST_STD) / [mean.unit for mean in means]
        factors = half_width_factors(most)
        # A goal is 1 in its own unit. Beyond it nothing is bought.
        narrowest = 1.0 if means[0].demand else 0.0

        def trials_for(level: float) -> NDArray[np.int64]:
            needed = np.searchsorted(-factors, -level / widths)
            if level == narrowest:  # The shrunk spread may call a mean precise that is not.
                begun = [self.begun[list(mean.cells)].min() for mean in means]
                needed = np.maximum(needed, np.add(begun, 1))
            trials = self.begun.copy()
            for mean, count in zip(means, np.minimum(needed, most), strict=True):
                cells = list(mean.cells)
                trials[cells] = np.maximum(trials[cells], count)
            return trials

        def price(trials: NDArray[np.int64]) -> float:
            return float((trials - self.begun) @ seconds)

        if price(all_wanted := trials_for(narrowest)) <= remaining:
            return all_wanted
        low, high = narrowest, max(float(widths.max()) * factors[2], narrowest)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_paid = price(trials_for(middle)) <= remaining
            low, high = (low, middle) if is_paid else (middle, high)
        trials = trials_for(high)
        return _with_single_steps(trials, means, seconds, most, left=remaining - price(trials))


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

    def step(mean: Mean) -> NDArray[np.int64]:
        cells = list(mean.cells)
        target = min(int(trials[cells].min()) + 1, most)
        raised = trials.copy()
        raised[cells] = np.maximum(trials[cells], target)
        return raised

    for mean in sorted(means, key=lambda mean: float((step(mean) - trials) @ seconds)):
        raised = step(mean)
        price = float((raised - trials) @ seconds)
        if price <= left:
            trials, left = raised, left - price
    return trials
