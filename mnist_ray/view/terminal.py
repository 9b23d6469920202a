"""What a person sees of a sweep: what will run, how it goes, and what came out."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnist_ray.analysis.numbers import DASH, counted, duration, no_spread, number, seconds_text
from mnist_ray.analysis.phrases import Row, unrequested
from mnist_ray.analysis.settings import grouped, varying_by_family
from mnist_ray.analysis.tables import Tables
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.forecast import BudgetForecast, CellForecast, Forecast
from mnist_ray.plan.plan import Plan
from mnist_ray.plan.trial import left_out_sentences
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.space.space import Cell, Space
from mnist_ray.view.progress_bar import ignore_missing_widgets
from mnist_ray.view.sweep_progress import SweepProgress, bound, line_of, setting_text

if TYPE_CHECKING:
    import pandas as pd


class Terminal:
    """A terminal, a file or a notebook's cell, where the sweep of a space is shown."""

    def __init__(self, space: Space, *, quiet: bool, verbose: bool = False) -> None:
        self._console = Console(highlight=False)
        if self._console.is_jupyter:
            ignore_missing_widgets()
        self._space, self._quiet, self._verbose = space, quiet, verbose

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print sentences: broken between words on a terminal, a line each elsewhere."""
        if not self._quiet:
            for line in lines:
                self._console.print(escape(line), soft_wrap=not self._console.is_terminal)

    def print_place(self, what: str, uri: str) -> None:
        """Print where something lies, unbroken, so that it can be copied."""
        if not self._quiet:
            self._console.print(escape(f"{what}: {uri}"), soft_wrap=True)

    def announce(self, *, dataset: str, images: int, plan: Plan) -> None:
        """What will run, in a line, and which sources of randomness some cells do not have."""
        varied = len({trial.key for trial in plan.varied})
        of_them = f" ({varied} of them vary one source alone)" if varied else ""
        self.print_lines(
            [
                f"{self._space.name}: {bound(plan) if plan.searches else ''}"
                f"{counted(len(plan.all_cells), 'cell')} on {dataset} "
                f"({counted(images, 'training image')}): "
                f"{bound(plan)}{counted(len(plan.wanted), 'trial')} wanted"
                f"{of_them}, {plan.settled} already recorded, {len(plan.missing)} to run",
                *left_out_sentences(self._space, plan.all_cells),
            ]
        )

    def forecast(self, expected: Forecast) -> None:
        """What the rest of a sweep would take."""
        if self._quiet:
            return
        self._console.print(_forecast_table(expected.cells, self._space))
        self.print_lines(_forecast_lines(expected))

    def progress(self, queue: TrialQueue, weights: Mapping[str, float]) -> SweepProgress:
        """Shows the trials of `queue`, which cost `weights` by their keys."""
        return SweepProgress(
            self._console,
            self._space,
            queue,
            weights=weights,
            quiet=self._quiet,
            verbose=self._verbose,
        )

    def interrupted(self, queue: TrialQueue) -> None:
        """How much there is, and how to go on."""
        settled = {key for key, r in queue.records.items() if r.status is not Status.FAILED}
        wanted = {trial.key for trial in queue.plan.wanted}
        self.print_lines(
            [
                f"Interrupted: {len(settled & wanted)} of {bound(queue.plan)}"
                f"{counted(len(wanted), 'trial')} {'is' if len(wanted) == 1 else 'are'} recorded, "
                "and reported here; the same command runs the rest."
            ]
        )

    def left_out(self, records: int) -> None:
        """That the ledger holds more than the space asks for."""
        if records:
            self.print_lines([unrequested(records, by=self._space.name)])

    def result(self, tables: Tables, sentences: Sequence[str]) -> None:
        """The table of means, and the findings in words."""
        if self._quiet:
            return
        cells = tables.report.to_pylist()
        if cells:  # A search has none before its winner is known.
            self._console.print(means(cells))
        self.print_lines(sentences)

    def failures(self, records: Sequence[Record], *, folder: str) -> None:
        """Each error with a trial that it ended, and how to see more; printed even when quiet."""
        for first, *others in grouped(records, lambda record: record.error).values():
            more = f" ({counted(len(others), 'more trial')} with this error)" if others else ""
            line = f"{line_of(first, self._space)}{more}"
            self._console.print(escape(line), style="red", soft_wrap=True)
        if records:
            command = f"mnist-ray report {shlex.quote(folder)}"
            traceback = f"{command} --traceback {records[0].key[:8]}"
            self._console.print(f"A traceback: {escape(traceback)}", soft_wrap=True)


def _forecast_table(cells: Sequence[CellForecast], space: Space) -> Table:
    """A row for each entry; columns that tell none apart are left out."""
    names = {
        "architecture": [each.cell.architecture for each in cells],
        "variant": [each.cell.variant for each in cells],
    }
    if any(configurations := [_configuration(each.cell, space) for each in cells]):
        names["configuration"] = configurations
    if any(each.source for each in cells):
        names["varies"] = [each.source or "all" for each in cells]
    figures = {
        "recorded": [str(each.recorded) for each in cells],
        "to run": [str(each.to_run) for each in cells],
        "seconds each": [seconds_text(each.seconds) for each in cells],
    }
    if any(each.half_width for each in cells):
        figures["95 % interval"] = [_half_width(each) for each in cells]
    table = Table(title="what would run", title_justify="left")
    for heading, texts in names.items():
        table.add_column(heading, overflow="fold")
        names[heading] = [*map(escape, texts)]
    for heading in figures:
        table.add_column(heading, justify="right")
    for row in zip(*names.values(), *figures.values(), strict=True):
        table.add_row(*row)
    return table


def _half_width(entry: CellForecast) -> str:
    return f"± {number(entry.half_width)}" if entry.half_width else DASH


def _configuration(cell: Cell, space: Space) -> str:
    """What a grid varies in a cell; a search's trials stand in one row."""
    pair = cell.architecture, cell.variant
    if pair in space.search_spaces():
        return "searched"
    return setting_text(*pair, cell.columns(), space=space)


