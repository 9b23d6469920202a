"""What a sweep found, in plain sentences: for the terminal and the page alike."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mnist_ray.analysis.comparisons import ARCHITECTURE, DROP
from mnist_ray.analysis.tables import SEARCH, Tables
from mnist_ray.analysis.versions import mixture_sentences
from mnist_ray.ledger.record import Status
from mnist_ray.plan.search import Stage
from mnist_ray.space.columns import SWEEP

Row = Mapping[str, Any]

_MOST_ARCHITECTURE_PAIRS = 3
"""In one variant; more are read in the table and the figure."""
_MOST_SKEWED = 4


def findings(tables: Tables) -> list[str]:
    """The sentences, one finding each.

    What each search found, by how much each architecture's mean test accuracy dropped from centered
    to shifted digits, how the architectures differ on either, and how many trials failed. Where a
    grid gives several cells, it is about those with the highest validation accuracy, never test
    accuracy.
    """
    cells = tables.report.to_pylist()
    searches = list(search_findings(tables).values())
    if not any(cell["trials"] for cell in cells):
        return [*(searches or ["No trial has finished."]), *_failures(tables)]
    by_identity = {_identity(cell, _identifying(tables)): cell for cell in cells}
    compared = [_Compared(row, by_identity, _identifying(tables)) for row in _rows(tables)]
    drops = _best(row for row in compared if row.kind == DROP)
    return [
        *searches,
        *(_drop_sentence(drop) for drop in drops),
        *_means_without_drop(cells, drops),
        *_architecture_sentences(compared),
        *_single_trials(cells),
        *_skewed(cells),
        *_failures(tables),
        *mixture_sentences(tables),
    ]


def search_findings(tables: Tables) -> dict[str, str]:
    """A sentence on each search, by its `search_key`, in the order of search.parquet."""
    searches: dict[str, list[Row]] = {}
    for row in tables.rows("search"):
        searches.setdefault(row[SEARCH], []).append(row)
    return {key: _search_sentence(rows, tables) for key, rows in searches.items()}


class _Compared:
    """A row of the comparisons, with the report's rows of both its cells."""

    def __init__(self, row: Row, cells: Mapping[str, Row], identifying: Sequence[str]) -> None:
        self.row = row
        self.kind: str = row["kind"]
        self.a = cells[_identity(row, identifying, "_a")]
        self.b = cells[_identity(row, identifying, "_b")]
        self.of = 1
        """From how many comparisons of the same names it was chosen."""

    @property
    def names(self) -> tuple[object, ...]:
        """Cells of a grid have the same."""
        return tuple(cell[name] for cell in (self.a, self.b) for name in _names_of(cell))

    @property
    def validation_accuracy(self) -> float:
        """Of both cells together; for choosing."""
        return sum(cell["mean_validation_accuracy"] or 0.0 for cell in (self.a, self.b))


def _rows(tables: Tables) -> Iterable[Row]:
    rows: list[Row] = tables.comparisons.to_pylist()
    kinds = (DROP, ARCHITECTURE)
    of_one_sweep = (row for row in rows if row.get(SWEEP.name, "") is not None)
    return (row for row in of_one_sweep if row["kind"] in kinds)


def _names_of(cell: Row) -> list[str]:
    names = (SWEEP.name, "architecture", "variant", "selection", "device")
    return [name for name in names if name in cell]


def _identifying(tables: Tables) -> list[str]:
    """The columns that both tables have and that say which cell a row is of."""
    both = set(tables.comparisons.column_names)
    names = tables.report.column_names
    return [name for name in names if f"{name}_a" in both and name != "trials"]


def _identity(row: Row, names: Sequence[str], suffix: str = "") -> str:
    own = [row["device"], *(row[name + suffix] for name in names)]
    return json.dumps(own)


def _best(compared: Iterable[_Compared]) -> list[_Compared]:
    """Of those with the same names, the one with the highest validation accuracy."""
    best: dict[tuple[object, ...], _Compared] = {}
    for candidate in compared:
        known = best.get(candidate.names)
        count = known.of + 1 if known else 1
        if known is None or candidate.validation_accuracy > known.validation_accuracy:
            best[candidate.names] = candidate
        best[candidate.names].of = count
    return list(best.values())


# Sentences on searches


