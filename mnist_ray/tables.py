"""From records to tables: pure functions. What their columns mean stands in `columns`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import JsonValue

from mnist_ray.agreement import predictions_of, spread_of
from mnist_ray.columns import SWEEP, Only, schema
from mnist_ray.comparisons import Compared, compare_cells
from mnist_ray.facts import Facts
from mnist_ray.hyperparameters import kind_of
from mnist_ray.ledger import TestSet
from mnist_ray.precision import precision
from mnist_ray.record import Record, Setting, Status
from mnist_ray.review import Review, review_space
from mnist_ray.search import Configuration, SearchState
from mnist_ray.space import Cell, Replication, Space
from mnist_ray.statistics import summarize

Row = dict[str, Any]


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

    def by_name(self) -> dict[str, pa.Table]:
        """The tables by the names of their files."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def build(
    space: Space, facts: Facts, records: Mapping[str, Record], test_set: TestSet | None
) -> Tables:
    """The tables of what `space` asks for and `records` (by key) hold.

    Without `test_set`, or predictions, the figures that need them are null.
    """
    return tabulate([review_space(space, facts, records, test_set)])


def tabulate(reviews: Sequence[Review]) -> Tables:
    """The tables of one sweep, or of several below each other, with the column `sweep` first."""
    types = _hyperparameter_types([cell for review in reviews for cell in review.cells])

    given = set(_given(reviews))

    def table(name: str, rows_of: Callable[[Review], Iterable[Row]]) -> pa.Table:
        rows = [{SWEEP.name: review.name, **row} for review in reviews for row in rows_of(review)]
        return pa.Table.from_pylist(rows, schema=schema(name, types, given=given))

    def identity(cell: Cell, suffix: str = "") -> Row:
        """The columns that say which cell a row is of."""
        columns = cell.columns()
        hyperparameters = {
            name + suffix: _as_type(columns.get(name), type_) for name, type_ in types.items()
        }
        names = {f"architecture{suffix}": cell.architecture, f"variant{suffix}": cell.variant}
        return names | hyperparameters

    return Tables(
        report=table("report", lambda review: _report_rows(review, identity)),
        trials=table("trials", lambda review: _trial_rows(review, identity)),
        epochs=table("epochs", lambda review: _epoch_rows(review, identity)),
        comparisons=table("comparisons", lambda review: _comparison_rows(review, identity)),
        robustness=table("robustness", lambda review: _robustness_rows(review, identity)),
        search=table("search", lambda review: _search_rows(review, identity)),
    )


_Identity = Callable[..., Row]


def _given(reviews: Sequence[Review]) -> Iterator[Only]:
    if len(reviews) > 1:
        yield Only.SIDE_BY_SIDE
    if any(_goal(review.space) for review in reviews):
        yield Only.TO_A_PRECISION
    if any(review.searches for review in reviews):
        yield Only.WITH_A_SEARCH


def _goal(space: Space | None) -> Replication | None:
    """The precision that each mean is replicated to, if any."""
    goal = space.trials if space else None
    return goal if isinstance(goal, Replication) and goal.until_ci95 else None


# Rows


def _report_rows(review: Review, identity: _Identity) -> Iterator[Row]:
    for outcome in review.outcomes:
        finished, failed = outcome.finished, outcome.failed
        parameters = [r.parameters for r in (*finished, *failed) if r.parameters is not None]
        accuracies = [record.test.accuracy for record in finished if record.test]
        yield {
            "dataset": outcome.dataset,
            **identity(outcome.cell),
            **_summary_columns(accuracies),
            **_precision_columns(accuracies, _goal(review.space)),
            "trials": len(finished),
            "failed": len(failed),
            "mean_validation_accuracy": _mean(r.validation_accuracy for r in finished),
            "mean_test_loss": _mean(r.test.loss for r in finished if r.test),
            "mean_train_seconds": _mean(r.costs.train_seconds for r in finished),
            "parameters": parameters[0] if parameters else None,
            **_spread_columns(finished, review.test_set),
            "selection": outcome.selection,
            "device": outcome.device,
        }


