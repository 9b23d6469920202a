"""Samples for the tests of the statistics, and what they assert of intervals."""

from typing import Protocol

from hypothesis import settings
from hypothesis import strategies as st

SWEEPS = 20_000
"""Simulated ones, for coverage."""

# The same examples in every run, and no time limit: machines differ.
repeatable = settings(derandomize=True, deadline=None)
accuracies = st.integers(0, 1000).map(lambda correct: correct / 1000)
samples = st.lists(accuracies, min_size=2, max_size=12)


def pairs(min_size: int) -> st.SearchStrategy[list[tuple[float, float]]]:
    return st.lists(st.tuples(accuracies, accuracies), min_size=min_size, max_size=10)


class Interval(Protocol):
    @property
    def ci95_low(self) -> float | None: ...
    @property
    def ci95_high(self) -> float | None: ...


def covers(interval: Interval, truth: float) -> bool:
    return known(interval.ci95_low) <= truth <= known(interval.ci95_high)


def known(figure: float | None) -> float:
    assert figure is not None
    return figure


def or_nan(figure: float | None) -> float:
    return float("nan") if figure is None else figure