def _search_sentence(rows: Sequence[Row], tables: Tables) -> str:
    tried = [row for row in rows if row["configuration"] is not None]
    stages = Counter(Stage(row["stage"]) for row in tried)
    winner = next((row for row in tried if row["is_winner"]), None)
    place = f"search for {rows[0]['architecture']} on {rows[0]['variant']} digits"
    sweep = _sweep(rows[0])
    if winner:
        default = next(row for row in rows if row["is_default"])
        start = f"{sweep}{'in' if sweep else 'In'} the {place} {_tried(stages)}"
        return f"{start}; {_winner(winner, default)}."
    start = f"{sweep}{'the' if sweep else 'The'} {place}"
    if stages[Stage.RUNNING] or not tried:
        return f"{start} has not ended and has no winner yet: {_so_far(stages)}."
    return f"{start} has no winner: {_lost(stages)}.{_first_error(tried, tables)}"


_TOLD_STAGES = {
    Stage.RACED_OUT: "raced out",
    Stage.CUT_SHORT: "cut short",
    Stage.FAILED: "failed",
}


def _tried(stages: Counter[Stage]) -> str:
    """How many configurations there were, and what became of those that were not completed."""
    verb = "was" if stages.total() == 1 else "were"
    return f"{_configurations(stages)} {verb} tried{_not_completed(stages)}"


def _so_far(stages: Counter[Stage]) -> str:
    of = f"{stages[Stage.COMPLETE]} of {_configurations(stages)} proposed so far"
    verb = "is" if stages[Stage.COMPLETE] == 1 else "are"
    return f"{of} {verb} complete{_not_completed(stages)}"


def _lost(stages: Counter[Stage]) -> str:
    if len(+stages) > 1:
        return _tried(stages)
    stage = next(iter(+stages))
    what = "its only configuration" if stages.total() == 1 else f"all {_configurations(stages)}"
    verb = "was " if stages.total() == 1 else "were "
    return f"{what} {verb if stage is Stage.CUT_SHORT else ''}{_TOLD_STAGES[stage]}"


def _configurations(stages: Counter[Stage]) -> str:
    return f"{stages.total()} configuration{'' if stages.total() == 1 else 's'}"


def _not_completed(stages: Counter[Stage]) -> str:
    told = [f"{stages[stage]} {words}" for stage, words in _TOLD_STAGES.items() if stages[stage]]
    return f" ({', '.join(told)})" if told else ""


def _winner(winner: Row, default: Row) -> str:
    best = "the best, which is the default," if winner["is_default"] else "the best"
    start = f"{best} scored {winner['search_validation_accuracy']:.3f} in the search"
    if winner["confirm_validation_accuracy"] is None:
        return f"{start}, and no fresh trial of it has finished"
    afresh = (
        f"{start} and {winner['confirm_validation_accuracy']:.3f} afresh, so the search "
        f"{_flattery(winner['optimism'])}; its fresh test accuracy is {_fresh_mean(winner)}"
    )
    if winner["is_default"]:
        return afresh
    known = default["mean_test_accuracy"] is not None
    return f"{afresh}, that of the default {_fresh_mean(default) if known else 'not known yet'}"


def _flattery(optimism: float) -> str:
    # What three decimals would show as nothing is none.
    return f"flattered it by {optimism:.3f}" if optimism >= 0.0005 else "did not flatter it"


def _fresh_mean(row: Row) -> str:
    return _mean({**row, "trials": row["confirm_trials"]})


def _first_error(tried: Iterable[Row], tables: Tables) -> str:
    """That of the first configuration that failed, if any did."""
    names = tables.search.column_names
    identifying = [*names[: names.index("configuration")]]
    errors: dict[str, str] = {}
    for trial in tables.trials.to_pylist():
        if trial["status"] == Status.FAILED:
            errors.setdefault(_values(trial, identifying), trial["error"] or "no message")
    found = (errors.get(_values(row, identifying)) for row in tried)
    return next((f" The first error: {error}" for error in found if error), "")


def _values(row: Row, names: Iterable[str]) -> str:
    return json.dumps([row[name] for name in names])


# Sentences on means


def _drop_sentence(drop: _Compared) -> str:
    a, b, row = drop.a, drop.b, drop.row
    verb = "dropped" if row["mean_difference"] >= 0 else "rose"
    return (
        f"{_start(a)}: mean test accuracy {verb} from {_mean(a)} on {a['variant']} to {_mean(b)} "
        f"on {b['variant']} digits, by {_size(row)}{_chosen(drop)}."
    )


def _means_without_drop(cells: Sequence[Row], drops: Sequence[_Compared]) -> list[str]:
    told = {_identity(cell, _names_of(cell)) for drop in drops for cell in (drop.a, drop.b)}
    sentences: dict[str, Row] = {}
    for cell in cells:
        names = _identity(cell, _names_of(cell))
        told_of_search = cell.get("selection") is not None
        if names not in told and cell["trials"] and not told_of_search:
            known = sentences.get(names)
            better = cell["mean_validation_accuracy"] or 0.0
            if known is None or better > (known["mean_validation_accuracy"] or 0.0):
                sentences[names] = cell
    return [
        f"{_start(cell)}: mean test accuracy {_mean(cell)} on {cell['variant']} digits."
        for cell in sentences.values()
    ]


