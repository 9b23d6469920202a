"""What a space asks for, joined with what is recorded: the groups that means are taken over."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property, partial

from mnist_ray.ledger import transformed_images
from mnist_ray.ledger.identity import PROTOCOL, digest
from mnist_ray.ledger.ledger import TestSet
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import plan
from mnist_ray.plan.search import SearchState
from mnist_ray.plan.test_sets import TestSets, VariantTest
from mnist_ray.plan.trial import Trial
from mnist_ray.space.sources import Source
from mnist_ray.space.space import Cell, Space
from mnist_ray.space.training import Training
from mnist_ray.space.variants import Transform


class Selection(StrEnum):
    """Why a cell of a searched architecture and variant is in the report."""

    WINNER = "winner"
    DEFAULT = "default"
    BOTH = "winner and default"


@dataclass(frozen=True, eq=False)
class CellResults:
    """The recorded trials of one cell on one kind of device: a row of the report."""

    sweep: str
    dataset: str
    cell: Cell
    cell_key: str
    """As `Trial.cell_key`; cells of equal settings and other names have the same."""
    device: str | None
    """None as long as no trial has run."""
    records: tuple[Record, ...]
    """In the order of trials."""
    selection: Selection | None = None
    """None where nothing was searched."""
    is_default: bool = False
    """Whether it is the cell of a grid that has every hyperparameter at its default."""

    @cached_property
    def key(self) -> str:
        """A text that no other row of a report has; the tables' rows refer to their cells by it."""
        cell = self.cell
        return json.dumps([self.sweep, cell.architecture, cell.variant, self.cell_key, self.device])

    @property
    def finished(self) -> tuple[Record, ...]:
        """What means are taken over."""
        return tuple(record for record in self.records if record.status is Status.FINISHED)

    @property
    def failed(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status is Status.FAILED)


@dataclass(frozen=True, eq=False)
class CellSpread:
    """What tells where the spread of a cell comes from, on one kind of device."""

    ordinary: CellResults
    """The trials in which all sources vary: those of the report's row, where it has one."""
    varied: Mapping[Source, tuple[Record, ...]]
    """The recorded trials of each source that varies alone, also of those without any."""

    @property
    def finished(self) -> tuple[Record, ...]:
        """The finished trials that vary one source alone."""
        return self._with_status(Status.FINISHED)

    @property
    def failed(self) -> tuple[Record, ...]:
        return self._with_status(Status.FAILED)

    def _with_status(self, status: Status) -> tuple[Record, ...]:
        recorded = (record for records in self.varied.values() for record in records)
        return tuple(record for record in recorded if record.status is status)


@dataclass(frozen=True, eq=False)
class SweepResults:
    """A sweep as its report sees it."""

    name: str
    space: Space | None
    """None where the folder does not hold it: then all that is recorded is shown."""
    cells: tuple[CellResults, ...]
    """In the order of the space's cells."""
    tests: TestSets
    """The test sets asked for beside each variant's own."""
    test_set: TestSet | None
    left_out: int
    """Records in the ledger that the space does not ask for (any more)."""
    searches: tuple[SearchState, ...] = ()
    searched: tuple[CellResults, ...] = ()
    """The trials of the searches themselves, which no reported mean is taken over."""
    records: Mapping[str, Record] = field(default_factory=dict)
    """All of the ledger, by key."""
    wanted: tuple[Trial, ...] = ()
    """All trials that the space asks for, as far as they are known."""
    missing: tuple[Trial, ...] = ()
    """Those of them that are not recorded as asked: not run yet, failed, or cut short."""
    is_open: bool = False
    """Whether more trials may be wanted once those missing are recorded."""
    command: str = ""
    """The command that runs what is missing; empty where that is not known."""
    spreads: tuple[CellSpread, ...] = ()
    """Of each cell, where the space asks for sources of the spread."""
    folder: ResultsFolder | None = None
    """Where transformed test images are kept."""

    @property
    def dataset(self) -> str:
        return _dataset_name(self.space, self.records, self.test_set)

    def test_set_of(self, cell: CellResults) -> TestSet | None:
        """The test set of a cell with records, its images transformed but not shifted.

        None where that is not kept.
        """
        if self.test_set is None or cell.cell.transform is None:
            return self.test_set
        if self.folder is None:
            return None
        images = transformed_images.read(self.folder, cell.records[0].identity)
        return None if images is None else replace(self.test_set, images=images)

    def record_of(self, trial: Trial, status: Status) -> Record | None:
        """The record of a trial, if it ended like that."""
        record = self.records.get(trial.key)
        return record if record and record.status is status else None


