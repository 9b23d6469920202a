"""What a space asks for, joined with what is recorded: the groups that means are taken over."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import TestSet, read_transformed
from mnist_ray.plan.search import SearchState
from mnist_ray.plan.test_sets import TestSets
from mnist_ray.plan.trial import Trial
from mnist_ray.space.sources import Source
from mnist_ray.space.space import Cell, Space


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
    def accuracies(self) -> dict[int, float]:
        """On the test set, by the index of the trial."""
        return {record.trial: record.test.accuracy for record in self.finished if record.test}

    @property
    def failed(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status is Status.FAILED)


@dataclass(frozen=True, eq=False)
class CellSpread:
    """What tells where the spread of a cell comes from, on one kind of device."""

    ordinary: CellResults
    """The trials in which all sources vary: those of the report's row, where it has one."""
    varied: Mapping[Source, CellResults]
    """The trials of each source that varies alone, also of those without any."""


@dataclass(frozen=True, eq=False)
class SweepResults:
    """A sweep as its report sees it."""

    name: str
    dataset: str
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

    def recorded(self) -> Iterator[tuple[CellResults, Record]]:
        """Every recorded trial with its cell, also those that no reported mean is taken over.

        Cells of equal settings share their trials.
        """
        varied = (each for spread in self.spreads for each in spread.varied.values())
        for each in (*self.cells, *self.searched, *varied):
            yield from ((each, record) for record in each.records)

    def test_set_of(self, cell: CellResults) -> TestSet | None:
        """The test set of a cell with records, its images transformed but not shifted.

        None where that is not kept.
        """
        if self.test_set is None or cell.cell.transform is None:
            return self.test_set
        if self.folder is None:
            return None
        images = read_transformed(self.folder, cell.records[0].identity)
        return None if images is None else replace(self.test_set, images=images)

    def records_of(self, trials: Iterable[Trial], status: Status) -> list[Record]:
        """The records of those of the trials that ended like that."""
        found = (self.records.get(trial.key) for trial in trials)
        return [record for record in found if record and record.status is status]


def search_key(sweep: str, search: SearchState) -> str:
    """A text that no other search of a report has; the rows of search.parquet refer to it."""
    return json.dumps([sweep, search.architecture, search.variant])
