"""Made-up sweeps: records with chosen accuracies, for tests that need no training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_ray.analysis.findings import findings
from mnist_ray.analysis.reading import results_of_space
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.errors import ErrorCollector
from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.ledger import Ledger, SweepManifest
from mnist_ray.ledger.record import (
    Costs,
    Epoch,
    Evaluation,
    Record,
    RunEnvironment,
    Status,
    Versions,
)
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import TestSet, write_test_set
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import plan
from mnist_ray.plan.test_sets import TestSets, asked_test_sets
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.space import Space

NOTEBOOK = {
    "name": "made-up",
    "dataset": "digits",
    "architectures": {"feed_forward": {}, "cnn": {}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"epochs": 2},
}
"""A space of the four usual cells, as plain data."""

ACCURACIES = {
    ("feed_forward", "centered"): 0.96,
    ("feed_forward", "shifted"): 0.87,
    ("cnn", "centered"): 0.98,
    ("cnn", "shifted"): 0.95,
}
"""About what the usual cells reach."""

VERSIONS = Versions("3.11.2", "2.21.0", "3.15.0", "2.60.0", "2.4.0")


@dataclass(frozen=True, eq=False)
class MadeUp:
    """A sweep that never ran."""

    space: Space
    dataset_info: DatasetInfo
    test_set: TestSet
    records: dict[str, Record]

    def results(self, *, with_test_set: bool = True) -> SweepResults:
        """What its report is made of."""
        test_set = self.test_set if with_test_set else None
        return results_of_space(self.space, self.dataset_info, self.records, test_set)

    def tables(self, *, with_test_set: bool = True) -> Tables:
        """The tables of its report."""
        return tabulate([self.results(with_test_set=with_test_set)])

    def findings(self) -> list[str]:
        """What it found, in sentences."""
        return findings([self.results()], self.tables())

    def write(self, folder: ResultsFolder) -> None:
        """Leaves what a real sweep leaves behind, before its report is made."""
        ledger = Ledger(folder)
        write_test_set(folder, self.test_set)
        ledger.write_manifest(
            SweepManifest(self.dataset_info.fingerprint, dict(self.dataset_info.sources))
        )
        folder.write(folder.space, self.space.to_yaml().encode())
        if self.records:
            ledger.write(list(self.records.values()))


def made_up_space(
    changes: Mapping[str, object] | None = None, *, source: Path | None = None
) -> Space:
    """The usual space, some of its keys replaced, as if read from the file `source`."""
    errors = ErrorCollector()
    space = Space.read({**NOTEBOOK, **(changes or {})}, errors, source=source)
    errors.raise_any("the made-up space")
    return space


def made_up_test_set(size: int = 200, *, side: int = 8, classes: int = 10) -> TestSet:
    """Test images that are as bright as their class is high."""
    labels = np.arange(size, dtype=np.int32) % classes
    images = np.zeros((size, side, side), np.uint8)
    images[:, 1:-1, 1:-1] = (55 + 20 * labels)[:, None, None]
    return TestSet("digits", "f" * 64, classes, images, labels)


def made_up_sweep(
    changes: Mapping[str, object] | None = None,
    *,
    accuracies: Mapping[tuple[str, str], float | Sequence[float]] | float = 0.9,
    test_set: TestSet | None = None,
    trials: int | None = None,
    epochs: int | None = None,
) -> MadeUp:
    """A sweep of which every trial is finished.

    Args:
        changes: keys of the usual space to replace.
        accuracies: by (architecture, variant) those of its trials, or about what they are; rounded
            to what the test set allows.
        test_set: made up, where not given.
        trials: how many are recorded of each cell, by default all.
        epochs: how many are recorded of each trial, by default as many as the space says.
    """
    space, test_set = made_up_space(changes), test_set or made_up_test_set()
    dataset_info = DatasetInfo(
        fingerprint=test_set.fingerprint,
        image_shape=test_set.image_shape,
        classes=test_set.classes,
        train_images=1000,
        test_images=len(test_set.labels),
        sources={},
    )
    count = trials or (space.trials if isinstance(space.trials, int) else space.trials.at_least)
    records = {}
    for cell in space.cells(dataset_info.image_shape):
        given = accuracies
        if isinstance(given, Mapping):
            given = given[cell.architecture, cell.variant]
        for trial in trials_of(space, cell, dataset_info, count):
            rng = np.random.default_rng(int(trial.key[:8], 16))
            accuracy = (
                float(rng.normal(given, 0.004)) if isinstance(given, float) else given[trial.index]
            )
            record = made_up_record(trial, accuracy, test_set=test_set, rng=rng, epochs=epochs)
            tests = asked_test_sets(space, dataset_info)
            robustness = _robustness(record, accuracy, tests, test_set=test_set, rng=rng)
            records[trial.key] = replace(record, robustness=tuple(robustness))
    return MadeUp(space, dataset_info, test_set, records)


SEARCH = {
    "architectures": {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}},
    "variants": {"centered": {}},
    "search": {"configurations": 3, "trials_each": 3},
    "confirm": 2,
    "race": False,
}
"""Keys for a space with one small search."""


Scores = Mapping[int | str, Sequence[float | None]]


def made_up_search(
    validation: Scores,
    changes: Mapping[str, object] | None = None,
    *,
    at_most: int = 1000,
) -> MadeUp:
    """A sweep with searches, run trial by trial until nothing is missing any more.

    Args:
        validation: by number of a configuration, or "default", the validation accuracies of its
            trials by index, the fresh ones last; None for one that fails. The test accuracy is
            less by 0.05.
        changes: keys of the usual space to replace, beside those of `SEARCH`.
        at_most: trials, after which it is interrupted.
    """
    space, test_set = made_up_space({**SEARCH, **(changes or {})}), made_up_test_set()
    dataset_info = DatasetInfo(
        test_set.fingerprint, test_set.image_shape, 10, 1000, len(test_set.labels), {}
    )
    records: dict[str, Record] = {}
    while len(records) < at_most:
        planned = plan(space, dataset_info, records)
        trial = next((each for each in planned.missing if each.key not in records), None)
        if trial is None:
            break
        names = {
            each.trials[0].cell_key: each.number
            for search in planned.searches
            for each in search.configurations
        }
        known = validation[names.get(trial.cell_key, "default")][trial.index]
        records[trial.key] = _record_of_search(trial, known, test_set)
    return MadeUp(space, dataset_info, test_set, records)


def _record_of_search(trial: Trial, validation: float | None, test_set: TestSet) -> Record:
    rng = np.random.default_rng(int(trial.key[:8], 16))
    record = made_up_record(trial, (validation or 0.5) - 0.05, test_set=test_set, rng=rng)
    if validation is None:
        return as_failed(record)
    return replace(record, epochs=(*record.epochs[:-1], Epoch(0.5, 0.7, 0.4, validation)))


def made_up_record(
    trial: Trial,
    accuracy: float,
    *,
    test_set: TestSet,
    rng: np.random.Generator,
    epochs: int | None = None,
) -> Record:
    """The record of a finished trial with that test accuracy, rounded to k/N."""
    cell = trial.cell
    parameters = 1000 * len(cell.hyperparameters) + cell.canvas
    return Record(
        key=trial.key,
        identity=trial.identity,
        dataset=test_set.dataset,
        architecture=cell.architecture,
        variant=cell.variant,
        trial_seed=trial.seeds.seed,
        status=Status.FINISHED,
        parameters=parameters,
        epochs=_epochs(accuracy, epochs or cell.training.epochs, rng),
        test=_grading(cell.shift, accuracy, test_set, rng),
        setting=RunEnvironment(
            started_at=datetime(2024, 5, 1, 12, tzinfo=UTC) + timedelta(minutes=trial.index),
            node="laptop",
            device="CPU",
            threads=1,
            versions=VERSIONS,
            git_commit="0123abc",
        ),
        costs=Costs(1.0, 2.0 + trial.index, 0.5, 400_000_000),
    )


def as_failed(record: Record, message: str = "ValueError: no such luck") -> Record:
    """The record as it would be had the trial failed."""
    return replace(
        record,
        status=Status.FAILED,
        error=message,
        traceback=f"Traceback (most recent call last):\n  ...\n{message}\n",
        epochs=(),
        test=None,
        robustness=(),
    )


def on_device(record: Record, device: str) -> Record:
    """The record as it would be had the trial run on another device."""
    assert record.setting
    return replace(record, setting=replace(record.setting, device=device))


def with_versions(record: Record, **versions: str) -> Record:
    """The record as it would be had the trial run with other versions, such as `numpy_version`."""
    assert record.setting
    changed = replace(record.setting.versions, **versions)
    return replace(record, setting=replace(record.setting, versions=changed))


def folder_at(path: Path) -> ResultsFolder:
    """A results folder on the local disk."""
    return ResultsFolder.open(path)


def _epochs(accuracy: float, count: int, rng: np.random.Generator) -> tuple[Epoch, ...]:
    figures = []
    for number in range(1, count + 1):
        reached = accuracy - 0.2 / number**2 + float(rng.normal(0, 0.002))
        figures.append(Epoch(2 * (1 - reached), reached - 0.02, 1.8 * (1 - reached), reached))
    return tuple(figures)


def _robustness(
    record: Record,
    accuracy: float,
    tests: TestSets,
    *,
    test_set: TestSet,
    rng: np.random.Generator,
) -> list[Evaluation]:
    """A loss of a point for each pixel, and of ten on the images of another variant."""
    shifts = [_grading(s, accuracy - 0.01 * s, test_set, rng) for s in tests.shifts]
    others = [
        replace(
            _grading(test.presentation.shift, accuracy - 0.1, test_set, rng),
            presentation=digest(test.identity),
        )
        for test in tests.variants
        if record.evaluation(test.presentation.shift, test.identity) is None
    ]
    return [*shifts, *others]


def _grading(
    shift: int, accuracy: float, test_set: TestSet, rng: np.random.Generator
) -> Evaluation:
    predictions = _predictions(accuracy, test_set, rng)
    loss = 3 * (1 - accuracy)
    return Evaluation.of(shift, predictions=predictions, truth=test_set.labels, loss=loss)


def _predictions(accuracy: float, test_set: TestSet, rng: np.random.Generator) -> NDArray[np.int64]:
    """Right for round(accuracy · N) images; the first ones are the hardest."""
    labels = test_set.labels
    wrong = len(labels) - round(min(max(accuracy, 0.0), 1.0) * len(labels))
    hardness = rng.exponential(size=len(labels)) * (1 + np.linspace(4, 0, len(labels)))
    predictions = labels.astype(np.int64)
    chosen = np.argsort(-hardness)[:wrong]
    predictions[chosen] += rng.integers(1, test_set.classes, size=wrong)
    return predictions % test_set.classes
