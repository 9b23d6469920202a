"""What a sweep found, in plain sentences: for the terminal and the page alike."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from mnist_ray.analysis import phrases
from mnist_ray.analysis.numbers import counted
from mnist_ray.analysis.search_findings import search_findings
from mnist_ray.analysis.settings import canonical, grouped, shown_value, varying, varying_by_family
from mnist_ray.analysis.spread import spread_findings
from mnist_ray.analysis.sweep_results import Selection, SweepResults
from mnist_ray.analysis.tables import CELL, CELL_A, CELL_B, DROP, Row, Tables
from mnist_ray.analysis.trial_findings import failures, trial_findings
from mnist_ray.space.columns import SWEEP

_MOST_ARCHITECTURE_PAIRS = 3
"""On one presentation of the images; more are read in the table and the figure."""
_MOST_PAIRS_ACROSS = 6
"""Of cells of different sweeps; more are read in the table and the figure."""
_MOST_SKEWED = 4


def findings(sweeps: Sequence[SweepResults], tables: Tables) -> list[str]:
    """The sentences, one finding each; `tables` are those of `sweeps`.

    What each search found, by how much each architecture's mean test accuracy dropped from centered
    to shifted images, how the architectures differ on either, and how many trials failed. Where a
    grid gives an architecture several configurations, all sentences are about the one with the
    highest validation accuracy, never test accuracy, and name it. A difference is claimed only
    where it has an interval that does not hold 0.
    """
    searches = list(search_findings(sweeps, tables).values())
    cells = tables.rows("report")
    if not any(cell["trials"] for cell in cells):
        return [*(searches or ["No trial has finished."]), *failures(sweeps)]
    subjects = _subjects(sweeps, tables, cells)
    compared = {frozenset((row[CELL_A], row[CELL_B])): row for row in tables.rows("comparisons")}
    robustness = tables.rows("robustness")
    two = (pair for a, b in combinations(subjects, 2) for pair in product(a.cells, b.cells))
    pairs = [_ordered(*pair, compared) for pair in two]
    return [
        *searches,
        *(sentence for subject in subjects for sentence in _of_one(subject, compared)),
        *_of_two(pairs),
        *(sentence for subject in subjects for sentence in _largest_loss(subject, robustness)),
        *_across_sweeps(pairs),
        *_single_trials(cells),
        *spread_findings(tables),
        *_skewed(cells),
        *trial_findings(sweeps),
    ]


_Compared = Mapping[frozenset[str], Row]
"""Rows of comparisons by the keys of their two cells."""


# What the sentences are about


@dataclass(frozen=True)
class _Measured:
    """A row of the report that sentences are about."""

    row: Row
    name: str
    """Its architecture, with what tells it from others of its name."""
    presentation: str
    """The variant; with shift and canvas where the architecture has several of it."""
    place: Sequence[object]
    """Equal for cells that differ in no more than the architecture and its settings."""

    @property
    def images(self) -> str:
        return f"{self.presentation} {phrases.images(self.row['dataset'])}"


_Pair = tuple[_Measured, _Measured, Row | None]


@dataclass(frozen=True)
class _Subject:
    """An architecture in the configuration that all sentences about it use."""

    start: str
    """The beginning of a sentence about it, which says how it was chosen."""
    cells: Sequence[_Measured]
    """One for each presentation of the images."""


def _subjects(
    sweeps: Sequence[SweepResults], tables: Tables, cells: Sequence[Row]
) -> list[_Subject]:
    """One for each architecture, sweep and device; after a search one for winner and default."""
    presented = (each.cell.presentation for results in sweeps for each in results.cells)
    presentation = [*dict.fromkeys(name for each in presented for name in each.columns())]
    columns = tables.report.column_names
    columns = columns[columns.index("variant") + 1 : columns.index("trials")]
    settings = [name for name in columns if name not in presentation]
    finished = [cell for cell in cells if cell["trials"]]
    # Over all sweeps, so that a setting in which they differ is named.
    names = varying_by_family(
        ((cell["architecture"], _role(cell)), {name: cell[name] for name in settings})
        for cell in finished
    )
    families = grouped(
        finished, lambda c: (c.get(SWEEP.name), c["architecture"], _role(c), c["device"])
    )
    return [
        _choose(family, names[architecture, role], presentation)
        for (_, architecture, role, _), family in families.items()
    ]


def _role(cell: Row) -> str | None:
    """After a search whether a cell is the winner or the default, which may have won itself."""
    selection = cell.get("selection")
    return Selection.DEFAULT.value if selection == Selection.BOTH else selection


def _choose(family: Sequence[Row], names: Sequence[str], presentation: Sequence[str]) -> _Subject:
    """By validation accuracy, of those with trials on the most presentations.

    `names` are the settings that tell configurations apart. A search has a winner of its own for
    each variant, so there they tell nothing.
    """
    role = _role(family[0])
    names = [] if role == Selection.WINNER else names
    configurations = grouped(family, lambda cell: canonical([cell[name] for name in names]))
    best = max(configurations.values(), key=lambda chosen: (len(chosen), _score(chosen)))
    first = best[0]
    name = _name(first, names)
    start = f"{phrases.sweep(first)}{name}{phrases.device(first)}"
    if len(configurations) > 1:
        known = first["mean_validation_accuracy"] is not None
        how = "with the highest validation accuracy" if known else "that comes first"
        start += f", of {len(configurations)} configurations the one {how}"
    of_a_place = (SWEEP.name, "variant", *presentation, "device")
    cells = []
    for row in best:
        place = [row.get(column) for column in of_a_place]
        cells.append(_Measured(row, name, _presented(row, best, presentation), place))
    return _Subject(start, cells)


def _name(row: Row, names: Sequence[str]) -> str:
    """The architecture with its role in a search and those settings: `cnn (dropout=0.3)`."""
    settings = (f"{name}={shown_value(row[name])}" for name in names)
    notes = ", ".join(filter(None, [_role(row), *settings]))
    return f"{row['architecture']}{f' ({notes})' if notes else ''}"


def _score(cells: Sequence[Row]) -> float:
    return sum(cell["mean_validation_accuracy"] or 0.0 for cell in cells) / len(cells)


def _presented(row: Row, rows: Iterable[Row], presentation: Sequence[str]) -> str:
    same = [each for each in rows if each["variant"] == row["variant"]]
    names = varying({name: each[name] for name in presentation} for each in same)
    differing = ", ".join(f"{name} {row[name]}" for name in names)
    return f"{row['variant']}{f' ({differing})' if differing else ''}"


# Sentences on one architecture


def _of_one(subject: _Subject, compared: _Compared) -> Iterator[str]:
    """Its drops, and its means that no drop has."""
    mentioned: set[str] = set()
    for pair in combinations(subject.cells, 2):
        a, b, row = _ordered(*pair, compared)
        if row and row["kind"] == DROP:
            mentioned |= {row[CELL_A], row[CELL_B]}
            yield f"{subject.start}: {_drop(a, b, row)}."
    for cell in subject.cells:
        # After a search its own sentence has the mean.
        if cell.row[CELL] not in mentioned and cell.row.get("selection") is None:
            mean = phrases.mean(cell.row)
            yield f"{subject.start}: mean test accuracy {mean} on {cell.images}."


def _drop(a: _Measured, b: _Measured, row: Row) -> str:
    from_, to = phrases.mean(a.row), phrases.mean(b.row)
    if phrases.is_tie(row):
        return f"tied on {a.presentation} and {b.images} with {from_}, equal in every trial"
    means = f"mean test accuracies of {from_} on {a.presentation} and {to} on {b.images}"
    if phrases.holds_zero(row):
        return f"no difference shown between {means}: difference {phrases.difference(row)}"
    if row["ci95_low"] is None:
        return f"{means}: {phrases.observed(row)}"
    sign = 1 if row["mean_difference"] > 0 else -1
    verb = "dropped" if sign > 0 else "rose"
    return (
        f"mean test accuracy {verb} from {from_} on {a.presentation} to {to} on {b.images}, "
        f"by {phrases.difference(row, sign=sign)}"
    )


# Sentences on two architectures


def _ordered(a: _Measured, b: _Measured, compared: _Compared) -> _Pair:
    """In the order in which they are compared, and how they compare, if they are."""
    row = compared.get(frozenset((a.row[CELL], b.row[CELL])))
    return (b, a, row) if row and row[CELL_A] != a.row[CELL] else (a, b, row)


def _of_two(pairs: Iterable[_Pair]) -> Iterator[str]:
    """How they differ, on one presentation after the other."""
    places: dict[str, list[str]] = {}
    for a, b, row in pairs:
        if _are_alike(a, b):
            sweep = phrases.sweep(a.row)
            place = f"{sweep}{'on' if sweep else 'On'} {a.images}{phrases.device(a.row)}"
            sentence = f"{place}: {_architectures(row, a.name, b.name)}."
            places.setdefault(place, []).append(sentence)
    for sentences in places.values():
        if len(sentences) <= _MOST_ARCHITECTURE_PAIRS:
            yield from sentences


def _across_sweeps(pairs: Iterable[_Pair]) -> Iterator[str]:
    """How cells of different sweeps differ that differ in one thing."""
    sentences = [
        f"Between sweeps: {_architectures(row, _in_sweep(a), _in_sweep(b))}."
        for a, b, row in pairs
        if row and a.row.get(SWEEP.name) != b.row.get(SWEEP.name)
    ]
    yield from sentences[:_MOST_PAIRS_ACROSS]
    more = len(sentences) - _MOST_PAIRS_ACROSS
    if more > 0:
        yield f"Between sweeps: comparisons.parquet has {counted(more, 'more comparison')}."


def _in_sweep(cell: _Measured) -> str:
    device = phrases.device(cell.row)
    return f"{cell.name} on {cell.images}{device} in {cell.row[SWEEP.name]}"


def _are_alike(a: _Measured, b: _Measured) -> bool:
    """Whether two cells are of different architectures, and should be compared.

    A winner is not compared with the default of another architecture.
    """
    roles = {_role(a.row), _role(b.row)} - {None}
    are_two = a.row["architecture"] != b.row["architecture"]
    return a.place == b.place and len(roles) < 2 and are_two


def _architectures(row: Row | None, a: str, b: str) -> str:
    if row is None:
        return f"{a} and {b} are not compared: they differ in more than the architecture"
    if phrases.is_tie(row):
        return f"{a} and {b} are tied, equal in every trial"
    sign = 1 if row["mean_difference"] > 0 else -1
    higher, lower = (a, b) if sign > 0 else (b, a)
    size = phrases.difference(row, sign=sign)
    if phrases.holds_zero(row):
        return f"no difference shown between {higher} and {lower}: difference {size}"
    if row["ci95_low"] is None:
        return f"{higher} minus {lower}: {phrases.observed(row, sign=sign)}"
    return f"the mean of {higher} is above that of {lower} by {size}"


def _largest_loss(subject: _Subject, robustness: Sequence[Row]) -> list[str]:
    """Where it loses most on the images of another variant; nothing where there is no loss.

    The loss of a model is its accuracy on its own variant's test images minus that on the others.
    """
    losses = _on_other_variants(subject, robustness)
    row = max(losses, key=lambda each: each["mean_drop"], default=None)
    if row is None or row["mean_drop"] <= 0 or (row["drop_ci95_low"] or 0.0) < 0:
        return []
    bounds = phrases.interval(
        {"ci95_low": row["drop_ci95_low"], "ci95_high": row["drop_ci95_high"]}
    )
    note = ", ".join(filter(None, [bounds, f"n = {row['trials']}"]))
    chance = "" if bounds else ", which may be chance"
    images = phrases.images(row["dataset"])
    own = row["mean_test_accuracy"] + row["mean_drop"]
    return [
        f"{subject.start} loses most where it is trained on {row['variant']} and tested on "
        f"{row['test_variant']} {images}: {row['mean_test_accuracy']:.3f}, and {own:.3f} on its "
        f"own test {images}, a loss of {row['mean_drop']:.3f} ({note}){chance}."
    ]


def _on_other_variants(subject: _Subject, robustness: Sequence[Row]) -> list[Row]:
    """Its rows of robustness.parquet that are of images of other variants, with trials."""
    keys = {cell.row[CELL] for cell in subject.cells}
    own = [row for row in robustness if row[CELL] in keys and row["trials"]]
    return [row for row in own if row["test_variant"] != row["variant"]]


# Sentences on trials


def _single_trials(cells: Iterable[Row]) -> list[str]:
    if max(cell["trials"] for cell in cells) > 1:
        return []
    return ["One trial tells nothing of its uncertainty: give --trials 2 or more."]


def _skewed(cells: Iterable[Row]) -> list[str]:
    """Cells some of whose trials are far below the others, with the lowest accuracy."""
    lowest: dict[str, float] = {}
    for cell in cells:
        if cell["left_skewed"]:
            architecture = f"{cell['architecture']}{phrases.device(cell)}"
            name = phrases.cell({**cell, "architecture": architecture})
            lowest[name] = min(cell["min_test_accuracy"], lowest.get(name, 1.0))
    if not lowest:
        return []
    worst = sorted(lowest, key=lowest.__getitem__)
    named = [f"{name} (lowest {lowest[name]:.3f})" for name in worst[:_MOST_SKEWED]]
    more = f" and {len(worst) - _MOST_SKEWED} more" if len(worst) > _MOST_SKEWED else ""
    return [
        f"Some trials are far below the others: {', '.join(named)}{more}. Intervals cover such "
        "means less often than 95 %: run more trials, and look at the minimum."
    ]
