"""From results to tables: pure functions. What the columns mean stands in `space.columns`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa

from mnist_ray.analysis.agreement import predictions_of, variance_of_predictions
from mnist_ray.analysis.comparisons import Compared, compare_across, compare_cells
from mnist_ray.analysis.robustness import robustness_rows
from mnist_ray.analysis.spread import spread_rows
from mnist_ray.analysis.sweep_results import SweepResults, search_key
from mnist_ray.analysis.tables import (
    CELL,
    CELL_A,
    CELL_B,
    REFERENCES,
    SEARCH,
    Identity,
    Row,
    Tables,
    as_type,
    hyperparameter_types,
    schema,
    summary_columns,
)
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.test_images import TestSet
from mnist_ray.plan.search import Configuration, SearchState
from mnist_ray.plan.trial import Trial
from mnist_ray.space.columns import SWEEP, Only
from mnist_ray.space.space import Cell, Space, StoppingRule
from mnist_ray.stats.sequential import precision
from mnist_ray.stats.summary import looks_left_skewed, summarize


def tabulate(sweeps: Sequence[SweepResults]) -> Tables:
    """The tables of one sweep, or of several below each other, with the column `sweep` first.

    Without test images, or predictions, the figures that need them are null.
    """
    types = hyperparameter_types(cell for results in sweeps for cell in _cells(results))
    identity, given = partial(_identity, types), set(_given(sweeps))
    tables, references = {}, {}
    for name, rows_of in _ROWS.items():
        rows = [
            {**row, SWEEP.name: results.name, "dataset": results.dataset}
            for results in sweeps
            for row in rows_of(results, identity)
        ]
        if name == "comparisons":
            rows += _comparison_rows(compare_across(sweeps), identity)
        tables[name] = pa.Table.from_pylist(rows, schema=schema(name, types, given=given))
        references[name] = [{key: row[key] for key in REFERENCES if key in row} for row in rows]
    return Tables(**tables, references=references)


def _identity(types: Mapping[str, pa.DataType], cell: Cell, suffix: str = "") -> Row:
    """The columns that say which cell a row is of: all hyperparameters, null where it has none.

    They come last in a row, since a hyperparameter may have any name.
    """
    columns = cell.columns()
    return {
        **{name + suffix: as_type(columns.get(name), type_) for name, type_ in types.items()},
        f"architecture{suffix}": cell.architecture,
        f"variant{suffix}": cell.variant,
    }


def _cells(results: SweepResults) -> Iterator[Cell]:
    """All cells that a table has a row of."""
    yield from (each.cell for each in (*results.cells, *results.searched))
    yield from (search.default for search in results.searches)
    yield from (spread.ordinary.cell for spread in results.spreads)


def _given(sweeps: Sequence[SweepResults]) -> Iterator[Only]:
    if len(sweeps) > 1:
        yield Only.SIDE_BY_SIDE
    if any(_goal(results.space) for results in sweeps):
        yield Only.TO_A_PRECISION
    if any(results.searches for results in sweeps):
        yield Only.WITH_A_SEARCH


def _goal(space: Space | None) -> StoppingRule | None:
    """The rule that decides by the trials themselves how many there are of each mean, if any."""
    goal = space.trials if space else None
    return goal if isinstance(goal, StoppingRule) and (goal.until_ci95 or goal.within) else None


# Rows


def _report_rows(results: SweepResults, identity: Identity) -> Iterator[Row]:
    for each in results.cells:
        finished, failed = each.finished, each.failed
        parameters = [r.parameters for r in (*finished, *failed) if r.parameters is not None]
        accuracies = list(each.accuracies.values())
        yield {
            **summary_columns(accuracies),
            **_precision_columns(accuracies, _goal(results.space)),
            **_predictions_columns(finished, results.test_set),
            "trials": len(finished),
            "failed": len(failed),
            "mean_validation_accuracy": _mean(r.validation_accuracy for r in finished),
            "mean_test_loss": _mean(r.test.loss for r in finished if r.test),
            "mean_train_seconds": _mean(r.costs.train_seconds for r in finished),
            "parameters": parameters[0] if parameters else None,
            "left_skewed": _left_skewed(finished),
            "selection": each.selection,
            "device": each.device,
            CELL: each.key,
            **identity(each.cell),
        }


def _recorded(results: SweepResults, identity: Identity) -> Iterator[tuple[Record, Row]]:
    """Every recorded trial, with the columns that say of which cell it is."""
    for each, trials in groupby(results.recorded(), key=itemgetter(0)):
        columns = identity(each.cell)
        yield from ((record, columns) for _, record in trials)


def _trial_rows(results: SweepResults, identity: Identity) -> Iterator[Row]:
    for record, cell in _recorded(results, identity):
        test, setting = record.test, record.setting
        yield {
            **vars(record),
            **vars(record.costs),
            **(vars(setting) | vars(setting.versions) if setting else {}),
            "trial": record.trial,
            "source": record.source,
            "seed": record.trial_seed,
            "test_accuracy": test and test.accuracy,
            "test_loss": test and test.loss,
            "validation_accuracy": record.validation_accuracy,
            "train_accuracy": record.train_accuracy,
            "dataset_fingerprint": record.identity["data"],
            **cell,
        }


def _epoch_rows(results: SweepResults, identity: Identity) -> Iterator[Row]:
    for record, cell in _recorded(results, identity):
        trial = {"key": record.key, "trial": record.trial, "source": record.source}
        for number, epoch in enumerate(record.epochs, start=1):
            yield {**vars(epoch), **trial, "epoch": number, **cell}


def _comparison_rows(comparisons: Iterable[Compared], identity: Identity) -> Iterator[Row]:
    for compared in comparisons:
        a, b, figures = compared.a, compared.b, compared.figures
        yield {
            **vars(figures),
            "kind": compared.kind,
            "p_value_holm": compared.p_value_holm,
            "device": a.device,
            "dataset": a.dataset,
            CELL_A: a.key,
            "sweep_a": a.sweep,
            "selection_a": a.selection,
            **identity(a.cell, "_a"),
            CELL_B: b.key,
            "sweep_b": b.sweep,
            "selection_b": b.selection,
            **identity(b.cell, "_b"),
        }


def _search_rows(results: SweepResults, identity: Identity) -> Iterator[Row]:
    for search in results.searches:
        default, device = search.default.name, _fresh_device(results, search)
        tried: list[tuple[Cell, Configuration | None]] = [
            (each.cell, each) for each in search.configurations
        ]
        if default not in {cell.name for cell, _ in tried}:
            tried.append((search.default, None))
        for cell, configuration in tried:
            fresh = [trial for trial in search.confirmation if trial.cell.name == cell.name]
            yield {
                **_configuration_columns(results, configuration, fresh, device=device),
                "is_winner": configuration is not None and configuration is search.winner,
                "is_default": cell.name == default,
                SEARCH: search_key(results.name, search),
                **identity(cell),
            }


_ROWS: Mapping[str, Callable[[SweepResults, Identity], Iterable[Row]]] = {
    "report": _report_rows,
    "trials": _trial_rows,
    "epochs": _epoch_rows,
    "comparisons": lambda results, identity: _comparison_rows(compare_cells(results), identity),
    "robustness": robustness_rows,
    "search": _search_rows,
    "spread": spread_rows,
}


# Groups of columns


def _fresh_device(results: SweepResults, search: SearchState) -> str | None:
    """The device that most fresh trials of a search's winner finished on, the first of several."""
    winner = search.winner and search.winner.cell.name
    fresh = [trial for trial in search.confirmation if trial.cell.name == winner]
    counts = Counter(record.device for record in results.records_of(fresh, Status.FINISHED))
    return max(counts, key=lambda device: counts[device], default=None)


