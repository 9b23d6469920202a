"""How the models of each cell do on other test sets than their own."""

from collections.abc import Iterator

from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import CELL, Identity, Row, summary_columns
from mnist_ray.ledger.identity import JSON
from mnist_ray.plan.test_sets import TestSets
from mnist_ray.space.space import Cell
from mnist_ray.stats.summary import summarize


def robustness_rows(results: SweepResults, identity: Identity) -> Iterator[Row]:
    """The rows of robustness.parquet: each cell on each test set beside its own."""
    for each in results.cells:
        for name, shift, presentation in _test_sets(each.cell, results.tests):
            pairs = [
                (record.test.accuracy, evaluation.accuracy)
                for record in each.finished
                if record.test and (evaluation := record.evaluation(shift, presentation))
            ]
            drop = summarize([own - accuracy for own, accuracy in pairs])
            yield {
                **summary_columns([accuracy for _, accuracy in pairs]),
                "test_variant": name,
                "test_shift": shift,
                "trials": drop.n,
                "mean_drop": drop.mean,
                "drop_ci95_low": drop.ci95_low,
                "drop_ci95_high": drop.ci95_high,
                "device": each.device,
                CELL: each.key,
                **identity(each.cell),
            }


def _test_sets(cell: Cell, tests: TestSets) -> Iterator[tuple[str, int, JSON | None]]:
    """Variant, shift and presentation of each test set; no presentation where it is the cell's."""
    for shift in tests.shifts:
        yield cell.variant, shift, None
    for test in tests.variants:
        shift = test.presentation.shift
        if test.name != cell.variant or shift not in tests.shifts:
            yield test.name, shift, test.identity
