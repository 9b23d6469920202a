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
    return [
        *searches,
        *(sentence for subject in subjects for sentence in _of_one(subject, compared)),
        *_of_two(subjects, compared),
        *(sentence for subject in subjects for sentence in _largest_loss(subject, robustness)),
        *_across_sweeps(subjects, compared),
        *_single_trials(cells),
        *spread_findings(tables),
        *_skewed(cells),
        *trial_findings(sweeps),
    ]


_Compared = Mapping[frozenset[str], Row]
"""Rows of comparisons by the keys of their two cells."""


# What the sentences are about


@dataclass(frozen=True)
class _Subject:
    """An architecture in the configuration that all sentences about it use."""

    cells: Sequence[Row]
    """Its rows of the report: one for each presentation of the images."""
    settings: str
    """What tells its configuration from the architecture's others; empty where it has only one."""
    configurations: int
    """How many it was chosen from."""
    presentation: Sequence[str]
    """The columns that say how images are presented."""

    @property
    def name(self) -> str:
        """The architecture, with what tells it from others of its name."""
        notes = ", ".join(filter(None, [_role(self.cells[0]), self.settings]))
        return f"{self.cells[0]['architecture']}{f' ({notes})' if notes else ''}"

    @property
    def start(self) -> str:
        """The beginning of a sentence about it, which says how it was chosen."""
        first = self.cells[0]
        start = f"{phrases.sweep(first)}{self.name}{phrases.device(first)}"
        if self.configurations == 1:
            return start
        known = first["mean_validation_accuracy"] is not None
        how = "with the highest validation accuracy" if known else "that comes first"
        return f"{start}, of {self.configurations} configurations the one {how}"


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
    names = [] if _role(family[0]) == Selection.WINNER else names
    configurations = grouped(family, lambda cell: canonical([cell[name] for name in names]))
    best = max(configurations.values(), key=lambda chosen: (len(chosen), _score(chosen)))
    settings = ", ".join(f"{name}={shown_value(best[0][name])}" for name in names)
    return _Subject(best, settings, len(configurations), presentation)


def _score(cells: Sequence[Row]) -> float:
    return sum(cell["mean_validation_accuracy"] or 0.0 for cell in cells) / len(cells)


# Sentences on one architecture


def _of_one(subject: _Subject, compared: _Compared) -> Iterator[str]:
    """Its drops, and its means that no drop has."""
    mentioned: set[str] = set()
    for cells in combinations(subject.cells, 2):
        row = compared.get(frozenset(cell[CELL] for cell in cells))
        if row and row["kind"] == DROP:
            a, b = cells if cells[0][CELL] == row[CELL_A] else reversed(cells)
            mentioned |= {a[CELL], b[CELL]}
            yield f"{subject.start}: {_drop(a, b, row, subject)}."
    for cell in subject.cells:
        # After a search its own sentence has the mean.
        if cell[CELL] not in mentioned and cell.get("selection") is None:
            mean = phrases.mean(cell)
            yield f"{subject.start}: mean test accuracy {mean} on {_images(cell, subject)}."


def _drop(a: Row, b: Row, row: Row, subject: _Subject) -> str:
    from_, to = phrases.mean(a), phrases.mean(b)
    centered, shifted = _presentation(a, subject), _images(b, subject)
    if phrases.is_tie(row):
        return f"tied on {centered} and {shifted} with {from_}, equal in every trial"
    if phrases.holds_zero(row):
        return (
            f"no difference shown between mean test accuracies of {from_} on {centered} and {to} "
            f"on {shifted}: difference {phrases.difference(row)}"
        )
    if row["ci95_low"] is None:
        means = f"mean test accuracies of {from_} on {centered} and {to} on {shifted}"
        return f"{means}: {phrases.observed(row)}"
    sign = 1 if row["mean_difference"] > 0 else -1
    verb = "dropped" if sign > 0 else "rose"
    return (
        f"mean test accuracy {verb} from {from_} on {centered} to {to} on {shifted}, "
        f"by {phrases.difference(row, sign=sign)}"
    )


def _images(cell: Row, subject: _Subject) -> str:
    return f"{_presentation(cell, subject)} {phrases.images(cell['dataset'])}"


def _presentation(cell: Row, subject: _Subject) -> str:
    """The variant; with shift and canvas where it has several."""
    same = [each for each in subject.cells if each["variant"] == cell["variant"]]
    names = varying({name: each[name] for name in subject.presentation} for each in same)
    differing = ", ".join(f"{name} {cell[name]}" for name in names)
    return f"{cell['variant']}{f' ({differing})' if differing else ''}"


# Sentences on two architectures


_Pair = tuple[tuple[_Subject, Row], tuple[_Subject, Row], Row | None]
"""Two cells with their subjects, and how they compare, if they are compared."""


def _pairs(subjects: Sequence[_Subject], compared: _Compared) -> Iterator[_Pair]:
    for a, b in combinations(subjects, 2):
        for cell, other in product(a.cells, b.cells):
            row = compared.get(frozenset((cell[CELL], other[CELL])))
            if row and row[CELL_A] != cell[CELL]:
                yield (b, other), (a, cell), row
            else:
                yield (a, cell), (b, other), row


def _of_two(subjects: Sequence[_Subject], compared: _Compared) -> Iterator[str]:
    """How they differ, on one presentation after the other."""
    places: dict[str, list[str]] = {}
    for (a, cell), (b, other), row in _pairs(subjects, compared):
        if _are_alike(cell, other, a.presentation):
            sweep = phrases.sweep(cell)
            images = f"{_images(cell, a)}{phrases.device(cell)}"
            place = f"{sweep}{'on' if sweep else 'On'} {images}"
            sentence = f"{place}: {_architectures(row, a.name, b.name)}."
            places.setdefault(place, []).append(sentence)
    for sentences in places.values():
        if len(sentences) <= _MOST_ARCHITECTURE_PAIRS:
            yield from sentences


def _across_sweeps(subjects: Sequence[_Subject], compared: _Compared) -> Iterator[str]:
    """How cells of different sweeps differ that differ in one thing."""
    sentences = [
        f"Between sweeps: {_architectures(row, _in_sweep(*a), _in_sweep(*b))}."
        for a, b, row in _pairs(subjects, compared)
        if row and a[1].get(SWEEP.name) != b[1].get(SWEEP.name)
    ]
    yield from sentences[:_MOST_PAIRS_ACROSS]
    more = len(sentences) - _MOST_PAIRS_ACROSS
    if more > 0:
        yield f"Between sweeps: comparisons.parquet has {counted(more, 'more comparison')}."


def _in_sweep(subject: _Subject, cell: Row) -> str:
    device = phrases.device(cell)
    return f"{subject.name} on {_images(cell, subject)}{device} in {cell[SWEEP.name]}"


def _are_alike(a: Row, b: Row, presentation: Sequence[str]) -> bool:
    """Whether two cells are of different architectures, and should be compared.

    A winner is not compared with the default of another architecture.
    """
    roles = {_role(a), _role(b)} - {None}
    of_a_place = (SWEEP.name, "variant", *presentation, "device")
    same = all(a.get(name) == b.get(name) for name in of_a_place)
    return same and len(roles) < 2 and a["architecture"] != b["architecture"]


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
    keys = {cell[CELL] for cell in subject.cells}
    losses = [
        row
        for row in robustness
        if row[CELL] in keys and row["test_variant"] != row["variant"] and row["trials"]
    ]
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
