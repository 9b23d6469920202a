"""Trained on x tested on: how models do on the test images of every variant asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Row
from mnist_ray.plan.test_sets import VariantTest
from mnist_ray.view.cell_views import CellView

_DEEPEST = 55
"""Percent of the series' colour behind the largest loss."""


@dataclass(frozen=True)
class Entry:
    """Models of a cell on one test set."""

    row: Row
    """Of robustness.parquet."""
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
    finished = [view for view in views if view.results.finished]
    families = grouped(finished, lambda view: (view.sweep.name, view.cell.architecture))
    for (sweep, architecture), group in families.items():
        if tests := group[0].sweep.tests.variants:
            name = f"{architecture}, {sweep}" if len(sweeps) > 1 else architecture
            yield _matrix(name, group, tests)


def _matrix(name: str, views: Sequence[CellView], tests: Sequence[VariantTest]) -> Matrix:
    losses = [row["mean_drop"] or 0.0 for view in views for row in view.on_variants.values()]
    deepest = max([*losses, 1e-9])
    rows = [
        (
            view.distinction,
            len(view.results.finished),
            [_entry(view, test, deepest) for test in tests],
        )
        for view in views
    ]
    return Matrix(name, views[0].series, [test.name for test in tests], rows)


def _entry(view: CellView, test: VariantTest, deepest: float) -> Entry | None:
    row = view.on_variants.get(test.name)
    if row is None or row["mean_test_accuracy"] is None:
        return None
    depth = round(_DEEPEST * max(0.0, row["mean_drop"]) / deepest)
    return Entry(row, is_own=test.presentation == view.cell.presentation, depth=depth)
