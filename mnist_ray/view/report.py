"""The report: the tables, and one page that needs nothing else, neither network nor scripts."""

import base64
import io
from collections.abc import Iterator, Sequence
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
from mnist_ray.analysis.numbers import DASH, counted, number
from mnist_ray.analysis.spread import percent
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.trial import left_out_sentences
from mnist_ray.view.cell_table import cell_table
from mnist_ray.view.cell_views import (
    CellView,
    by_presentation,
    describe_presentation,
    grouped,
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
from mnist_ray.view.formats import FEWEST, first_letter, interval
from mnist_ray.view.matrix import test_matrices
from mnist_ray.view.notices import notices
from mnist_ray.view.provenance import differences, facts
from mnist_ray.view.spread_charts import share

_MOST_ROWS = 60
"""Rows of the table of comparisons; the rest is in the Parquet files."""
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
    views = figures.views
    images = phrases.images(*(results.dataset for results in sweeps))
    content = {
        "title": ", ".join(results.name for results in sweeps),
        "css": Markup((_PAGE / "report.css").read_text()),  # noqa: S704 (the project's own)
        "architectures": figures.series,
        "summary": _summary(sweeps, views),
        "findings": [_unbroken(sentence) for sentence in findings(tables)],
        "images": images,
        "conditional": _conditional(views, images),
        "unrequested": [(results.name, results.left_out) for results in sweeps if results.left_out],
        "sweeps": [results.name for results in sweeps],
        "between_sweeps": differences(sweeps),
        "grids": figures.grids,
        "grids_left_out": figures.grids_left_out,
        **_cells(sweeps, figures, tables),
        **_searches(figures),
        **_comparisons(figures),
        **_chosen_cells(figures),
        "spread_left_out": _sources_left_out(sweeps),
        **_failures(sweeps, figures),
        "provenance": [
            (results.name, facts(results), results.space and results.space.to_yaml())
            for results in sweeps
        ],
        "notices": notices(sweeps, views, reload_seconds=reload_seconds),
        "reload_seconds": reload_seconds,
    }
    sections = [name for name, needed in _SECTIONS.items() if needed is None or content[needed]]
    content |= {"sections": sections, "not_shown": _not_shown(sections)}
    return _environment().get_template("report.html.jinja").render(content)


_SECTIONS = {
    "findings": None,
    "grid": "grids",
    "table": "cells",
    "search": "searches",
    "trials": "trials",
    "spread": "spread",
    "differences": "differences",
    "learning": "learning",
    "robustness": "other_tests",
    "confusion": "confusion",
    "hardest": "hardest",
    "sanity": "checks",
    "failed": "failures",
    "provenance": None,
}
"""The sections of the page in order, each with what it shows; without that it is left out."""

_NO_PREDICTIONS = "no predictions are recorded, or the test set is missing"
_WHY_NOT = {
    "table": ("the cells", "there is no cell to measure yet, since no search has a winner"),
    "trials": ("every trial", "no trial whose cell is measured has finished"),
    "spread": (
        "where the spread comes from",
        "the search space does not ask for its sources (spread: {trials: 20})",
    ),
    "differences": (
        "differences",
        "no two cells with finished trials differ in one thing alone",
    ),
    "learning": ("learning curves", "no epochs are recorded"),
    "robustness": (
        "robustness",
        "the search space does not ask for other test sets "
        "(evaluate: {shifts: [0, 5, 10]}, or {variants: all})",
    ),
    "confusion": ("confusion matrices", _NO_PREDICTIONS),
    "hardest": ("the hardest images", _NO_PREDICTIONS),
    "sanity": ("sanity check", _NO_PREDICTIONS),
}
"""What a section shows, and why it may have nothing to show."""


def _not_shown(sections: Sequence[str]) -> dict[str, str]:
    return dict(words for name, words in _WHY_NOT.items() if name not in sections)


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
    environment.filters |= {"percent": percent, "share": share}
    return environment


def _png(image: NDArray[np.uint8], view: CellView | Guess) -> str:
    """An image of the data of `view` as data: URI."""
    is_ink = phrases.images(view.results.dataset) == "digits"
    return "data:image/png;base64," + base64.b64encode(image_png(image, is_ink=is_ink)).decode()


# What the sections show


def _cells(sweeps: Sequence[SweepResults], figures: Figures, tables: Tables) -> dict[str, Any]:
    views, matrices = figures.views, list(test_matrices(sweeps, figures.views))
    return {
        "cells": cell_table(views) if views else None,
        "skewed": any(view.row["left_skewed"] for view in views),
        "by_rule": "satisfied" in tables.report.column_names,
        "any_failed": any(view.row["failed"] for view in views),
        "fewest": FEWEST,
        "few": any(0 < view.row["trials"] < FEWEST for view in views),
        "several_devices": len({view.results.device for view in views}) > 1,
        "trials": figures.trials,
        "robustness": figures.robustness,
        "matrices": matrices,
        "other_tests": figures.robustness or matrices,
    }


def _searches(figures: Figures) -> dict[str, Any]:
    columns = (name for search, _ in figures.searches for name in search.columns)
    return {
        "searches": [{"view": search, "chart": chart} for search, chart in figures.searches],
        "searched": list(dict.fromkeys(columns)),
    }


def _comparisons(figures: Figures) -> dict[str, Any]:
    return {
        "differences": figures.differences,
        "comparisons": figures.comparisons[:_MOST_ROWS],
        "comparisons_left_out": max(0, len(figures.comparisons) - _MOST_ROWS),
    }


def _chosen_cells(figures: Figures) -> dict[str, Any]:
    views, chosen = figures.views, figures.chosen
    hardest = [(view, hardest_images(view, count=_HARDEST)) for view in chosen]
    return {
        "cells_left_out": len(views) - len(chosen),
        "spread": figures.spread,
        "learning": figures.learning,
        "one_epoch": all(len(r.epochs) < 2 for view in views for r in view.results.records),
        "confusion": figures.confusion,
        "hardest": [(view, images) for view, images in hardest if images is not None],
        "examples": EXAMPLES,
        "checks": list(_checks(chosen)),
    }


def _checks(views: Sequence[CellView]) -> Iterator[tuple[str, Sequence[Guess]]]:
    """The sanity check of each presentation, with its heading."""
    for group in by_presentation(views):
        guesses = recorded_guesses(group)
        if guesses:
            yield first_letter(describe_presentation(group[0], views)), guesses


def _sources_left_out(sweeps: Sequence[SweepResults]) -> list[str]:
    return [
        sentence
        for results in sweeps
        if results.space
        for sentence in left_out_sentences(results.space, (c.cell for c in results.cells))
    ]


def _failures(sweeps: Sequence[SweepResults], figures: Figures) -> dict[str, Any]:
    views = figures.views
    measured = [(view.label, record) for view in views for record in view.results.failed]
    searched = [failure for search, _ in figures.searches for failure in search.failures()]
    labels = {view.results.key: view.label for view in views}
    varied = [
        (f"{labels.get(spread.ordinary.key, record.architecture)}, {record.source} alone", record)
        for results in sweeps
        for spread in results.spreads
        for record in spread.failed
    ]
    # By key: cells of equal settings have the same trials.
    failures = {record.key: (place, record) for place, record in [*measured, *searched, *varied]}
    of_an_error = grouped(failures.values(), lambda failure: failure[1].error)
    shown = [(len(group), group[:_MOST_FAILURES]) for group in of_an_error.values()]
    left_out = len(failures) - sum(len(group) for _, group in shown[:_MOST_FAILURES])
    return {"failures": shown[:_MOST_FAILURES], "failures_left_out": left_out}


# Text


def _summary(sweeps: Sequence[SweepResults], views: Sequence[CellView]) -> str:
    """What the page is about, under its title."""
    datasets = " and ".join(dict.fromkeys(results.dataset for results in sweeps))
    # By sweep and key: cells of equal settings have the same trials.
    trials = {(view.results.sweep, r.key) for view in views for r in view.results.finished}
    searched = sum(len(each.finished) for results in sweeps for each in results.searched)
    more = f"; {searched:,} more in the search" if searched else ""
    varied = sum(len(each.finished) for results in sweeps for each in results.spreads)
    more += f"; {varied:,} more that vary one source of randomness alone" if varied else ""
    return (
        f"Mean test accuracy on {datasets or 'no data yet'}, with its uncertainty: "
        f"{counted(len(trials), 'finished trial')} in {counted(len(views), 'cell')}{more}"
    )


def _conditional(views: Sequence[CellView], images: str) -> str:
    """The sentences on what the intervals do not include."""
    rows = [view.row for view in views]
    own = [row["test_set_sem"] for row in rows if row["test_set_sem"] is not None]
    ratios = [
        row["std_test_accuracy"] / row["independent_error_std"]
        for row in rows
        if row["independent_error_std"]
    ]
    sentences = [
        f"All intervals are conditional on this test set and on where its {images} lie: they say "
        f"what more trials would give, not what other test {images} would."
    ]
    if own:
        sentences.append(
            f"That there are only so many test {images} leaves a standard error of "
            f"{_range(own, 4)} in each mean, which more trials never reduce."
        )
    if ratios:
        sentences.append(
            f"The spread over trials is {_range(ratios, 1)} times what errors independent of each "
            "other would give on this test set alone."
        )
    return " ".join(sentences)


def _range(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _unbroken(sentence: str) -> str:
    """`sentence` with spaces and dashes that no line breaks at."""
    for breaking in (" = ", " < ", " % CI ", " %"):
        sentence = sentence.replace(breaking, breaking.replace(" ", "\N{NO-BREAK SPACE}"))
    return sentence.replace(DASH, f"\N{WORD JOINER}{DASH}\N{WORD JOINER}")