def _forecast_lines(expected: Forecast) -> list[str]:
    if not expected.concurrency:
        return ["Nothing is missing: only the report would be made again."]
    at_least = "at least " if expected.is_open and not expected.budget else ""
    lines = _budget_lines(expected.budget) if expected.budget else []
    lines += [
        f"About {at_least}{duration(expected.wall_seconds)}, "
        f"{counted(expected.concurrency, 'trial')} at a time, "
        f"up to {expected.peak_memory_bytes / 1e9:.1f} GB of memory (from {expected.basis})."
    ]
    if expected.price is not None:
        lines.append(f"About {at_least}{expected.price:.2f} at the given hourly cost.")
    return lines


def _budget_lines(budget: BudgetForecast) -> list[str]:
    if budget.is_too_small:
        return []  # A warning has said so.
    lines = [f"These are the trials that {budget.given} of work should pay for."]
    for first, second, half_width in budget.differences:
        pair = f"{first.architecture} and {second.architecture} on {first.variant}"
        lines.append(f"The difference of {pair} should become known to ± {number(half_width)}.")
    if not budget.is_spread_known:
        lines.append(
            "How narrow the intervals become depends on the spread, which is not known before the "
            "first trials are recorded; until then every cell is taken to vary alike."
        )
    return lines


@dataclass(frozen=True, eq=False)
class SweepResult:
    """How a sweep ended; in a notebook it shows itself as the table of means.

    Attributes:
        folder: where it lies, as a path or URI.
        report: one row a cell, as `mnist_ray.load_report` gives it; None for a dry run.
        exit_code: 0 all finished, 1 some trials failed, 130 interrupted.
    """

    folder: str
    report: "pd.DataFrame | None"
    exit_code: int

    def _repr_html_(self) -> str:
        """Names, what varies within an architecture and variant, and figures up to the interval."""
        if self.report is None:
            return ""
        columns = self.report.columns.tolist()
        first, last = columns.index("trials"), columns.index("ci95_high")
        plain = self.report.astype(object).where(self.report.notna(), None)
        settings = _varying(plain.to_dict("records"), columns[3:first])
        shown = [*columns[:3], *settings, *columns[first : last + 1]]
        return str(self.report[shown].to_html(index=False))


def means(cells: Sequence[Row]) -> Table:
    """Architectures below each other, variants side by side: mean ± standard deviation (n).

    Beside an architecture stands what distinguishes its cells of one variant: settings or devices,
    after a search whether they are its winner or the default.
    """
    settings = _distinctions(cells)
    variants = list(dict.fromkeys(cell["variant"] for cell in cells))
    title = "test accuracy: mean ± standard deviation (n)"
    table = Table("architecture", *settings, title=title, title_justify="left")
    for variant in variants:
        table.add_column(escape(variant), justify="right")
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for cell in cells:
        label = (cell["architecture"], *(_text(cell[name]) for name in settings))
        rows.setdefault(label, {})[cell["variant"]] = _mean(cell)
    for label, figures in rows.items():
        table.add_row(*map(escape, label), *(figures.get(variant, "") for variant in variants))
    return table


def _distinctions(cells: Sequence[Row]) -> list[str]:
    """The columns that tell apart the cells of one architecture and variant."""
    if any(cell.get("selection") for cell in cells):
        return ["selection", *_varying(cells, ["device"])]
    columns = list(cells[0])
    return _varying(cells, [*columns[3 : columns.index("trials")], "device"])


def _varying(cells: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Those of `names` that differ between cells of one architecture and variant."""
    families = varying_by_family(
        ((cell["architecture"], cell["variant"]), {name: cell[name] for name in names})
        for cell in cells
    )
    return [name for name in names if any(name in varying for varying in families.values())]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _mean(cell: Row) -> str:
    n, failed = cell["trials"], f", {cell['failed']} failed" if cell["failed"] else ""
    if not n:
        return f"{DASH} (0{failed})"
    mean = number(cell["mean_test_accuracy"])
    if equal := no_spread(cell, n):
        return f"{mean}, {equal}{failed}"
    if cell["std_test_accuracy"] is not None:
        mean += f" ± {number(cell['std_test_accuracy'])}"
    return f"{mean} ({n}{failed})"
