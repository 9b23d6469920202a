"""What goes into a paper: the main table as Markdown and LaTeX, and the figures as files."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mnist_ray.analysis.numbers import DASH, number
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Tables
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.view.cell_table import cell_table, in_order
from mnist_ray.view.cell_views import CellView, Row
from mnist_ray.view.figures import Figures
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
    figures = Figures(sweeps, tables)
    table = paper_table(figures.views)
    files = {"table.md": as_markdown(table).encode(), "table.tex": as_latex(table).encode()}
    for name, chart in _named(figures.all()):
        for kind in _KINDS:
            buffer = io.BytesIO()
            chart.write(buffer, kind)
            files[f"{name}.{kind}"] = buffer.getvalue()
    for name, content in files.items():
        folder.write(name, content)
    return list(files)


_KINDS: Sequence[Literal["pdf", "svg"]] = ("pdf", "svg")


def _named(charts: Iterable[Chart]) -> Iterator[tuple[str, Chart]]:
    """Each figure with the name of its files: what it is, and the caption as far as it goes."""
    for chart in charts:
        words = re.sub(r"[^a-z0-9]+", "-", chart.caption.lower()).strip("-")[:60].strip("-")
        yield "-".join(filter(None, [chart.name, words])), chart
