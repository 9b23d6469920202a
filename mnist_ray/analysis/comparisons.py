"""Which cells are compared: those that differ in one thing. And how they are compared."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mnist_ray.analysis.settings import canonical, grouped, varying, varying_by_family
from mnist_ray.analysis.sweep_results import CellResults, Selection, SweepResults
from mnist_ray.analysis.tables import ARCHITECTURE, DROP, WINNER_TO_DEFAULT
from mnist_ray.plan.stopping import look, recorded_accuracies
from mnist_ray.space.space import Cell, Space, StoppingRule
from mnist_ray.stats.comparison import Comparison, compare, differences, holm
from mnist_ray.stats.sequential import Precision, precision


@dataclass(frozen=True, eq=False)
class Compared:
    """Two cells on the same kind of device, and how their test accuracies differ."""

    kind: str
    """`DROP`, `ARCHITECTURE`, `WINNER_TO_DEFAULT` (a: the winner of a search), or the name of the
    hyperparameter in which they differ."""
    a: CellResults
    b: CellResults
    figures: Comparison
    p_value_holm: float | None
    """Corrected for all comparisons of the sweep, or for all those across sweeps."""


def compare_cells(results: SweepResults) -> list[Compared]:
    """All comparisons of one sweep: drops, architectures, searches, then hyperparameters.

    Where its space replicates until a difference is precise enough, that difference is computed
    from the trials at which the stopping rule stopped, with the interval that it decided by.
    """
    return _compare_all(_pairs(results.cells), results.space)


def compare_across(sweeps: Sequence[SweepResults]) -> list[Compared]:
    """All comparisons of cells of different sweeps, in the same order.

    A cell is not compared with another sweep's that has an equal cell on its device: that pair is
    among the comparisons of its sweep already. Nor are cells compared whose test images were placed
    by different seeds.
    """
    owners = {each: number for number, results in enumerate(sweeps) for each in results.cells}
    # By sweep, so that a cell is looked for in that of the other.
    measured = {(n, each.cell_key, each.device) for each, n in owners.items() if each.finished}
    pairs = [
        (kind, a, b)
        for kind, a, b in _pairs(owners)
        if owners[a] != owners[b]
        and _same_test_images(a, b)
        and (owners[b], a.cell_key, a.device) not in measured
        and (owners[a], b.cell_key, b.device) not in measured
    ]
    return _compare_all(pairs, space=None)


_Pair = tuple[str, CellResults, CellResults]


def _compare_all(pairs: Sequence[_Pair], space: Space | None) -> list[Compared]:
    figures = [_compare_by_rule(a, b, space) or _compare_all_trials(a, b) for _, a, b in pairs]
    corrected = holm([comparison.p_value for comparison in figures])
    return [
        Compared(kind, a, b, comparison, p_value)
        for (kind, a, b), comparison, p_value in zip(pairs, figures, corrected, strict=True)
    ]


# Which


def _pairs(cells_results: Iterable[CellResults]) -> list[_Pair]:
    finished = [each for each in cells_results if each.finished]
    presentations = list(_presentation_pairs(finished))
    searches = list(_search_pairs(finished))
    of_searches = {frozenset(cells) for _, *cells in searches}
    drops = [pair for pair in presentations if pair[0] == DROP]
    settings = [
        *_hyperparameter_pairs(finished),
        *(pair for pair in presentations if pair[0] != DROP),
    ]
    return [
        *drops,
        *_architecture_pairs(finished),
        *searches,
        *(pair for pair in settings if frozenset(pair[1:]) not in of_searches),
    ]


def _presentation_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """Cells that differ only in how the images are presented."""
    for a, b in _alike(cells_results, lambda each: [*_architecture(each), _settings(each)]):
        kind = _difference_in_presentation(a, b)
        if kind == DROP and (a.cell.shift or a.cell.transform):
            yield kind, b, a
        elif kind:
            yield kind, a, b


def _difference_in_presentation(a: CellResults, b: CellResults) -> str | None:
    """The one thing in which two presentations differ.

    A canvas that grows with its shift does not count beside the shift. Images as they are and
    transformed ones differ in the transform, whatever the size that it gives them; two transforms
    of different functions are not compared.
    """
    if a.cell.transform != b.cell.transform:
        return _difference_of_transforms(a.cell, b.cell) if a.cell.shift == b.cell.shift else None
    shifts, canvases = (a.cell.shift, b.cell.shift), (a.cell.canvas, b.cell.canvas)
    if shifts[0] == shifts[1]:
        return "canvas" if canvases[0] != canvases[1] else None
    if 0 in shifts:
        return DROP
    alone = canvases[0] == canvases[1] or canvases[0] - shifts[0] == canvases[1] - shifts[1]
    return "shift" if alone else None


def _difference_of_transforms(a: Cell, b: Cell) -> str | None:
    if a.transform is None or b.transform is None:
        return DROP
    if a.transform.function != b.transform.function or a.canvas != b.canvas:
        return None
    own, other = a.transform.parameters, b.transform.parameters
    names = varying([own, other])
    return names[0] if len(names) == 1 else None


def _architecture_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """Cells of different architectures with the same presentation and training.

    A hyperparameter that only one of them has is part of the architecture. One that both have and
    that a grid varies has to be equal.
    """
    varying = varying_by_family(
        (each.cell.architecture, each.cell.hyperparameters) for each in cells_results
    )
    names = {name for of_architecture in varying.values() for name in of_architecture}
    for a, b in _alike(
        cells_results, lambda each: [*_presentation(each), each.cell.training.to_data()]
    ):
        own, other = a.cell.hyperparameters, b.cell.hyperparameters
        equal = all(own[name] == other[name] for name in own.keys() & other.keys() & names)
        if a.cell.architecture != b.cell.architecture and equal:
            yield ARCHITECTURE, a, b


def _search_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """The winner of each search and the default, both measured afresh."""
    chosen = [each for each in cells_results if each.selection]
    for a, b in _alike(
        chosen, lambda each: [each.sweep, each.cell.architecture, each.cell.variant]
    ):
        if {a.selection, b.selection} == {Selection.WINNER, Selection.DEFAULT}:
            winner, default = (a, b) if a.selection is Selection.WINNER else (b, a)
            yield WINNER_TO_DEFAULT, winner, default


def _hyperparameter_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """Cells of one architecture that differ in one hyperparameter of model or training."""
    for name in dict.fromkeys(name for each in cells_results for name in _settings(each)):

        def all_else(each: CellResults, name: str = name) -> list[object]:
            others = {key: value for key, value in _settings(each).items() if key != name}
            return [*_architecture(each), *_presentation(each), others]

        having = [each for each in cells_results if name in _settings(each)]
        for a, b in _alike(having, all_else):
            kind = _difference_in_setting(name, _settings(a)[name], _settings(b)[name])
            if kind:
                yield kind, a, b


def _difference_in_setting(name: str, a: object, b: object) -> str | None:
    """The one thing in which two values differ: of one optimizer or schedule, an argument."""
    if a == b:
        return None
    own, other = (each if isinstance(each, dict) else {"name": each} for each in (a, b))
    if any(own.get(key) != other.get(key) for key in ("name", "schedule")):
        return name
    differing = [key for key in own | other if own.get(key) != other.get(key)]
    return differing[0] if len(differing) == 1 else None


def _alike(
    cells_results: Iterable[CellResults], likeness: Callable[[CellResults], list[object]]
) -> Iterator[tuple[CellResults, CellResults]]:
    """All pairs of equal likeness, data and kind of device."""

    def place(each: CellResults) -> str:
        identity = each.finished[0].identity
        return canonical([each.device, identity["data"], identity["protocol"], *likeness(each)])

    for group in grouped(cells_results, place).values():
        yield from combinations(group, 2)


def _architecture(cell_results: CellResults) -> list[object]:
    cell = cell_results.cell
    return [cell.architecture, cell.builder, cell_results.finished[0].identity["source"]]


def _presentation(cell_results: CellResults) -> list[object]:
    return [cell_results.cell.variant, cell_results.cell.presentation.columns()]


def _settings(cell_results: CellResults) -> Mapping[str, object]:
    return cell_results.cell.hyperparameters | cell_results.cell.training.to_data()


def _same_test_images(a: CellResults, b: CellResults) -> bool:
    """Whether no test images of theirs were placed or transformed by different seeds."""
    random = [each for each in (a, b) if each.cell.is_placed_at_random]
    seeds = {each.finished[0].identity["seed"] for each in random}
    return len(seeds) < 2


# How


def _compare_by_rule(a: CellResults, b: CellResults, space: Space | None) -> Comparison | None:
    """Over the pairs that the stopping rule decided by; None where none decides about a and b."""
    if space is None or space.until is None or not isinstance(space.trials, StoppingRule):
        return None
    if {a.cell.architecture, b.cell.architecture} != set(space.until.difference):
        return None
    series = [recorded_accuracies(each.records) for each in (a, b)]
    if any(len(known) < len(each.records) for known, each in zip(series, (a, b), strict=True)):
        return _compare_with_gaps(a, b, goal=space.until.ci95, at_most=space.trials.at_most)
    seen = look(space.trials, space.until.ci95, series)
    if not seen.trials:
        return None
    values_a, values_b = ([each.accuracies[i] for i in seen.trials] for each in (a, b))
    return _decided(compare(values_a, values_b, pairs=len(seen.trials)), seen.precision)


def _compare_with_gaps(a: CellResults, b: CellResults, *, goal: float, at_most: int) -> Comparison:
    """The comparison where trials in between are missing: not recorded yet, or run on another
    device.

    It is then not known at which trial the rule stopped. Its interval is valid after every trial,
    so the one over all recorded pairs is given; None without a pair.
    """
    known_a, known_b = _accuracies(a), _accuracies(b)
    common = [trial for trial in known_a if trial in known_b][:at_most]
    if not common:
        return _decided(_compare_all_trials(a, b), Precision(0))
    values_a, values_b = ([known[trial] for trial in common] for known in (known_a, known_b))
    figures = compare(values_a, values_b, pairs=len(common))
    return _decided(figures, precision(differences(values_a, values_b), goal=goal, at_most=at_most))


def _decided(figures: Comparison, known: Precision) -> Comparison:
    """With the interval of the rule in place of Student's, and without tests.

    They assume that the number of trials was not decided by looking at them.
    """
    return replace(
        figures,
        ci95_low=known.ci95_low,
        ci95_high=known.ci95_high,
        p_value=None,
        wilcoxon_p_value=None,
    )


def _compare_all_trials(a: CellResults, b: CellResults) -> Comparison:
    """Over all trials that finished, paired where both cells have the same."""
    known_a, known_b = _accuracies(a), _accuracies(b)
    common = [trial for trial in known_a if trial in known_b]
    # The common ones first.
    values_a, values_b = (
        [known[trial] for trial in dict.fromkeys([*common, *known])] for known in (known_a, known_b)
    )
    return compare(values_a, values_b, pairs=len(common))


def _accuracies(each: CellResults) -> Mapping[tuple[int, int], float]:
    """By the sweep's seed and the trial's index, which the random streams follow, in order."""
    seed = each.finished[0].identity["seed"]
    return {(seed, trial): accuracy for trial, accuracy in each.accuracies.items()}
