"""Trained on x tested on: how models do on the test images of every variant asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnist_ray.analysis.numbers import number
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.plan.test_sets import TestSets
from mnist_ray.view.cell_views import CellView, Row, grouped

_DEEPEST = 55
"""Percent of the series' colour behind the largest loss."""


@dataclass(frozen=True)
class Entry:
    """Models of a cell on one test set."""

    mean: str
    half_width: str
    """Of the mean's 95 % interval; empty where there is none."""
    is_own: bool
    """Whether it is the test set of their own variant."""
    depth: int
    """Of the colour, in percent: the larger the loss, the deeper."""


@dataclass(frozen=True)
class Matrix:
    """Of one architecture: a row for each cell, a column for each test set."""

    name: str
    series: int
    """The number of the architecture's colour."""
    tests: Sequence[str]
    rows: Sequence[tuple[str, int, Sequence[Entry | None]]]
    """What models were trained on, their number, and the entries in the order of `tests`."""


def test_matrices(sweeps: Sequence[SweepResults], views: Sequence[CellView]) -> Iterator[Matrix]:
    """A matrix for each sweep and architecture; none where no variants are asked for."""
    tests = {results.name: results.tests for results in sweeps}
    finished = [view for view in views if view.results.finished]
    for group in grouped(finished, _family).values():
        sweep = group[0].results.sweep
        if tests[sweep].variants:
            name = f"{group[0].cell.architecture}{f', {sweep}' if len(sweeps) > 1 else ''}"
            yield _matrix(name, group, tests[sweep])


def _family(view: CellView) -> tuple[str, str]:
    return view.results.sweep, view.cell.architecture


def _matrix(name: str, views: Sequence[CellView], tests: TestSets) -> Matrix:
    names = [test.name for test in tests.variants]
    own = {test.name: test.presentation for test in tests.variants}
    losses = [row["mean_drop"] or 0.0 for view in views for row in view.on_variants.values()]
    deepest = max([*losses, 1e-9])
    rows = []
    for view in views:
        entries = [
            _entry(view.on_variants.get(test), deepest, is_own=own[test] == view.cell.presentation)
            for test in names
        ]
        rows.append((view.distinction, len(view.results.finished), entries))
    return Matrix(name, views[0].series, names, rows)


def _entry(row: Row | None, deepest: float, *, is_own: bool) -> Entry | None:
    if row is None or row["mean_test_accuracy"] is None:
        return None
    low, high = row["ci95_low"], row["ci95_high"]
    half_width = "" if low is None else number((high - low) / 2, 3)
    depth = round(_DEEPEST * max(0.0, row["mean_drop"]) / deepest)
    return Entry(number(row["mean_test_accuracy"], 3), half_width, is_own, depth)
