"""From results to tables: pure functions. What the columns mean stands in `space.columns`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from mnist_ray.analysis.agreement import predictions_of, variance_of_predictions
from mnist_ray.analysis.comparisons import Compared, compare_across, compare_cells
from mnist_ray.analysis.robustness import robustness_rows
from mnist_ray.analysis.spread import source_rows
from mnist_ray.analysis.sweep_results import SweepResults, search_key
from mnist_ray.analysis.tables import (
    CELL,
    CELL_A,
    CELL_B,
    REFERENCES,
    SEARCH,
    Tables,
    as_type,
    hyperparameter_types,
    schema,
    summary_columns,
)
from mnist_ray.ledger.record import Record, RunEnvironment, Status
from mnist_ray.ledger.test_images import TestSet
from mnist_ray.plan.search import Configuration, SearchState
from mnist_ray.space.columns import SWEEP, Only
from mnist_ray.space.space import Cell, Space, StoppingRule
from mnist_ray.stats.sequential import precision
from mnist_ray.stats.skewness import FEWEST_WITH_A_SHAPE, looks_left_skewed
from mnist_ray.stats.summary import summarize

Row = dict[str, Any]


def tabulate(sweeps: Sequence[SweepResults]) -> Tables:
    """The tables of one sweep, or of several below each other, with the column `sweep` first.

    Without test images, or predictions, the figures that need them are null.
    """
    types = hyperparameter_types(cell for results in sweeps for cell in _cells(results))
    given = set(_given(sweeps))
    references: dict[str, list[dict[str, str]]] = {}

    def table(
        name: str,
        rows_of: Callable[[SweepResults, _Identity], Iterable[Row]],
        more: Iterable[Row] = (),
    ) -> pa.Table:
        found = ((each.name, row) for each in sweeps for row in rows_of(each, identity))
        rows = [*({SWEEP.name: sweep, **row} for sweep, row in found), *more]
        references[name] = [{key: row[key] for key in REFERENCES if key in row} for row in rows]
        return pa.Table.from_pylist(rows, schema=schema(name, types, given=given))

    def identity(cell: Cell, suffix: str = "") -> Row:
        """The columns that say which cell a row is of."""
        columns = cell.columns()
        return {
            f"architecture{suffix}": cell.architecture,
            f"variant{suffix}": cell.variant,
            **{name + suffix: as_type(columns.get(name), type_) for name, type_ in types.items()},
        }

    across = _comparison_rows(compare_across(sweeps), identity)
    return Tables(
        report=table("report", _report_rows),
        trials=table("trials", _trial_rows),
        epochs=table("epochs", _epoch_rows),
        comparisons=table("comparisons", _comparison_rows_of_sweep, more=across),
        robustness=table("robustness", robustness_rows),
        search=table("search", _search_rows),
        spread=table("spread", _spread_rows),
        references=references,
        presentation=_presentation_columns(sweeps),
    )


_Identity = Callable[..., Row]


def _cells(results: SweepResults) -> Iterator[Cell]:
    """All cells that a table has a row of."""
    yield from (each.cell for each in (*results.cells, *results.searched))
    yield from (search.default for search in results.searches)
    yield from (spread.ordinary.cell for spread in results.spreads)


def _presentation_columns(sweeps: Sequence[SweepResults]) -> list[str]:
    cells = (cell for results in sweeps for cell in _cells(results))
    names = dict.fromkeys(name for cell in cells for name in cell.presentation.columns())
    return list(names) or ["shift", "canvas"]


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
    decides = isinstance(goal, StoppingRule) and (goal.until_ci95 or goal.within)
    return goal if isinstance(goal, StoppingRule) and decides else None


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
            **summary_columns(accuracies),
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


def _recorded(results: SweepResults, identity: _Identity) -> Iterator[tuple[Row, Record]]:
    """Every recorded trial, with the columns that say of which cell it is."""
    for each in (*results.cells, *results.searched):
        cell = {"dataset": each.dataset, **identity(each.cell)}
        yield from ((cell, record) for record in each.records)
    for spread in results.spreads:
        cell = {"dataset": spread.ordinary.dataset, **identity(spread.ordinary.cell)}
        for records in spread.varied.values():
            yield from ((cell, record) for record in records)


def _trial_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for cell, record in _recorded(results, identity):
        yield {
            **cell,
            "key": record.key,
            "trial": record.trial,
            "source": record.source,
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
    for cell, record in _recorded(results, identity):
        trial = {"key": record.key, "trial": record.trial, "source": record.source}
        for number, epoch in enumerate(record.epochs, start=1):
            yield {**cell, **trial, "epoch": number, **vars(epoch)}


def _comparison_rows_of_sweep(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    return _comparison_rows(compare_cells(results.cells, results.space), identity)


def _comparison_rows(comparisons: Iterable[Compared], identity: _Identity) -> Iterator[Row]:
    for compared in comparisons:
        a, b, figures = compared.a, compared.b, compared.figures
        yield {
            CELL_A: a.key,
            CELL_B: b.key,
            "sweep_a": a.sweep,
            "sweep_b": b.sweep,
            "dataset": a.dataset,
            "kind": compared.kind,
            **identity(a.cell, "_a"),
            **identity(b.cell, "_b"),
            "selection_a": a.selection,
            "selection_b": b.selection,
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
            "device": a.device,
        }


def _spread_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for each in results.spreads:
        cell = {
            CELL: each.ordinary.key,
            "dataset": results.dataset,
            **identity(each.ordinary.cell),
            "device": each.ordinary.device,
        }
        yield from ({**cell, **row} for row in source_rows(each))


def _search_rows(results: SweepResults, identity: _Identity) -> Iterator[Row]:
    for search in results.searches:
        default, device = search.default.name, _fresh_device(results, search)
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
                **_confirmation_columns(results, search, cell, configuration, device=device),
                **_search_device_columns(results, configuration, device),
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


def _fresh_device(results: SweepResults, search: SearchState) -> str | None:
    """The device that most fresh trials of a search's winner finished on, the first of several."""
    winner = search.winner and search.winner.cell.name
    fresh = [trial for trial in search.confirmation if trial.cell.name == winner]
    found = (results.record_of(trial, Status.FINISHED) for trial in fresh)
    counts = Counter(_device(record) for record in found if record)
    return max(counts, key=lambda device: counts[device], default=None)