def results_of_space(
    space: Space,
    dataset_info: DatasetInfo,
    records: Mapping[str, Record],
    test_set: TestSet | None,
    *,
    name: str | None = None,
    command: str = "",
) -> SweepResults:
    """The sweep that `space` asks for; a cell with nothing recorded yet is there too."""
    name = name or space.name
    planned = plan(space, dataset_info, records)
    selections = _selections(planned.searches)
    of = partial(_cell_results, name, _dataset_name(space, records, test_set), records)
    measured = of(planned.measured)
    shape = dataset_info.image_shape
    defaults = {space.default_configuration(*pair, shape).name for pair in space.grids()}
    return SweepResults(
        name=name,
        space=space,
        cells=tuple(
            replace(
                each,
                selection=selections.get(each.cell.name),
                is_default=each.cell.name in defaults,
            )
            for each in measured
        ),
        tests=planned.tests,
        test_set=test_set,
        left_out=len(planned.unrequested(records)),
        searches=planned.searches,
        searched=of(planned.searched),
        records=records,
        wanted=planned.wanted,
        missing=planned.missing,
        is_open=planned.is_open,
        command=command,
        spreads=_spreads(of(planned.measured + planned.varied), planned.varied),
    )


def results_of_records(
    name: str, records: Mapping[str, Record], test_set: TestSet | None
) -> SweepResults:
    """The sweep as far as its records alone show it.

    It has those of the data and the seed that were used last: means over others as well would be
    means of something else.
    """
    last = latest_record(records)
    alike = [record for record in records.values() if last and _comparable(record, last)]
    alike.sort(key=lambda r: (r.architecture, r.identity["shift"], r.variant, r.cell_key, r.trial))
    of = partial(_cell_results, name, _dataset_name(None, records, test_set), records)
    trials = [_trial_of(record) for record in alike]
    varied = [trial for trial in trials if trial.source]
    return SweepResults(
        name=name,
        space=None,
        cells=of([trial for trial in trials if not trial.source]),
        tests=_recorded_tests(alike),
        test_set=test_set,
        left_out=len(records) - len(alike),
        spreads=_spreads(of(trials), varied),
    )


def _recorded_tests(records: Sequence[Record]) -> TestSets:
    """The test sets beside their own that trials were graded on.

    Those of other variants have the names of the variants that have records of their own.
    """
    graded = [evaluation for record in records for evaluation in record.robustness]
    shifts = sorted({each.shift for each in graded if each.presentation is None})
    digests = {each.presentation for each in graded}
    variants = {
        digest(test.identity): test for record in records for test in [_test_of(_trial_of(record))]
    }
    asked = digests & variants.keys()
    tests = [test for key, test in variants.items() if key in asked]
    return TestSets(tuple(shifts), tuple(tests))


def _test_of(trial: Trial) -> VariantTest:
    return VariantTest(trial.cell.variant, trial.cell.presentation, trial.transform_digest)


def latest_record(records: Mapping[str, Record]) -> Record | None:
    """The record of the trial that started last."""
    beginning = datetime.min.replace(tzinfo=UTC)
    return max(
        records.values(),
        key=lambda r: (r.setting.started_at if r.setting else beginning, r.key),
        default=None,
    )