def _configuration_columns(
    results: SweepResults,
    configuration: Configuration | None,
    fresh: Sequence[Trial],
    *,
    device: str | None,
) -> Row:
    """What a cell reached in its search and by its fresh trials on one device, and the difference.

    The default need not be a configuration of the search.
    """
    tried, scores = (configuration.trials, configuration.scores) if configuration else ((), ())
    in_search = summarize(scores)
    devices = {record.device for record in results.records_of(tried, Status.FINISHED)}
    confirmed = results.records_of(fresh, Status.FINISHED)
    found = [record for record in confirmed if record.device == device]
    validation = _mean(record.validation_accuracy for record in found)
    # What another device adds is not the search's optimism.
    score = configuration.mean if configuration and devices - {None} <= {device} else None
    return {
        **summary_columns([record.test.accuracy for record in found if record.test]),
        "configuration": configuration and configuration.number,
        "stage": configuration and configuration.stage,
        "search_trials": in_search.n,
        "search_validation_accuracy": in_search.mean,
        "search_validation_std": in_search.std,
        "search_device": " and ".join(sorted(filter(None, devices))) or None,
        "failed": len(results.records_of([*fresh, *tried], Status.FAILED)),
        "confirm_trials": len(found),
        "confirm_validation_accuracy": validation,
        "optimism": None if score is None or validation is None else score - validation,
        "device": device,
    }


def _precision_columns(accuracies: Sequence[float], goal: StoppingRule | None) -> Row:
    """The interval of the rule that decided how many trials there are, in place of Student's."""
    if goal is None:
        return {}
    return vars(precision(accuracies, goal=goal.until_ci95, at_most=goal.at_most))


def _predictions_columns(finished: Sequence[Record], test_set: TestSet | None) -> Row:
    predictions = predictions_of(finished, test_set)
    if predictions is None or test_set is None:
        return {}
    return {**vars(variance_of_predictions(predictions, test_set.labels))}


def _left_skewed(finished: Sequence[Record]) -> bool | None:
    graded = [record.test for record in finished if record.test]
    if not graded:
        return None
    return looks_left_skewed([test.accuracy for test in graded], step=1 / graded[0].size)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