def _trial_rows(review: Review, identity: _Identity) -> Iterator[Row]:
    for outcome in (*review.outcomes, *review.searched):
        cell = identity(outcome.cell)
        for record in outcome.records:
            yield {
                "key": record.key,
                "dataset": outcome.dataset,
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


def _epoch_rows(review: Review, identity: _Identity) -> Iterator[Row]:
    for outcome in (*review.outcomes, *review.searched):
        cell = {"dataset": outcome.dataset, **identity(outcome.cell)}
        for record in outcome.records:
            for number, epoch in enumerate(record.epochs, start=1):
                place = {"key": record.key, "trial": record.trial, "epoch": number}
                yield {**cell, **place, **vars(epoch)}


def _comparison_rows(review: Review, identity: _Identity) -> Iterator[Row]:
    for compared in compare_cells(review.outcomes, review.space):
        yield {
            "dataset": compared.a.dataset,
            "kind": compared.kind,
            **identity(compared.a.cell, "_a"),
            **identity(compared.b.cell, "_b"),
            "selection_a": compared.a.selection,
            "selection_b": compared.b.selection,
            **_comparison_columns(compared),
            "device": compared.a.device,
        }


def _robustness_rows(review: Review, identity: _Identity) -> Iterator[Row]:
    for outcome in review.outcomes:
        cell = {"dataset": outcome.dataset, **identity(outcome.cell), "device": outcome.device}
        for shift in review.shifts:
            gradings = [record.grading(shift) for record in outcome.finished]
            accuracies = [grading.accuracy for grading in gradings if grading]
            columns = _summary_columns(accuracies)
            yield {**cell, "test_shift": shift, "trials": len(accuracies), **columns}


def _search_rows(review: Review, identity: _Identity) -> Iterator[Row]:
    for search in review.searches:
        default = search.default.name
        shown: list[tuple[Cell, Configuration | None]] = [
            (each.cell, each) for each in search.configurations
        ]
        if default not in {cell.name for cell, _ in shown}:
            shown.append((search.default, None))
        for cell, configuration in shown:
            yield {
                "dataset": review.dataset,
                **identity(cell),
                **_configuration_columns(configuration),
                **_confirmation_columns(review, search, cell, configuration),
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
    review: Review, search: SearchState, cell: Cell, configuration: Configuration | None
) -> Row:
    """Of the fresh trials of a cell, and how far the search's score was from them."""
    fresh = [t for t in search.confirmation if t.cell.name == cell.name]
    tried = [*fresh, *(configuration.trials if configuration else ())]
    found = [record for t in fresh if (record := review.record_of(t, Status.FINISHED)) is not None]
    validation = _mean(record.validation_accuracy for record in found)
    score = configuration.mean if configuration else None
    return {
        **_summary_columns([record.test.accuracy for record in found if record.test]),
        "failed": sum(review.status_of(trial) is Status.FAILED for trial in tried),
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


def _precision_columns(accuracies: Sequence[float], goal: Replication | None) -> Row:
    """The interval of the rule that decided how many trials there are, in place of Student's."""
    if goal is None or goal.until_ci95 is None:
        return {}
    known = precision(accuracies, goal=goal.until_ci95, at_most=goal.at_most)
    low, high = known.around(summarize(accuracies).mean)
    return {
        "ci95_low": low,
        "ci95_high": high,
        "fixed_trials": known.fixed_trials,
        "plain_half_width": known.plain_half_width,
        "satisfied": known.satisfied,
    }


def _spread_columns(finished: Sequence[Record], test_set: TestSet | None) -> Row:
    predictions = predictions_of(finished, test_set)
    if predictions is None or test_set is None:
        return {}
    spread = spread_of(predictions, test_set.labels)
    return {
        "independent_error_std": spread.independent_error_std,
        "excess_variance": spread.excess_variance,
        "test_set_sem": spread.test_set_sem,
    }


def _setting_columns(setting: Setting | None) -> Row:
    if setting is None:
        return {}
    columns = {name: value for name, value in vars(setting).items() if name != "versions"}
    return columns | vars(setting.versions)


def _comparison_columns(compared: Compared) -> Row:
    figures = compared.figures
    return {
        "trials_a": figures.n_a,
        "trials_b": figures.n_b,
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


# Hyperparameters


def _hyperparameter_types(cells: Iterable[Cell]) -> dict[str, pa.DataType]:
    """The type of each hyperparameter's column, in order of first appearance."""
    seen: dict[str, list[JsonValue]] = {}
    for cell in cells:
        for name, value in cell.columns().items():
            seen.setdefault(name, []).append(value)
    return {name: _type_of(values) for name, values in seen.items()}


def _type_of(values: Sequence[JsonValue]) -> pa.DataType:
    """A type that holds all values; text where they are of different kinds in several sweeps."""
    kinds = {kind_of(value) for value in values} - {None}
    if any(kind.startswith("list") for kind in kinds if kind):
        items = [item for value in values if isinstance(value, list) for item in value]
        lists_only = all(kind.startswith("list") for kind in kinds if kind)
        # A list without items is of whole numbers, as hidden_units is.
        return pa.list_(_type_of(items) if items else pa.int64()) if lists_only else pa.string()
    if kinds == {"true or false"}:
        return pa.bool_()
    if kinds != {"number"}:
        return pa.string()
    return pa.float64() if any(isinstance(value, float) for value in values) else pa.int64()


def _as_type(value: JsonValue, type_: pa.DataType) -> JsonValue:
    if value is None or not pa.types.is_string(type_) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
