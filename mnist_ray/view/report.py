"""The report: the tables, and one page that needs nothing else, neither network nor scripts."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from mnist_ray.analysis import phrases
from mnist_ray.analysis.findings import findings
from mnist_ray.analysis.numbers import DASH, FEWEST, counted, interval, number
from mnist_ray.analysis.search_findings import search_findings
from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.spread import percent
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.trial import left_out_sentences
from mnist_ray.view.cell_table import cell_table
from mnist_ray.view.cell_views import (
    CellView,
    by_presentation,
    describe_presentation,
    label,
)
from mnist_ray.view.examples import (
    EXAMPLES,
    Guess,
    hardest_images,
    image_png,
    recorded_guesses,
)
from mnist_ray.view.figures import Figures
from mnist_ray.view.matrix import test_matrices
from mnist_ray.view.notices import notices
from mnist_ray.view.provenance import differences, provenance
from mnist_ray.view.row_charts import share

_MOST_COMPARISONS = 60
"""Rows of their table; the rest is in the Parquet files."""
_MOST_FAILURES = 50
"""Errors, and trials that have the same one."""
_HARDEST = 6
_MOST_GRIDS = 8
"""Grids, each of one architecture on one variant, that have figures of their own."""


def write_report(
    sweeps: Sequence[SweepResults], folder: ResultsFolder, *, reload_seconds: int | None = None
) -> Tables:
    """Write the tables and the page of one sweep, or of several side by side, into `folder`.

    Where `reload_seconds` is given, the sweeps still run, and the page reloads itself so often.
    """
    tables = tabulate(sweeps)
    for name, table in tables.by_name().items():
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        folder.write(folder.table(name), buffer.getvalue())
    folder.write(folder.page, render(sweeps, tables, reload_seconds=reload_seconds).encode())
    return tables


def render(
    sweeps: Sequence[SweepResults], tables: Tables, *, reload_seconds: int | None = None
) -> str:
    """The page of one sweep, or of several side by side, as HTML.

    `tables` are those of `sweeps`. Equal input gives the same text, byte for byte.
    """
    figures = Figures(sweeps, tables, most_grids=_MOST_GRIDS)
    images = phrases.images(*(results.dataset for results in sweeps))
    content = vars(figures) | {
        "sweeps": sweeps,
        "reload_seconds": reload_seconds,
        "css": Markup((_PAGE / "report.css").read_text()),  # noqa: S704 (the project's own)
        "images": images,
        "summary": _summary(sweeps, figures.views),
        "notices": notices(sweeps, figures.views, reload_seconds=reload_seconds),
        "findings": [_unbroken(sentence) for sentence in findings(sweeps, tables)],
        "between_sweeps": differences(sweeps),
        "searched": dict.fromkeys(name for view, _ in figures.searches for name in view.columns),
        "search_sentences": search_findings(sweeps, tables),
        "most_comparisons": _MOST_COMPARISONS,
        "spread_left_out": _sources_left_out(sweeps),
        "matrices": list(test_matrices(sweeps, figures.views)),
        **_cells(figures.views, figures.chosen),
        **_failures(sweeps, figures),
    }
    content["other_tests"] = content["robustness"] or content["matrices"]
    content |= _shown_sections(content)
    return _environment().get_template("report.html.jinja").render(content)


def _shown_sections(content: Mapping[str, Any]) -> dict[str, Any]:
    """The headings of the sections that have something to show, and why the others have not."""
    shown = [name for name, (_, needed, _) in _SECTIONS.items() if not needed or content[needed]]
    return {
        "sections": {name: _SECTIONS[name][0].format(images=content["images"]) for name in shown},
        "not_shown": {
            heading[0].lower() + heading[1:].format(images="images"): why
            for name, (heading, _, why) in _SECTIONS.items()
            if why and name not in shown
        },
    }


_NO_PREDICTIONS = "no predictions are recorded, or the test set is missing"
_SECTIONS = {
    "findings": ("Findings", "", ""),
    "grid": ("The grid", "grids", ""),
    "table": (
        "The cells",
        "cells",
        "there is no cell to measure yet, since no search has a winner",
    ),
    "search": ("The search", "searches", ""),
    "trials": ("Every trial", "trials", "no trial whose cell is measured has finished"),
    "spread": (
        "Where the spread comes from",
        "spread",
        "the search space does not ask for its sources (spread: {trials: 20})",
    ),
    "differences": (
        "Differences",
        "differences",
        "no two cells with finished trials differ in one thing alone",
    ),
    "learning": ("Learning curves", "learning", "no epochs are recorded"),
    "robustness": (
        "Robustness",
        "other_tests",
        "the search space does not ask for other test sets "
        "(evaluate: {shifts: [0, 5, 10]}, or {variants: all})",
    ),
    "confusion": ("Confusion matrices", "confusion", _NO_PREDICTIONS),
    "hardest": ("The hardest {images}", "hardest", _NO_PREDICTIONS),
    "sanity": ("Sanity check", "checks", _NO_PREDICTIONS),
    "failed": ("Failed trials", "failures", ""),
    "provenance": ("Provenance", "", ""),
}
"""The sections of the page in order: the heading, what is needed to show it, and why there may be
nothing to show."""

_PAGE = Path(__file__).parent / "page"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"figure": number, "interval": interval, "label": label, "png": _png}
    environment.filters |= {"percent": percent, "share": share, "range": _range}
    environment.filters |= {"provenance": provenance}
    return environment


def _png(image: NDArray[np.uint8], view: CellView | Guess) -> str:
    """An image of the data of `view` as data: URI."""
    is_ink = phrases.images(view.results.dataset) == "digits"
    return "data:image/png;base64," + base64.b64encode(image_png(image, is_ink=is_ink)).decode()


# What the sections show


def _cells(views: Sequence[CellView], chosen: Sequence[CellView]) -> dict[str, Any]:
    rows = [view.row for view in views]
    hardest = [(view, hardest_images(view, count=_HARDEST)) for view in chosen]
    return {
        "cells": cell_table(views) if views else None,
        "cells_left_out": len(views) - len(chosen),
        "several_devices": len({view.results.device for view in views}) > 1,
        "fewest": FEWEST,
        "test_set_errors": [row["test_set_sem"] for row in rows if row["test_set_sem"] is not None],
        "times_independent": [
            row["std_test_accuracy"] / row["independent_error_std"]
            for row in rows
            if row["independent_error_std"]
        ],
        "one_epoch": all(len(r.epochs) < 2 for view in views for r in view.results.records),
        "hardest": [(view, images) for view, images in hardest if images is not None],
        "examples": EXAMPLES,
        "checks": list(_checks(chosen)),
    }


def _checks(views: Sequence[CellView]) -> Iterator[tuple[str, Sequence[Guess]]]:
    """The sanity check of each presentation, with its heading."""
    for group in by_presentation(views):
        if guesses := recorded_guesses(group):
            yield phrases.first_letter(describe_presentation(group[0], views)), guesses


def _sources_left_out(sweeps: Sequence[SweepResults]) -> list[str]:
    return [
        sentence
        for results in sweeps
        if results.space
        for sentence in left_out_sentences(results.space, (c.cell for c in results.cells))
    ]


def _failures(sweeps: Sequence[SweepResults], figures: Figures) -> dict[str, Any]:
    """Of each error the trials that it ended, each with the name of its cell."""
    # By key: cells of equal settings have the same trials.
    failures = {record.key: (place, record) for place, record in _failed_trials(sweeps, figures)}
    groups = grouped(failures.values(), lambda failure: failure[1].error).values()
    shown = [(len(group), group[:_MOST_FAILURES]) for group in groups][:_MOST_FAILURES]
    left_out = len(failures) - sum(len(group) for _, group in shown)
    return {"failures": shown, "failures_left_out": left_out}


def _failed_trials(
    sweeps: Sequence[SweepResults], figures: Figures
) -> Iterator[tuple[str, Record]]:
    """Those of cells, of searches, and those that vary one source alone, each with its place."""
    labels = {view.results.key: view.label for view in figures.views}
    for view in figures.views:
        yield from ((view.label, record) for record in view.results.failed)
    for search, _ in figures.searches:
        yield from search.failures()
    for results in sweeps:
        for each, record in results.recorded():
            if record.source and record.status is Status.FAILED:
                cell = labels.get(each.key, record.architecture)
                yield f"{cell}, {record.source} alone", record


# Text


def _summary(sweeps: Sequence[SweepResults], views: Sequence[CellView]) -> str:
    """What the page is about, under its title."""
    datasets = " and ".join(dict.fromkeys(results.dataset for results in sweeps))
    # By sweep and key: cells of equal settings have the same trials.
    trials = {(view.results.sweep, r.key) for view in views for r in view.results.finished}
    searched = sum(len(each.finished) for results in sweeps for each in results.searched)
    more = f"; {searched:,} more in the search" if searched else ""
    spreads = [spread for results in sweeps for spread in results.spreads]
    varied = sum(len(each.finished) for spread in spreads for each in spread.varied.values())
    more += f"; {varied:,} more that vary one source of randomness alone" if varied else ""
    return (
        f"Mean test accuracy on {datasets or 'no data yet'}, with its uncertainty: "
        f"{counted(len(trials), 'finished trial')} in {counted(len(views), 'cell')}{more}"
    )


def _range(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _unbroken(sentence: str) -> str:
    """`sentence` with spaces and dashes that no line breaks at."""
    for breaking in (" = ", " < ", " % CI ", " %"):
        sentence = sentence.replace(breaking, breaking.replace(" ", "\N{NO-BREAK SPACE}"))
    return sentence.replace(DASH, f"\N{WORD JOINER}{DASH}\N{WORD JOINER}")