def search_key(sweep: str, search: SearchState) -> str:
    """A text that no other search of a report has; the rows of search.parquet refer to it."""
    return json.dumps([sweep, search.architecture, search.variant])


def _selections(searches: Iterable[SearchState]) -> dict[str, Selection]:
    """By the identity of the cell; none before a search has a winner."""
    found: dict[str, Selection] = {}
    for search in searches:
        if search.winner:
            winner, default = search.winner.cell.name, search.default.name
            found |= {default: Selection.DEFAULT, winner: Selection.WINNER}
            if winner == default:
                found[winner] = Selection.BOTH
    return found


def _cell_results(
    sweep: str, dataset: str, records: Mapping[str, Record], wanted: Sequence[Trial]
) -> tuple[CellResults, ...]:
    """The wanted trials that are recorded, by cell and device; also cells without records."""
    # Cells of different names may have the same trials, and a search may draw the same cell twice.
    cells: dict[tuple[str, str, str], dict[str, Trial]] = {}
    for trial in wanted:
        place = (trial.cell.architecture, trial.cell.variant, trial.cell_key)
        cells.setdefault(place, {}).setdefault(trial.key, trial)
    return tuple(
        CellResults(sweep, dataset, next(iter(trials.values())).cell, cell_key, device, group)
        for (_, _, cell_key), trials in cells.items()
        for device, group in _by_device([records[key] for key in trials if key in records])
    )


def _spreads(cells: Iterable[CellResults], varied: Iterable[Trial]) -> tuple[CellSpread, ...]:
    """Those of the cells, with the records of all trials, that have trials of a source alone."""
    sources: dict[str, dict[Source, None]] = {}
    for trial in varied:
        if trial.source:
            sources.setdefault(trial.cell_key, {})[trial.source] = None

    def records_of(cell: CellResults, source: Source | None) -> tuple[Record, ...]:
        return tuple(record for record in cell.records if record.source == source)

    return tuple(
        CellSpread(
            ordinary=replace(cell, records=records_of(cell, None)),
            varied={source: records_of(cell, source) for source in sources[cell.cell_key]},
        )
        for cell in cells
        if cell.cell_key in sources
    )


def _dataset_name(
    space: Space | None, records: Mapping[str, Record], test_set: TestSet | None
) -> str:
    if test_set:
        return test_set.dataset
    source = latest_record(records) or space
    return source.dataset if source else ""


def _by_device(records: Sequence[Record]) -> Iterator[tuple[str | None, tuple[Record, ...]]]:
    """The records of one cell by device; a failed trial alone makes no group of its own."""
    ran_on = [_device(record) for record in records if record.status is not Status.FAILED]
    first, *others = dict.fromkeys(ran_on or map(_device, records[:1])) or [None]
    yield first, tuple(record for record in records if _device(record) not in others)
    for device in others:
        yield device, tuple(record for record in records if _device(record) == device)


def _device(record: Record) -> str | None:
    return record.setting.device if record.setting else None


def _comparable(record: Record, other: Record) -> bool:
    return record.identity["protocol"] == PROTOCOL and all(
        record.identity[name] == other.identity[name] for name in ("data", "seed")
    )


def _trial_of(record: Record) -> Trial:
    identity = record.identity
    made = identity.get("transform")
    cell = Cell(
        architecture=record.architecture,
        builder=identity["builder"],
        hyperparameters=identity["hyperparameters"],
        variant=record.variant,
        shift=identity["shift"],
        canvas=identity["canvas"],
        training=Training.model_validate(identity["training"]),
        transform=Transform(made["function"], made["parameters"]) if made else None,
    )
    return Trial(
        cell,
        record.trial,
        identity["seed"],
        identity["data"],
        identity["source"],
        source=Source(record.source) if record.source else None,
        transform_digest=made and made["source"],
    )
