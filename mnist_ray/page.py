"""The report as one page that needs nothing else: no network, no scripts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from mnist_ray import figures
from mnist_ray.agreement import predictions_of
from mnist_ray.comparisons import ARCHITECTURE, DROP
from mnist_ray.examples import DIGITS, HardDigit, SanityCheck, hardest_digits, sanity_check
from mnist_ray.findings import findings
from mnist_ray.ledger import TestSet
from mnist_ray.record import Epoch, Record
from mnist_ray.review import (
    Outcome,
    Review,
    labels,
    shown_value,
    varying_hyperparameters,
)
from mnist_ray.statistics import confusion_matrix
from mnist_ray.tables import Tables

_MOST_ROWS = 60
"""Rows of a figure or of the table; the rest is in the Parquet files."""
_MOST_PAIRS = 24
"""Comparisons of a kind in a figure."""
_MOST_CELLS = 12
"""Cells that have pictures of their own."""
_MOST_LINES = 8
_MOST_CURVES = 100
"""Trials of a cell that have a line of their own."""
_MOST_FAILURES = 50
_HARDEST = 6
_CLASSES_WITH_NUMBERS = 12


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of the report, with all that the page shows of it."""

    outcome: Outcome
    row: dict[str, Any]
    """Of report.parquet."""
    label: str
    short_label: str
    """Without the variant, where that is said already."""
    series: int
    """The number of its architecture's colour."""
    test_set: TestSet | None
    shifts: tuple[int, ...]

    def setting(self, name: str) -> str:
        """The value of a hyperparameter; empty where the cell has none."""
        columns = self.outcome.cell.columns()
        return shown_value(columns[name]) if name in columns else ""

    @property
    def presentation(self) -> tuple[str, str, int, int]:
        """Equal where the test digits are the same."""
        cell = self.outcome.cell
        return self.outcome.sweep, cell.variant, cell.shift, cell.canvas


@dataclass(frozen=True)
class Picture:
    """A figure with its caption."""

    svg: Markup
    caption: str
    series: int | None = None


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


@dataclass(frozen=True)
class Provenance:
    """What a sweep ran with: facts by name, and its space as YAML."""

    name: str
    facts: Sequence[tuple[str, str]]
    space: str | None


_MINUS, _DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


LabelledRow = tuple[str, dict[str, Any]]
"""A row of comparisons.parquet with its label."""


def render(reviews: Sequence[Review], tables: Tables) -> str:
    """The page of one sweep, or of several side by side, as HTML.

    `tables` are those of the same reviews. Equal input gives the same text, byte for byte.
    """
    entries = _entries(reviews, tables)
    chosen = _chosen(entries, _MOST_CELLS)
    comparisons = _labelled(tables.comparisons.to_pylist())
    variants = list(dict.fromkeys(entry.outcome.cell.variant for entry in entries))
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            title=", ".join(review.name for review in reviews),
            css=Markup((_HERE / "report.css").read_text()),  # noqa: S704 (the project's own)
            architectures=_architectures(entries),
            summary=_summary(entries),
            findings=[_unbroken(sentence) for sentence in findings(tables)],
            conditional=_conditional(entries),
            entries=entries[:_MOST_ROWS],
            entries_left_out=max(0, len(entries) - _MOST_ROWS),
            by_rule="satisfied" in tables.report.column_names,
            settings=varying_hyperparameters([entry.outcome for entry in entries]),
            several_sweeps=len(reviews) > 1,
            several_devices=len({entry.outcome.device for entry in entries}) > 1,
            trials=list(_dot_pictures(entries)),
            differences=_difference_pictures(comparisons, entries),
            comparisons=comparisons[:_MOST_ROWS],
            comparisons_left_out=max(0, len(comparisons) - _MOST_ROWS),
            learning=_learning_pictures(chosen),
            one_epoch=all(len(r.epochs) < 2 for e in entries for r in e.outcome.records),
            robustness=_robustness_picture(entries, tables, variants),
            confusion=_confusion_pictures(chosen),
            hardest=list(_hardest(chosen)),
            checks=list(_checks(chosen)),
            cells_left_out=len(entries) - len(chosen),
            digits=DIGITS,
            failures=_failures(entries)[:_MOST_FAILURES],
            failures_left_out=max(0, len(_failures(entries)) - _MOST_FAILURES),
            provenance=[_provenance(review) for review in reviews],
            left_out=[(review.name, review.left_out) for review in reviews if review.left_out],
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