def _architecture_sentences(compared: Sequence[_Compared]) -> list[str]:
    best = _best(row for row in compared if row.kind == ARCHITECTURE)
    by_variant: dict[tuple[object, ...], list[_Compared]] = {}
    for row in best:
        place = (row.a.get(SWEEP.name), row.a["variant"], row.a["device"])
        by_variant.setdefault(place, []).append(row)
    return [
        _architecture_sentence(row)
        for rows in by_variant.values()
        if len(rows) <= _MOST_ARCHITECTURE_PAIRS
        for row in rows
    ]


def _architecture_sentence(compared: _Compared) -> str:
    a, b, row = compared.a, compared.b, compared.row
    higher, lower = (a, b) if row["mean_difference"] >= 0 else (b, a)
    return (
        f"{_place(a)}: the mean of {_name(higher)} is above that of {_name(lower)} by "
        f"{_size(row)}{_chosen(compared)}."
    )


def _single_trials(cells: Sequence[Row]) -> list[str]:
    if max(cell["trials"] for cell in cells) > 1:
        return []
    return ["One trial tells nothing of its uncertainty: give --trials 2 or more."]


def _skewed(cells: Sequence[Row]) -> list[str]:
    skewed = [cell for cell in cells if cell["left_skewed"]]
    lowest: dict[str, float] = {}
    for cell in sorted(skewed, key=lambda each: -each["min_test_accuracy"]):
        lowest[f"{_start(cell)} on {cell['variant']} digits"] = cell["min_test_accuracy"]
    if not lowest:
        return []
    named = [f"{name} (lowest {accuracy:.3f})" for name, accuracy in lowest.items()]
    more = len(named) - _MOST_SKEWED
    shown = ", ".join(named[-_MOST_SKEWED:]) + (f" and {more} more" if more > 0 else "")
    return [
        f"Some trials are far below the others: {shown}. Intervals cover such means less often "
        "than 95 %: run more trials, and look at the minimum."
    ]


def _failures(tables: Tables) -> list[str]:
    ended = zip(tables.trials["key"].to_pylist(), tables.trials["status"].to_pylist(), strict=True)
    # By key: cells of equal settings share their trials.
    failed = len({key for key, status in ended if status == Status.FAILED})
    if not failed:
        return []
    if failed == 1:
        return ["1 trial failed; no mean includes it."]
    return [f"{failed} trials failed; no mean includes them."]


def _start(cell: Row) -> str:
    return f"{_sweep(cell)}{_name(cell)}{_device(cell)}"


def _name(cell: Row) -> str:
    selection = cell.get("selection")
    return f"{cell['architecture']} ({selection})" if selection else str(cell["architecture"])


def _place(cell: Row) -> str:
    preposition = "on" if SWEEP.name in cell else "On"
    return f"{_sweep(cell)}{preposition} {cell['variant']} digits{_device(cell)}"


def _sweep(cell: Row) -> str:
    return f"{cell[SWEEP.name]}, " if SWEEP.name in cell else ""


def _device(cell: Row) -> str:
    """Named only where it is a choice at all."""
    return "" if cell["device"] in ("CPU", None) else f" on {cell['device']}"


def _mean(cell: Row) -> str:
    if cell["std_test_accuracy"] == 0:
        return f"{cell['mean_test_accuracy']:.3f} (no spread seen in n = {cell['trials']})"
    interval = _interval(cell["ci95_low"], cell["ci95_high"])
    return f"{cell['mean_test_accuracy']:.3f} ({interval}n = {cell['trials']})"


def _size(row: Row) -> str:
    """The size of a difference, and how sure it is."""
    low, high = row["ci95_low"], row["ci95_high"]
    if row["mean_difference"] < 0 and low is not None:
        low, high = -high, -low
    interval = _interval(low, high).removesuffix(", ")
    return f"{abs(row['mean_difference']):.3f}" + (f" ({interval})" if interval else "")


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    # Three decimals would make a narrow interval look like none.
    digits = 4 if 0 < high - low < 0.004 else 3
    between = "\N{EN DASH}" if low >= 0 else " to "
    return f"95 % CI {low:.{digits}f}{between}{high:.{digits}f}, "


def _chosen(compared: _Compared) -> str:
    if compared.of == 1:
        return ""
    return f" (of {compared.of} configurations, that with the highest validation accuracy)"
