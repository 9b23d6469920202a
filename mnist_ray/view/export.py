"""What goes into a paper: the main table as Markdown and LaTeX, and the figures as files."""

import re
from collections.abc import Sequence

from mnist_ray.analysis.numbers import DASH, MINUS, number
from mnist_ray.analysis.sweep_results import SweepResults
from mnist_ray.analysis.tables import Row, Tables
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.view.cell_table import in_order
from mnist_ray.view.cell_views import CellView, varying_hyperparameters
from mnist_ray.view.figures import Figures

_PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_KINDS = ("sweep", "architecture", "variant", "selection", "device")
"""Parts of a cell's name, in this order."""

Table = Sequence[Sequence[str]]
"""The headings, then a row for each cell; the last two columns hold figures, the others names."""


def paper_table(views: Sequence[CellView]) -> Table:
    """Each cell's mean ± the half-width of its 95 % interval, and n; many cells sorted by mean."""
    given = {"architecture", "variant"}.union(*(view.parts for view in views))
    kinds = [kind for kind in _KINDS if kind in given]
    settings = varying_hyperparameters([view.results for view in views])
    rows = [
        [
            *(view.parts.get(kind, "") for kind in kinds),
            *(view.setting(name) for name in settings),
            _mean(view.row),
            str(view.row["trials"]),
        ]
        for view in in_order(views)
    ]
    return [[*kinds, *settings, "test accuracy", "n"], *rows]


def _mean(row: Row) -> str:
    mean, low, high = (row[name] for name in ("mean_test_accuracy", "ci95_low", "ci95_high"))
    if low is None:
        return number(mean)
    return f"{number(mean)} {_PLUS_MINUS} {number((high - low) / 2)}"


def _as_itself(text: str, signs: dict[int, str]) -> str:
    """`text` on one line; `signs` are written as they say."""
    return " ".join(text.split()).translate(signs)


# Markdown

_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in r"\`*_{}[]<>#|~!$"})


def as_markdown(table: Table) -> str:
    """A table as GitHub and pandoc read it."""
    headings, *rows = ([_as_itself(text, _MARKDOWN) for text in line] for line in table)
    rule = ["---"] * (len(headings) - 2) + ["---:"] * 2
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, rule, *rows))


# LaTeX

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        _PLUS_MINUS: r"$\pm$",
        MINUS: "$-$",
        DASH: "--",
    }
)


def as_latex(table: Table) -> str:
    """A tabular for the package booktabs, to be put into a table environment."""
    cells = ([_as_itself(text, _LATEX) for text in line] for line in table)
    headings, *rows = (" & ".join(line) + r" \\" for line in cells)
    columns = "l" * (len(table[0]) - 2) + "rr"
    return "\n".join(
        [
            "% Mean test accuracy over n trials, with the half-width of its 95 % interval.",
            r"% Needs \usepackage{booktabs}; quotation marks also \usepackage[T1]{fontenc}.",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            headings,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


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
    for chart in figures.all():
        # What it is, and the caption as far as it goes.
        words = re.sub(r"[^a-z0-9]+", "-", chart.caption.lower()).strip("-")[:60].strip("-")
        name = "-".join(filter(None, [chart.name, words]))
        files |= {f"{name}.{kind}": chart.as_file(kind) for kind in ("pdf", "svg")}
    for name, content in files.items():
        folder.write(name, content)
    return list(files)