# Entries


def _entries(reviews: Sequence[Review], tables: Tables) -> list[Entry]:
    outcomes = [outcome for review in reviews for outcome in review.outcomes]
    owners = [review for review in reviews for _ in review.outcomes]
    series = _series(outcomes)
    rows = tables.report.to_pylist()
    names = zip(labels(outcomes), labels(outcomes, variants=False), strict=True)
    return [
        Entry(
            outcome=outcome,
            row=row,
            label=label,
            short_label=short_label,
            series=series[outcome.cell.architecture],
            test_set=review.test_set,
            shifts=review.shifts,
        )
        for outcome, review, row, (label, short_label) in zip(
            outcomes, owners, rows, names, strict=True
        )
    ]


def _series(outcomes: Iterable[Outcome]) -> dict[str, int]:
    names = dict.fromkeys(outcome.cell.architecture for outcome in outcomes)
    return {name: number % figures.SERIES for number, name in enumerate(names)}


def _architectures(entries: Sequence[Entry]) -> dict[str, int]:
    return {entry.outcome.cell.architecture: entry.series for entry in entries}


def _summary(entries: Sequence[Entry]) -> str:
    """What the page is about, under its title."""
    datasets = " and ".join(dict.fromkeys(entry.outcome.dataset for entry in entries))
    trials = sum(entry.row["trials"] for entry in entries)
    return (
        f"Mean test accuracy on {datasets or 'no data yet'}, with its uncertainty: "
        f"{_counted(trials, 'finished trial')} in {_counted(len(entries), 'cell')}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _chosen(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """At most `limit` finished entries, in order.

    Of each architecture and variant in turn the one with the highest validation accuracy left.
    """
    finished = [entry for entry in entries if entry.outcome.finished]
    families: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in finished:
        cell = entry.outcome.cell
        place = (entry.outcome.sweep, cell.architecture, cell.variant)
        families.setdefault(place, []).append(entry)
    rank: dict[int, int] = {}
    for family in families.values():
        family.sort(key=lambda entry: -(entry.row["mean_validation_accuracy"] or 0.0))
        rank |= {id(entry): place for place, entry in enumerate(family)}
    best = {id(entry) for entry in sorted(finished, key=lambda e: rank[id(e)])[:limit]}
    return [entry for entry in finished if id(entry) in best]


def _conditional(entries: Sequence[Entry]) -> str:
    """The sentence on what the intervals do not hold."""
    start = (
        "All intervals are conditional on this test set and on where its digits lie: they tell "
        "what more trials would do, not what other test digits would."
    )
    rows = [entry.row for entry in entries]
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


# Figures


def _dot_pictures(entries: Sequence[Entry]) -> Iterator[Picture]:
    """One for each presentation: accuracies on different test digits have scales of their own."""
    for number, group in enumerate(_grouped(entries)):
        shown = [entry for entry in group if entry.outcome.finished][:_MOST_ROWS]
        if not shown:
            continue
        rows = [_accuracy_row(entry) for entry in shown]
        where = _where(group[0], entries)
        alternative = _alternative(f"Test accuracy of every trial on {where}", rows)
        svg = figures.dots(
            rows, name=f"trials-{number}", alternative=alternative, x_label="test accuracy"
        )
        yield Picture(Markup(svg), _first_letter(where))  # noqa: S704 (escaped by figures)


def _grouped(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of each presentation."""
    groups: dict[tuple[str, str, int, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.presentation, []).append(entry)
    return list(groups.values())


def _where(entry: Entry, entries: Sequence[Entry]) -> str:
    """The entry's presentation in words, beside those of `entries`."""
    cell = entry.outcome.cell
    names = {e.presentation: (e.outcome.sweep, e.outcome.cell.variant) for e in entries}
    doubled = list(names.values()).count((entry.outcome.sweep, cell.variant)) > 1
    several = len({e.outcome.sweep for e in entries}) > 1
    return (
        f"{cell.variant} digits"
        + (f" (shift {cell.shift}, canvas {cell.canvas})" if doubled else "")
        + (f", {entry.outcome.sweep}" if several else "")
    )


def _accuracy_row(entry: Entry) -> figures.Row:
    row = entry.row
    return figures.Row(
        label=entry.short_label,
        text=f"{_estimate(row['mean_test_accuracy'], row)}, n = {row['trials']}",
        series=entry.series,
        mean=row["mean_test_accuracy"],
        low=row["ci95_low"],
        high=row["ci95_high"],
        values=[record.test.accuracy for record in entry.outcome.finished if record.test],
    )


def _difference_pictures(
    comparisons: Sequence[LabelledRow], entries: Sequence[Entry]
) -> list[Picture]:
    """One for each kind of comparison."""
    series = _architectures(entries)
    kinds = dict.fromkeys(row["kind"] for _, row in comparisons)
    pictures = []
    for number, kind in enumerate(kinds):
        chosen = [(label, row) for label, row in comparisons if row["kind"] == kind]
        rows = [_difference_row(label, row, series) for label, row in chosen[:_MOST_PAIRS]]
        caption = _KINDS.get(kind, f"Between values of {kind}")
        if len(chosen) > len(rows):
            caption += f": the first {len(rows)} of {len(chosen)}, all in comparisons.parquet"
        svg = figures.forest(
            rows,
            name=f"differences-{number}",
            alternative=_alternative(f"{caption}: difference of mean test accuracy", rows),
            x_label="difference of mean test accuracy",
        )
        pictures.append(Picture(Markup(svg), caption))  # noqa: S704
    return pictures


_KINDS = {
    DROP: "The drop from centered to shifted digits",
    ARCHITECTURE: "Between architectures",
}


def _difference_row(label: str, row: dict[str, Any], series: dict[str, int]) -> figures.Row:
    same = row["architecture_a"] == row["architecture_b"]
    return figures.Row(
        label=label,
        text=_estimate(row["mean_difference"], row),
        series=series[row["architecture_a"]] if same else None,
        mean=row["mean_difference"],
        low=row["ci95_low"],
        high=row["ci95_high"],
    )


def _labelled(comparisons: Sequence[dict[str, Any]]) -> list[LabelledRow]:
    """Each with what is subtracted from what, where, and the settings that tell it from others."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in comparisons:
        groups.setdefault(_pair_label(row), []).append(row)
    varying = {label: _varying_settings(rows) for label, rows in groups.items()}
    labels_ = [_pair_label(row) for row in comparisons]
    return [
        (" · ".join([label, *(_pair_setting(row, name) for name in varying[label])]), row)
        for label, row in zip(labels_, comparisons, strict=True)
    ]


def _pair_label(row: dict[str, Any]) -> str:
    sweep = f"{row['sweep']} · " if "sweep" in row else ""
    kind = row["kind"]
    if kind == DROP:
        return f"{sweep}{row['architecture_a']}: {row['variant_a']} {_MINUS} {row['variant_b']}"
    if kind == ARCHITECTURE:
        architectures = f"{row['architecture_a']} {_MINUS} {row['architecture_b']}"
        return f"{sweep}{row['variant_a']}: {architectures}"
    values = f"{kind} {shown_value(row[f'{kind}_a'])} {_MINUS} {shown_value(row[f'{kind}_b'])}"
    return f"{sweep}{row['architecture_a']} · {row['variant_a']}: {values}"


def _varying_settings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The hyperparameters that differ between rows of equal names."""
    named = {"architecture", "variant", "trials", rows[0]["kind"]}
    both = [column.removesuffix("_a") for column in rows[0] if column.endswith("_a")]
    return [
        name
        for name in both
        if name not in named and len({_pair_setting(row, name) for row in rows}) > 1
    ]


def _pair_setting(row: dict[str, Any], name: str) -> str:
    values = [row[f"{name}_a"], row[f"{name}_b"]]
    shown = dict.fromkeys(shown_value(value) for value in values if value is not None)
    return f"{name}={'/'.join(shown)}"


def _learning_pictures(entries: Sequence[Entry]) -> list[Picture]:
    entries = [entry for entry in entries if any(r.epochs for r in entry.outcome.finished)]
    limits = [_shared_limits(entries, pair) for pair in _MEASURES.values()]
    pictures = []
    for number, entry in enumerate(entries):
        panels = [(name, _curves(entry, pair)) for name, pair in _MEASURES.items()]
        shown = min(len(entry.outcome.finished), _MOST_CURVES)
        svg = figures.learning_curves(
            panels,
            limits=limits,
            name=f"learning-{number}",
            alternative=f"Learning curves of {shown} trials of {entry.label}: training and "
            "validation accuracy above, loss below.",
        )
        pictures.append(Picture(Markup(svg), entry.label, entry.series))  # noqa: S704
    return pictures


_Measure = Callable[[Epoch], float | None]
_MEASURES: dict[str, tuple[_Measure, _Measure]] = {
    "accuracy": (lambda e: e.train_accuracy, lambda e: e.validation_accuracy),
    "loss": (lambda e: e.train_loss, lambda e: e.validation_loss),
}
"""Of training and of validation."""


def _curves(entry: Entry, pair: tuple[_Measure, _Measure]) -> list[figures.Curve]:
    trials = entry.outcome.finished[:_MOST_CURVES]
    return [
        figures.Curve(series, [[measure(epoch) for epoch in record.epochs] for record in trials])
        for series, measure in zip((None, entry.series), pair, strict=True)
    ]


def _shared_limits(
    entries: Sequence[Entry], pair: tuple[_Measure, _Measure]
) -> tuple[float, float]:
    """Of all cells, so that their curves can be compared."""
    values = [
        value
        for entry in entries
        for curve in _curves(entry, pair)
        for line in curve.lines
        for value in line
        if value is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def _robustness_picture(
    entries: Sequence[Entry], tables: Tables, variants: Sequence[str]
) -> Picture | None:
    rows = iter(tables.robustness.to_pylist())
    # As many rows for each entry as its sweep asks for, in the same order.
    by_entry = {id(entry): [next(rows) for _ in entry.shifts] for entry in entries}
    chosen = [entry for entry in _chosen(entries, _MOST_LINES) if entry.shifts]
    lines = [_line(entry, by_entry[id(entry)], variants) for entry in chosen]
    if not lines:
        return None
    summary = "; ".join(
        f"{line.label} "
        + ", ".join(
            f"{mean:.3f} at {shift:.0f}"
            for shift, mean in zip(line.x, line.means, strict=True)
            if mean is not None
        )
        for line in lines
    )
    svg = figures.curves_over(
        lines,
        name="robustness",
        alternative=f"Mean test accuracy by shift of the test digits. {summary}.",
        x_label="shift of the test digits, pixels",
        y_label="mean test accuracy",
    )
    return Picture(Markup(svg), "")  # noqa: S704


def _line(entry: Entry, rows: Sequence[dict[str, Any]], variants: Sequence[str]) -> figures.Line:
    rows = sorted(rows, key=lambda row: row["test_shift"])
    return figures.Line(
        label=entry.label,
        series=entry.series,
        style=variants.index(entry.outcome.cell.variant),
        x=[row["test_shift"] for row in rows],
        means=[row["mean_test_accuracy"] for row in rows],
        lows=[row["ci95_low"] for row in rows],
        highs=[row["ci95_high"] for row in rows],
    )


def _confusion_pictures(entries: Sequence[Entry]) -> list[Picture]:
    matrices = [(entry, _confusion(entry)) for entry in entries]
    known = [(entry, matrix) for entry, matrix in matrices if matrix is not None]
    full_scale = max((_largest_error(matrix) for _, matrix in known), default=1.0)
    pictures = []
    for number, (entry, matrix) in enumerate(known):
        svg = figures.confusion(
            matrix,
            series=entry.series,
            full_scale=full_scale,
            numbers=len(matrix) <= _CLASSES_WITH_NUMBERS,
            name=f"confusion-{number}",
            alternative=_confusion_alternative(entry.label, matrix),
        )
        pictures.append(Picture(Markup(svg), entry.label, entry.series))  # noqa: S704
    return pictures


def _confusion(entry: Entry) -> NDArray[np.int64] | None:
    predictions = predictions_of(entry.outcome.finished, entry.test_set)
    if predictions is None or entry.test_set is None:
        return None
    return confusion_matrix(entry.test_set.labels, predictions, entry.test_set.classes)


def _errors(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """The shares of each class that are taken for each other one."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    return np.asarray(shares, np.float64)


def _largest_error(matrix: NDArray[np.int64]) -> float:
    return float(_errors(matrix).max())


def _confusion_alternative(label: str, matrix: NDArray[np.int64]) -> str:
    errors = _errors(matrix)
    order = np.argsort(-errors, axis=None)[:3]
    places = [divmod(int(place), len(matrix)) for place in order if errors.flat[place] > 0]
    worst = ", ".join(
        f"{100 * errors[truth, predicted]:.1f} % of {truth} for {predicted}"
        for truth, predicted in places
    )
    told = f"most often it takes {worst}" if worst else "no errors"
    return f"Confusion matrix of {label}: {told}."


# Digits


def _hardest(entries: Sequence[Entry]) -> Iterator[Hard]:
    for entry in entries:
        predictions = predictions_of(entry.outcome.finished, entry.test_set)
        if predictions is not None and entry.test_set is not None:
            digits = hardest_digits(entry.outcome, predictions, entry.test_set, count=_HARDEST)
            yield Hard(entry.label, entry.series, len(predictions), digits)


def _checks(entries: Sequence[Entry]) -> Iterator[Check]:
    for group in _grouped(entries):
        test_set = group[0].test_set
        found = sanity_check([entry.outcome for entry in group], test_set) if test_set else None
        if found:
            known = {id(guess.outcome) for guess in found.guesses}
            told = [entry for entry in group if id(entry.outcome) in known]
            yield Check(
                heading=_first_letter(_where(group[0], entries)),
                check=found,
                labels=[entry.short_label for entry in told],
                series=[entry.series for entry in told],
            )


# Failures and provenance


def _failures(entries: Sequence[Entry]) -> list[tuple[str, Record]]:
    return [(entry.label, record) for entry in entries for record in entry.outcome.failed]


def _provenance(review: Review) -> Provenance:
    records = [record for outcome in review.outcomes for record in outcome.records]
    settings = [record.setting for record in records if record.setting]
    versions = [setting.versions for setting in settings]
    facts = [
        ("data set", _distinct(outcome.dataset for outcome in review.outcomes)),
        ("fingerprint of the data", _distinct(record.identity["data"] for record in records)),
        ("test images", f"{len(review.test_set.labels):,}" if review.test_set else ""),
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
    space = review.space.to_yaml() if review.space else None
    return Provenance(review.name, [(name, value) for name, value in facts if value], space)


def _distinct(values: Iterable[object]) -> str:
    """The different values in order of appearance, the first few."""
    seen = list(dict.fromkeys(str(value) for value in values))
    more = f" and {len(seen) - 10} more" if len(seen) > 10 else ""
    return ", ".join(seen[:10]) + more


def _duration(seconds: Iterable[float | None]) -> str:
    total = round(sum(value or 0.0 for value in seconds))
    return f"{total // 3600} h {total // 60 % 60:02} min {total % 60:02} s in all"


# Text


def _estimate(value: float | None, row: dict[str, Any]) -> str:
    if value is None:
        return _DASH
    if row["ci95_low"] is None:
        return _number(value)
    return f"{_number(value)} [{_number(row['ci95_low'])}, {_number(row['ci95_high'])}]"


def _number(value: float) -> str:
    return f"{value:.4f}".replace("-", _MINUS)


def _alternative(what: str, rows: Sequence[figures.Row]) -> str:
    told = "; ".join(f"{row.label} {row.text}" for row in rows[:_MOST_CELLS])
    more = f"; and {len(rows) - _MOST_CELLS} more" if len(rows) > _MOST_CELLS else ""
    return f"{what}: {told}{more}."


def _unbroken(sentence: str) -> str:
    """`sentence` with spaces and dashes that no line breaks at."""
    for breaking in (" = ", " < ", " %", "CI "):
        sentence = sentence.replace(breaking, breaking.replace(" ", "\N{NO-BREAK SPACE}"))
    return sentence.replace(_DASH, f"\N{WORD JOINER}{_DASH}\N{WORD JOINER}")


def _first_letter(text: str) -> str:
    return text[:1].upper() + text[1:]
