"""The report as one page that needs nothing else: no network, no scripts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mnist_ray.analysis.agreement import predictions_of
from mnist_ray.analysis.findings import findings
from mnist_ray.analysis.sweep_results import SweepResults, varying_hyperparameters
from mnist_ray.analysis.tables import Tables
from mnist_ray.ledger.record import Record
from mnist_ray.view.cell_views import (
    CellView,
    SearchView,
    architecture_series,
    by_presentation,
    choose,
    describe_presentation,
    label_comparisons,
    make_cell_views,
    make_search_views,
)
from mnist_ray.view.charts import (
    Chart,
    confusion_charts,
    difference_charts,
    dot_charts,
    first_letter,
    learning_charts,
    robustness_chart,
    search_chart,
)
from mnist_ray.view.examples import DIGITS, HardDigit, SanityCheck, hardest_digits, sanity_check

_MOST_ROWS = 60
"""Rows of a table; the rest is in the Parquet files."""
_MOST_CELLS = 12
"""Cells that have pictures of their own."""
_MOST_FAILURES = 50
_HARDEST = 6


@dataclass(frozen=True)
class Hard:
    """The hardest digits of a cell."""

    label: str
    series: int
    trials: int
    digits: Sequence[HardDigit]


@dataclass(frozen=True)
class Check:
    """The sanity check of one presentation."""

    heading: str
    check: SanityCheck
    labels: Sequence[str]
    series: Sequence[int]


@dataclass(frozen=True, eq=False)
class Searched:
    """A search and its figure."""

    search: SearchView
    chart: Chart | None


@dataclass(frozen=True)
class Provenance:
    """What a sweep ran with: facts by name, and its space as YAML."""

    name: str
    dataset_info: Sequence[tuple[str, str]]
    space: str | None


_MINUS, _DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def render(sweeps: Sequence[SweepResults], tables: Tables) -> str:
    """The page of one sweep, or of several side by side, as HTML.

    `tables` are those of the same reviews. Equal input gives the same text, byte for byte.
    """
    views, searches = make_cell_views(sweeps, tables), make_search_views(sweeps, tables)
    chosen = choose(views, _MOST_CELLS)
    comparisons = label_comparisons(tables.comparisons.to_pylist())
    series = architecture_series(sweeps)
    failures = _failures(views, searches)
    variants = list(dict.fromkeys(view.cell_results.cell.variant for view in views))
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            title=", ".join(results.name for results in sweeps),
            css=Markup((_HERE / "report.css").read_text()),  # noqa: S704 (the project's own)
            architectures=series,
            summary=_summary(sweeps, views),
            findings=[_unbroken(sentence) for sentence in findings(tables)],
            conditional=_conditional(views),
            views=views[:_MOST_ROWS],
            entries_left_out=max(0, len(views) - _MOST_ROWS),
            by_rule="satisfied" in tables.report.column_names,
            settings=varying_hyperparameters([view.cell_results for view in views]),
            several_sweeps=len(sweeps) > 1,
            several_devices=len({view.cell_results.device for view in views}) > 1,
            searches=[
                Searched(search, search_chart(search, number=number))
                for number, search in enumerate(searches)
            ],
            searched=list(dict.fromkeys(name for search in searches for name in search.columns)),
            trials=list(dot_charts(views)),
            differences=difference_charts(comparisons, series),
            comparisons=comparisons[:_MOST_ROWS],
            comparisons_left_out=max(0, len(comparisons) - _MOST_ROWS),
            learning=learning_charts(chosen),
            one_epoch=all(len(r.epochs) < 2 for e in views for r in e.cell_results.records),
            robustness=robustness_chart(views, tables, variants),
            confusion=confusion_charts(chosen),
            hardest=list(_hardest(chosen)),
            checks=list(_checks(chosen)),
            cells_left_out=len(views) - len(chosen),
            digits=DIGITS,
            failures=failures[:_MOST_FAILURES],
            failures_left_out=max(0, len(failures) - _MOST_FAILURES),
            provenance=[_provenance(results) for results in sweeps],
            left_out=[(results.name, results.left_out) for results in sweeps if results.left_out],
        )
    )


_HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure_text
    return environment


def _figure_text(value: float | None, digits: int = 4) -> str:
    """A number in a table; a dash where there is none."""
    return _DASH if value is None else f"{value:.{digits}f}".replace("-", _MINUS)


# Text


def _summary(sweeps: Sequence[SweepResults], views: Sequence[CellView]) -> str:
    """What the page is about, under its title."""
    datasets = " and ".join(dict.fromkeys(results.dataset for results in sweeps))
    trials = sum(view.row["trials"] for view in views)
    searched = sum(len(each.finished) for results in sweeps for each in results.searched)
    more = f"; {searched:,} more in the search" if searched else ""
    return (
        f"Mean test accuracy on {datasets or 'no data yet'}, with its uncertainty: "
        f"{_counted(trials, 'finished trial')} in {_counted(len(views), 'cell')}{more}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _conditional(views: Sequence[CellView]) -> str:
    """The sentence on what the intervals do not hold."""
    start = (
        "All intervals are conditional on this test set and on where its digits lie: they tell "
        "what more trials would do, not what other test digits would."
    )
    rows = [view.row for view in views]
    own = [row["test_set_sem"] for row in rows if row["test_set_sem"] is not None]
    ratios = [
        row["std_test_accuracy"] / row["independent_error_std"]
        for row in rows
        if row["independent_error_std"]
    ]
    if own:
        start += (
            " That there are only so many test digits leaves a standard error of "
            f"{_range(own, 4)} in each mean, which more trials never shrink."
        )
    if ratios:
        start += (
            f" The spread over trials is {_range(ratios, 1)} times what errors independent of each "
            "other would make on this test set alone."
        )
    return start


def _range(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _unbroken(sentence: str) -> str:
    """`sentence` with spaces and dashes that no line breaks at."""
    for breaking in (" = ", " < ", " % CI ", " %"):
        sentence = sentence.replace(breaking, breaking.replace(" ", "\N{NO-BREAK SPACE}"))
    return sentence.replace(_DASH, f"\N{WORD JOINER}{_DASH}\N{WORD JOINER}")


# Digits


def _hardest(views: Sequence[CellView]) -> Iterator[Hard]:
    for view in views:
        predictions = predictions_of(view.cell_results.finished, view.test_set)
        if predictions is not None and view.test_set is not None:
            digits = hardest_digits(view.cell_results, predictions, view.test_set, count=_HARDEST)
            yield Hard(view.label, view.series, len(predictions), digits)


def _checks(views: Sequence[CellView]) -> Iterator[Check]:
    for group in by_presentation(views):
        test_set = group[0].test_set
        found = sanity_check([view.cell_results for view in group], test_set) if test_set else None
        if found:
            known = {id(guess.cell_results) for guess in found.guesses}
            told = [view for view in group if id(view.cell_results) in known]
            yield Check(
                heading=first_letter(describe_presentation(group[0], views)),
                check=found,
                labels=[view.short_label for view in told],
                series=[view.series for view in told],
            )


# Failures and provenance


def _failures(
    views: Sequence[CellView], searches: Sequence[SearchView]
) -> list[tuple[str, Record]]:
    measured = [(view.label, record) for view in views for record in view.cell_results.failed]
    return [*measured, *(failure for search in searches for failure in search.failures)]


def _provenance(results: SweepResults) -> Provenance:
    cells_results = (*results.cells_results, *results.searched)
    records = [record for cell_results in cells_results for record in cell_results.records]
    settings = [record.setting for record in records if record.setting]
    versions = [setting.versions for setting in settings]
    dataset_info = [
        ("data set", results.dataset),
        ("fingerprint of the data", _distinct(record.identity["data"] for record in records)),
        ("test images", f"{len(results.test_set.labels):,}" if results.test_set else ""),
        ("seed of the sweep", _distinct(record.identity["seed"] for record in records)),
        ("seeds of the trials", _distinct(record.trial_seed for record in records)),
        *(
            (name, _distinct(getattr(v, f"{name.lower()}_version") for v in versions))
            for name in ("Python", "TensorFlow", "Keras", "Ray", "NumPy")
        ),
        ("commit", _distinct(s.git_commit for s in settings if s.git_commit)),
        ("machine", _distinct(s.node for s in settings)),
        ("device", _distinct(s.device for s in settings)),
        ("threads of a trial", _distinct(s.threads for s in settings)),
        ("first start", min((f"{s.started_at:%Y-%m-%d %H:%M} UTC" for s in settings), default="")),
        ("last start", max((f"{s.started_at:%Y-%m-%d %H:%M} UTC" for s in settings), default="")),
        ("time of training", _duration(record.costs.train_seconds for record in records)),
        ("protocol", _distinct(record.identity["protocol"] for record in records)),
    ]
    space = results.space.to_yaml() if results.space else None
    return Provenance(results.name, [(name, value) for name, value in dataset_info if value], space)


def _distinct(values: Iterable[object]) -> str:
    """The different values in order of appearance, the first few."""
    seen = list(dict.fromkeys(str(value) for value in values))
    more = f" and {len(seen) - 10} more" if len(seen) > 10 else ""
    return ", ".join(seen[:10]) + more


def _duration(seconds: Iterable[float | None]) -> str:
    total = round(sum(value or 0.0 for value in seconds))
    return f"{total // 3600} h {total // 60 % 60:02} min {total % 60:02} s in all"
