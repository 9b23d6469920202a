"""How a sweep goes: a bar, or a line a trial."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Self

from rich.console import Console
from rich.markup import escape

from mnist_ray.analysis.numbers import counted, number, seconds_text
from mnist_ray.analysis.settings import varied_settings
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.space import Space
from mnist_ray.view.progress_bar import bar_for

_WIDE = 120
"""Columns of a terminal that has room for the means."""
_MOST_MEANS = 8
"""Lines of means below the bar."""


class SweepProgress:
    """Shows how a sweep goes; a `mnist_ray.run.recorder.Listener`.

    The time left is estimated from what trials cost, not from their number: a shifted CNN takes as
    long as forty feed-forward networks.
    """

    def __init__(
        self,
        console: Console,
        space: Space,
        queue: TrialQueue,
        *,
        weights: Mapping[str, float],
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        """Show the trials of `queue`, which cost `weights` by their keys.

        Where `quiet`, only what goes wrong; where `verbose`, running means in little room, too.
        """
        self._console, self._quiet, self._verbose = console, quiet, verbose
        self._space, self._queue = space, queue
        self._weights, self._whole = weights, sum(weights.values())
        self._done, self._failed, self._total = 0, 0, queue.left
        self._searches = _extent(queue.plan)
        self._without_xla: set[str] = set()
        self._means = RunningMeans(space, queue)
        self._bar = None if quiet else bar_for(console)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.begin(self._count())
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def recorded(self, record: Record, *, left: int) -> None:
        """A trial has ended, its record is kept, and `left` are known to be still to run."""
        self._done += 1
        self._failed += record.status is Status.FAILED
        more, self._total = self._done + left - self._total, self._done + left
        mean = self._means.add(record)
        if self._bar:
            is_wide = self._console.is_terminal and self._console.width >= _WIDE
            self._bar.step(
                self._weights.get(record.key, 0.0),
                total=self._whole,
                text=self._count(),
                below=self._means.lines() if is_wide or self._verbose else (),
            )
        elif not self._quiet:
            shown = f"; {mean}" if mean and self._verbose else ""
            total = f"{bound(self._queue.plan)}{self._total}"
            self._print(f"[{self._done}/{total}] {line_of(record, self._space)}{shown}")
        self._report_growth(more)
        self._show_xla_error(record)

    def lost(self, trial: Trial, reason: str) -> None:
        """A trial's process is gone; it is started again."""
        cell = trial.cell
        place = cell_text(cell.architecture, cell.variant, cell.columns(), self._space)
        self._print(f"{place} trial {trial.index}: process lost ({reason}); started again")

    def waiting(self, request: Request) -> None:
        """No trial runs, because no node has room for one."""
        self._print(f"Waiting for a machine with {request} to spare")

    def _report_growth(self, more: int) -> None:
        """Why a search wants more trials than before; beside a bar only when it has advanced."""
        before, self._searches = self._searches, _extent(self._queue.plan)
        if self._quiet or more <= 0:
            return
        reasons = list(_reasons(self._queue.plan, before))
        if not reasons and not self._bar and self._queue.plan.searches:
            reasons = ["the search goes on with what may still win"]
        for reason in reasons:
            self._print(f"{counted(more, 'more trial')} to run: {reason}")

    def _show_xla_error(self, record: Record) -> None:
        """Once for each cell."""
        reason = record.setting.xla_error if record.setting else None
        if reason and record.cell_key not in self._without_xla:
            self._without_xla.add(record.cell_key)
            self._print(
                f"{place_of(record, self._space)} is trained without XLA, which cannot "
                f"compile it: {reason}"
            )

    def _print(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True, highlight=False)

    def _count(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        noun = "trial" if self._total == 1 else "trials"
        return f"{self._done}/{bound(self._queue.plan)}{self._total} {noun}{failed}"


class RunningMeans:
    """The mean test accuracy of each cell's finished trials so far."""

    def __init__(self, space: Space, queue: TrialQueue) -> None:
        self._space = space
        self._accuracies: dict[str, dict[str, float]] = defaultdict(dict)
        """By cell, of each trial by its key: a trial that runs again counts once."""
        self._sums: dict[str, float] = defaultdict(float)
        self._lines: dict[str, str] = {}
        for trial in queue.plan.wanted:
            if record := queue.records.get(trial.key):
                self.add(record)

    def add(self, record: Record) -> str:
        """Count a trial in; the mean of its cell, or nothing where it does not belong to one."""
        if record.test is None or record.source:
            return ""
        cell, accuracy = record.cell_key, record.test.accuracy
        accuracies = self._accuracies[cell]
        self._sums[cell] += accuracy - accuracies.get(record.key, 0.0)
        accuracies[record.key] = accuracy
        line = f"mean {number(self._sums[cell] / len(accuracies))} (n = {len(accuracies)})"
        # The figure first: what is cut off in a narrow terminal is the end.
        self._lines[cell] = f"{line}: {place_of(record, self._space)}"
        return line

    def lines(self) -> list[str]:
        """A line a cell, in the order in which they began."""
        lines, more = list(self._lines.values()), len(self._lines) - _MOST_MEANS
        if more <= 0:
            return lines
        return [*lines[-_MOST_MEANS:], f"and {counted(more, 'cell')} before"]


def bound(plan: Plan) -> str:
    """What stands before a number of trials that may still change."""
    if not plan.is_open:
        return ""
    return "about " if plan.budget and plan.settled else "at least "


def line_of(record: Record, space: Space) -> str:
    """How a trial ended, in a line."""
    varied = f" of {record.source}" if record.source else ""
    head = f"{place_of(record, space)} trial {record.trial}{varied}: "
    if record.status is Status.FAILED:
        return f"{head}failed: {record.error}"
    took = f"{seconds_text(record.costs.seconds)} s"
    if record.test is None:
        return f"{head}stopped after {counted(len(record.epochs), 'epoch')}, {took}"
    return f"{head}test accuracy {number(record.test.accuracy)}, {took}"


def place_of(record: Record, space: Space) -> str:
    """The cell of a record, as far as the space has several like it."""
    return cell_text(record.architecture, record.variant, record.hyperparameters, space)


def cell_text(architecture: str, variant: str, settings: Mapping[str, object], space: Space) -> str:
    """Architecture and variant, and what a grid or a search varies in them."""
    varied = setting_text(architecture, variant, settings, space=space)
    return " ".join(filter(None, [architecture, variant, varied]))


def setting_text(
    architecture: str, variant: str, settings: Mapping[str, object], *, space: Space
) -> str:
    varied = varied_settings(space, architecture, variant, settings)
    return " ".join(f"{name}={value}" for name, value in varied.items())


def _extent(plan: Plan) -> dict[tuple[str, str], tuple[int, int]]:
    """Of each search, how many configurations and how many fresh trials it has asked for."""
    return {
        (each.architecture, each.variant): (len(each.configurations), len(each.confirmation))
        for each in plan.searches
    }


def _reasons(plan: Plan, before: Mapping[tuple[str, str], tuple[int, int]]) -> Iterator[str]:
    """What is new in the searches."""
    for (architecture, variant), (configurations, fresh) in _extent(plan).items():
        tried, confirmed = before.get((architecture, variant), (0, 0))
        place = f"the search of {architecture} on {variant}"
        if fresh > confirmed:
            yield f"{place} has a winner, which is trained afresh beside the default"
        elif configurations > tried:
            yield f"{place} tries {counted(configurations - tried, 'more configuration')}"
