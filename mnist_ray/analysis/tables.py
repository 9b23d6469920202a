"""From records to tables: pure functions. What their columns mean stands in `columns`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mnist_ray.analysis.agreement import predictions_of, variance_of_predictions
from mnist_ray.analysis.comparisons import Compared, compare_across, compare_cells
from mnist_ray.analysis.schema import as_type, hyperparameter_types, schema
from mnist_ray.analysis.sweep_results import SweepResults, search_key
from mnist_ray.ledger.ledger import TestSet
from mnist_ray.ledger.record import Record, RunEnvironment, Status
from mnist_ray.plan.search import Configuration, SearchState
from mnist_ray.space.columns import SWEEP, TABLES, Only
from mnist_ray.space.space import Cell, Space, StoppingRule
from mnist_ray.stats.sequential import precision
from mnist_ray.stats.skewness import FEWEST_WITH_A_SHAPE, looks_left_skewed
from mnist_ray.stats.summary import summarize

Row = dict[str, Any]

CELL, CELL_A, CELL_B, SEARCH = "cell key", "cell key a", "cell key b", "search key"
"""What a row is of; no hyperparameter, which is a name in Python, can have these names."""
_REFERENCES = (CELL, CELL_A, CELL_B, SEARCH)


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a report, in the order of the space's cells."""

    report: pa.Table
    """One row a cell, and device where they differ."""
    trials: pa.Table
    """One row a recorded trial that the space asks for."""
    epochs: pa.Table
    """One row a trial and epoch."""
    comparisons: pa.Table
    """One row a pair of cells that differ in one thing."""
    robustness: pa.Table
    """One row a cell and test shift."""
    search: pa.Table
    """One row a configuration of a search, and one for the default where it was none."""

    references: Mapping[str, Sequence[Row]]
    """For each row of report, comparisons, robustness and search, what it is of: see `rows`."""

    def by_name(self) -> dict[str, pa.Table]:
        """The tables by the names of their files."""
        return {name: getattr(self, name) for name in TABLES}

    def rows(self, name: str) -> list[Row]:
        """The rows of the table `name` as plain data, each with what it is of.

        `CELL` gives the `CellResults.key` in a row of report and robustness, `CELL_A` and `CELL_B`
        give those in a row of comparisons, `SEARCH` the `search_key` in a row of search. They are
        in no file.
        """
        plain = getattr(self, name).to_pylist()
        return [row | of for row, of in zip(plain, self.references[name], strict=True)]


def tabulate(sweeps: Sequence[SweepResults]) -> Tables:
    """The tables of one sweep, or of several below each other, with the column `sweep` first.

    Without test images, or predictions, the figures that need them are null.
    """
    types = hyperparameter_types(cell for results in sweeps for cell in _cells(results))
    given = set(_given(sweeps))
    references: dict[str, list[Row]] = {}

    def table(
        name: str, rows_of: Callable[[SweepResults], Iterable[Row]], more: Iterable[Row] = ()
    ) -> pa.Table:
        rows = [{SWEEP.name: results.name, **row} for results in sweeps for row in rows_of(results)]
        rows += more
        references[name] = [{key: row[key] for key in _REFERENCES if key in row} for row in rows]
        return pa.Table.from_pylist(rows, schema=schema(name, types, given=given))

    def identity(cell: Cell, suffix: str = "") -> Row:
        """The columns that say which cell a row is of."""
        columns = cell.columns()
        hyperparameters = {
            name + suffix: as_type(columns.get(name), type_) for name, type_ in types.items()
        }
        names = {f"architecture{suffix}": cell.architecture, f"variant{suffix}": cell.variant}
        return names | hyperparameters

    return Tables(
        report=table("report", lambda results: _report_rows(results, identity)),
        trials=table("trials", lambda results: _trial_rows(results, identity)),
        epochs=table("epochs", lambda results: _epoch_rows(results, identity)),
        comparisons=table(
            "comparisons",
            lambda results: _comparison_rows(compare_cells(results.cells, results.space), identity),
            more=_comparison_rows(compare_across(sweeps), identity),
        ),
        robustness=table("robustness", lambda results: _robustness_rows(results, identity)),
        search=table("search", lambda results: _search_rows(results, identity)),
        references=references,
    )


