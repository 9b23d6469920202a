"""What goes into a paper: the main table as Markdown and LaTeX, and the figures as files."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mnist_ray.analysis.grids import grids
from mnist_ray.analysis.numbers import DASH, number
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.view.cell_table import cell_table, in_order
from mnist_ray.view.cell_views import (
    MOST_CELLS,
    CellView,
    Row,
    architecture_series,
    choose,
    label_comparisons,
    make_cell_views,
    make_search_views,
)
from mnist_ray.view.confusion_charts import confusion_charts
from mnist_ray.view.grid_charts import grid_charts
from mnist_ray.view.panel_charts import learning_charts, robustness_chart
from mnist_ray.view.row_charts import difference_charts, trial_charts
from mnist_ray.view.search_charts import search_chart
from mnist_ray.view.spread_charts import spread_views
from mnist_ray.view.svg import Chart

_PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_MEAN = "test accuracy"


@dataclass(frozen=True)
class PaperTable:
    """The table of means as text, one row a cell."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: int
    """How many of its last columns hold figures, and are aligned to the right."""


def paper_table(views: Sequence[CellView]) -> PaperTable:
    """Each cell's mean ± the half-width of its 95 % interval, and n; many cells sorted by mean."""
    settings = cell_table(views).settings
    given = [kind for kind in ("sweep", "selection", "device") if _any_has(views, kind)]
    before = ["sweep"] if "sweep" in given else []
    after = [kind for kind in given if kind != "sweep"]
    rows = [
        [
            *(view.parts.get(kind, "") for kind in before),
            view.cell.architecture,
            view.cell.variant,
            *(view.parts.get(kind, "") for kind in after),
            *(view.setting(name) for name in settings),
            _mean(view.row),
            str(view.row["trials"]),
        ]
        for view in in_order(views)
    ]
    headings = [*before, "architecture", "variant", *after, *settings, _MEAN, "n"]
    return PaperTable(headings, rows, figures=2)


def _any_has(views: Sequence[CellView], kind: str) -> bool:
    return any(kind in view.parts for view in views)


def _mean(row: Row) -> str:
    mean, low, high = (row[name] for name in ("mean_test_accuracy", "ci95_low", "ci95_high"))
    if mean is None:
        return DASH
    if low is None:
        return number(mean)
    return f"{number(mean)} {_PLUS_MINUS} {number((high - low) / 2)}"


# Markdown


def as_markdown(table: PaperTable) -> str:
    """A table as GitHub and pandoc read it."""
    names = len(table.headings) - table.figures
    rule = ["---"] * names + ["---:"] * table.figures
    lines = [table.headings, rule, *table.rows]
    texts = [[_markdown(text) if line is not rule else text for text in line] for line in lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in texts)


def _markdown(text: str) -> str:
    """`text` as itself, whatever it holds."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!$])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


# LaTeX

_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    _PLUS_MINUS: r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    DASH: "--",
}


def as_latex(table: PaperTable) -> str:
    """A tabular for the package booktabs, to be put into a table environment."""
    columns = "l" * (len(table.headings) - table.figures) + "r" * table.figures
    return "\n".join(
        [
            "% Mean test accuracy over n trials, with the half-width of its 95 % interval.",
            r"% Needs \usepackage{booktabs}; quotation marks also \usepackage[T1]{fontenc}.",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            _latex_row(table.headings),
            r"\midrule",
            *map(_latex_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in _one_line(text))


# Files


def export_folder(location: str) -> ResultsFolder:
    """Where to export to, checked to be writable.

    Raises:
        InputError: it is a file, or cannot be written.
    """
    folder = ResultsFolder.open(location)
    try:
        folder.check_writable()
    except InputError as error:
        raise InputError(
            f"--export {location}: tables and figures cannot be written there, which must be a "
            f"folder or URI that is writable ({error.__cause__ or error}); name another one"
        ) from error
    return folder


def export(sweeps: Sequence[SweepResults], tables: Tables, folder: ResultsFolder) -> list[str]:
    """Write the table and every figure of the page into `folder`; gives the names of the files.

    `tables` are those of `sweeps`.

    Raises:
        StorageError: something cannot be written.
    """
    views = make_cell_views(sweeps, tables)
    table = paper_table(views)
    files = {"table.md": as_markdown(table).encode(), "table.tex": as_latex(table).encode()}
    for name, chart in _named(_charts(sweeps, views, tables)):
        for kind in _KINDS:
            buffer = io.BytesIO()
            chart.drawing.write(buffer, kind)
            files[f"{name}.{kind}"] = buffer.getvalue()
    for name, content in files.items():
        folder.write(name, content)
    return list(files)


_KINDS: Sequence[Literal["pdf", "svg"]] = ("pdf", "svg")


def _charts(
    sweeps: Sequence[SweepResults], views: Sequence[CellView], tables: Tables
) -> Iterator[Chart]:
    """Those of the page, in its order."""
    by_key = {view.results.key: view for view in views}
    found = (grid for results in sweeps for grid in grids(results))
    for position, grid in enumerate(found):
        series = by_key[grid.cells[0].key].series
        yield from grid_charts(grid, series=series, position=position)
    for position, search in enumerate(make_search_views(sweeps, tables)):
        chart = search_chart(search, position=position)
        yield from [chart] if chart else []
    yield from trial_charts(in_order(views))
    chosen = choose(views, MOST_CELLS)
    yield from (spread.chart for spread in spread_views(chosen, tables))
    yield from difference_charts(label_comparisons(tables, views), architecture_series(sweeps))
    yield from learning_charts(chosen)
    robustness = robustness_chart(views)
    yield from [robustness] if robustness else []
    yield from confusion_charts(chosen)


def _named(charts: Iterable[Chart]) -> Iterator[tuple[str, Chart]]:
    """Each figure with the name of its files: what it is, and the caption as far as it goes."""
    for chart in charts:
        words = re.sub(r"[^a-z0-9]+", "-", chart.caption.lower()).strip("-")[:60].strip("-")
        yield "-".join(filter(None, [chart.drawing.name, words])), chart