def _device(record: Record) -> str | None:
    return record.setting.device if record.setting else None


def _search_device_columns(
    results: SweepResults, configuration: Configuration | None, fresh: str | None
) -> Row:
    return {
        "search_device": " and ".join(_search_devices(results, configuration)) or None,
        "device": fresh,
    }


def _search_devices(results: SweepResults, configuration: Configuration | None) -> list[str]:
    """Those that the trials of a configuration in its search finished on."""
    trials = configuration.trials if configuration else ()
    found = (results.record_of(trial, Status.FINISHED) for trial in trials)
    return sorted({device for record in found if record and (device := _device(record))})


def _confirmation_columns(
    results: SweepResults,
    search: SearchState,
    cell: Cell,
    configuration: Configuration | None,
    *,
    device: str | None,
) -> Row:
    """Of the fresh trials of a cell on one device, and how far the search's score was from them."""
    fresh = [t for t in search.confirmation if t.cell.name == cell.name]
    tried = [*fresh, *(configuration.trials if configuration else ())]
    finished = (results.record_of(trial, Status.FINISHED) for trial in fresh)
    found = [record for record in finished if record and _device(record) == device]
    validation = _mean(record.validation_accuracy for record in found)
    score = configuration.mean if configuration else None
    if any(other != device for other in _search_devices(results, configuration)):
        score = None  # What another device adds is not the search's optimism.
    return {
        **summary_columns([record.test.accuracy for record in found if record.test]),
        "failed": sum(results.record_of(t, Status.FAILED) is not None for t in tried),
        "confirm_trials": len(found),
        "confirm_validation_accuracy": validation,
        "optimism": None if score is None or validation is None else score - validation,
    }


def _precision_columns(accuracies: Sequence[float], goal: StoppingRule | None) -> Row:
    """The interval of the rule that decided how many trials there are, in place of Student's."""
    if goal is None:
        return {}
    known = precision(accuracies, goal=goal.until_ci95, at_most=goal.at_most)
    return {
        "ci95_low": known.ci95_low,
        "ci95_high": known.ci95_high,
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
    return {**vars(setting), **vars(setting.versions)} if setting else {}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