_Identity = Callable[..., Row]


def _cells(results: SweepResults) -> Iterator[Cell]:
    """All cells that a table has a row of."""
    yield from (each.cell for each in (*results.cells, *results.searched))
    yield from (search.default for search in results.searches)


def _given(sweeps: Sequence[SweepResults]) -> Iterator[Only]:
    if len(sweeps) > 1:
        yield Only.SIDE_BY_SIDE
    if any(_goal(results.space) for results in sweeps):
        yield Only.TO_A_PRECISION
    if any(results.searches for results in sweeps):
        yield Only.WITH_A_SEARCH


def _goal(space: Space | None) -> StoppingRule | None:
    """The precision that each mean is replicated to, if any."""
    goal = space.trials if space else None
    return goal if isinstance(goal, StoppingRule) and goal.until_ci95 else None


# Rows


def _report_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for each in results.cells:
        finished, failed = each.finished, each.failed
        parameters = [r.parameters for r in (*finished, *failed) if r.parameters is not None]
        accuracies = [record.test.accuracy for record in finished if record.test]
        yield {
            CELL: each.key,
            "dataset": each.dataset,
            **identity(each.cell),
            **_summary_columns(accuracies),
            **_precision_columns(accuracies, _goal(results.space)),
            "trials": len(finished),
            "failed": len(failed),
            "mean_validation_accuracy": _mean(r.validation_accuracy for r in finished),
            "mean_test_loss": _mean(r.test.loss for r in finished if r.test),
            "mean_train_seconds": _mean(r.costs.train_seconds for r in finished),
            "parameters": parameters[0] if parameters else None,
            **_spread_columns(finished, results.test_set),
            "left_skewed": _left_skewed(finished),
            "selection": each.selection,
            "device": each.device,
        }


def _trial_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for each in (*results.cells, *results.searched):
        cell = identity(each.cell)
        for record in each.records:
            yield {
                "key": record.key,
                "dataset": each.dataset,
                **cell,
                "trial": record.trial,
                "seed": record.trial_seed,
                "status": record.status.value,
                "error": record.error,
                "traceback": record.traceback,
                "test_accuracy": record.test and record.test.accuracy,
                "test_loss": record.test and record.test.loss,
                "validation_accuracy": record.validation_accuracy,
                "train_accuracy": record.train_accuracy,
                "parameters": record.parameters,
                **asdict(record.costs),
                **_setting_columns(record.setting),
                "dataset_fingerprint": record.identity["data"],
            }


def _epoch_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for each in (*results.cells, *results.searched):
        cell = {"dataset": each.dataset, **identity(each.cell)}
        for record in each.records:
            for number, epoch in enumerate(record.epochs, start=1):
                place = {"key": record.key, "trial": record.trial, "epoch": number}
                yield {**cell, **place, **vars(epoch)}


def _comparison_rows(comparisons: Iterable[Compared], identity: _Identity) -> Iterator[Row]:
    for compared in comparisons:
        yield {
            CELL_A: compared.a.key,
            CELL_B: compared.b.key,
            "sweep_a": compared.a.sweep,
            "sweep_b": compared.b.sweep,
            "dataset": compared.a.dataset,
            "kind": compared.kind,
            **identity(compared.a.cell, "_a"),
            **identity(compared.b.cell, "_b"),
            "selection_a": compared.a.selection,
            "selection_b": compared.b.selection,
            **_comparison_columns(compared),
            "device": compared.a.device,
        }


def _robustness_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for each in results.cells:
        cell = {
            CELL: each.key,
            "dataset": each.dataset,
            **identity(each.cell),
            "device": each.device,
        }
        for shift in results.shifts:
            evaluations = [record.evaluation(shift) for record in each.finished]
            accuracies = [evaluation.accuracy for evaluation in evaluations if evaluation]
            columns = _summary_columns(accuracies)
            yield {**cell, "test_shift": shift, "trials": len(accuracies), **columns}


def _search_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for search in results.searches:
        default = search.default.name
        shown: list[tuple[Cell, Configuration | None]] = [
            (each.cell, each) for each in search.configurations
        ]
        if default not in {cell.name for cell, _ in shown}:
            shown.append((search.default, None))
        for cell, configuration in shown:
            yield {
                SEARCH: search_key(results.name, search),
                "dataset": results.dataset,
                **identity(cell),
                **_configuration_columns(configuration),
                **_confirmation_columns(results, search, cell, configuration),
                "is_winner": configuration is not None and configuration is search.winner,
                "is_default": cell.name == default,
            }


# Groups of columns


def _configuration_columns(configuration: Configuration | None) -> Row:
    if configuration is None:
        return {"search_trials": 0}
    scores = summarize(configuration.scores)
    return {
        "configuration": configuration.number,
        "stage": configuration.stage.value,
        "search_trials": scores.n,
        "search_validation_accuracy": scores.mean,
        "search_validation_std": scores.std,
    }


def _confirmation_columns(
    results: SweepResults, search: SearchState, cell: Cell, configuration: Configuration | None
) -> Row:
    """Of the fresh trials of a cell, and how far the search's score was from them."""
    fresh = [t for t in search.confirmation if t.cell.name == cell.name]
    tried = [*fresh, *(configuration.trials if configuration else ())]
    found = [record for t in fresh if (record := results.record_of(t, Status.FINISHED)) is not None]
    validation = _mean(record.validation_accuracy for record in found)
    score = configuration.mean if configuration else None
    return {
        **_summary_columns([record.test.accuracy for record in found if record.test]),
        "failed": sum(results.status_of(trial) is Status.FAILED for trial in tried),
        "confirm_trials": len(found),
        "confirm_validation_accuracy": validation,
        "optimism": None if score is None or validation is None else score - validation,
    }


def _summary_columns(accuracies: Sequence[float]) -> Row:
    summary = summarize(accuracies)
    return {
        "mean_test_accuracy": summary.mean,
        "std_test_accuracy": summary.std,
        "sem_test_accuracy": summary.sem,
        "ci95_low": summary.ci95_low,
        "ci95_high": summary.ci95_high,
        "min_test_accuracy": summary.minimum,
        "max_test_accuracy": summary.maximum,
    }


def _precision_columns(accuracies: Sequence[float], goal: StoppingRule | None) -> Row:
    """The interval of the rule that decided how many trials there are, in place of Student's."""
    if goal is None or goal.until_ci95 is None:
        return {}
    known = precision(accuracies, goal=goal.until_ci95, at_most=goal.at_most)
    low, high = known.around(summarize(accuracies).mean)
    return {
        "ci95_low": low,
        "ci95_high": high,
        "fixed_trials": known.fixed_trials,
        "plain_half_width": known.student_half_width,
        "satisfied": known.satisfied,
    }


def _spread_columns(finished: Sequence[Record], test_set: TestSet | None) -> Row:
    predictions = predictions_of(finished, test_set)
    if predictions is None or test_set is None:
        return {}
    spread = variance_of_predictions(predictions, test_set.labels)
    return {
        "independent_error_std": spread.independent_error_std,
        "excess_variance": spread.excess_variance,
        "test_set_sem": spread.test_set_sem,
    }


def _left_skewed(finished: Sequence[Record]) -> bool | None:
    graded = [record.test for record in finished if record.test]
    if len(graded) < FEWEST_WITH_A_SHAPE:
        return None
    return looks_left_skewed([test.accuracy for test in graded], step=1 / graded[0].size)


def _setting_columns(setting: RunEnvironment | None) -> Row:
    if setting is None:
        return {}
    columns = {name: value for name, value in vars(setting).items() if name != "versions"}
    return columns | vars(setting.versions)


def _comparison_columns(compared: Compared) -> Row:
    figures = compared.figures
    return {
        "trials_a": figures.n_a,
        "trials_b": figures.n_b,
        "pairs": figures.pairs,
        "mean_difference": figures.difference,
        "ci95_low": figures.ci95_low,
        "ci95_high": figures.ci95_high,
        "test": figures.test,
        "p_value": figures.p_value,
        "p_value_holm": compared.p_value_holm,
        "wilcoxon_p_value": figures.wilcoxon_p,
        "correlation": figures.correlation,
        "probability_of_superiority": figures.probability_of_superiority,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
