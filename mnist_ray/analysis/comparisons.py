"""Which cells are compared: those that differ in one thing."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mnist_ray.analysis.sweep_results import CellResults
from mnist_ray.space.space import Space, StoppingRule
from mnist_ray.stats.comparison import Comparison, compare, differences, holm
from mnist_ray.stats.sequential import precision

DROP = "drop"
ARCHITECTURE = "architecture"


@dataclass(frozen=True, eq=False)
class Compared:
    """Two cells on like devices, and how their test accuracies differ."""

    kind: str
    """`DROP`, `ARCHITECTURE` or the name of the hyperparameter in which they differ."""
    a: CellResults
    b: CellResults
    figures: Comparison
    p_value_holm: float | None
    """Corrected for all comparisons of the sweep."""


def compare_cells(
    cells_results: Sequence[CellResults], space: Space | None = None
) -> list[Compared]:
    """All comparisons of one sweep: drops first, then architectures, then hyperparameters.

    Where `space` replicates until a difference is precise enough, that difference has the interval
    of the rule that decides it.
    """
    pairs = list(_pairs([cell_results for cell_results in cells_results if cell_results.finished]))
    figures = [_compare(a, b, space) for _, a, b in pairs]
    corrected = holm([comparison.p_value for comparison in figures])
    return [
        Compared(kind, a, b, comparison, p_value)
        for (kind, a, b), comparison, p_value in zip(pairs, figures, corrected, strict=True)
    ]


_Pair = tuple[str, CellResults, CellResults]


def _pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    presentations = list(_presentation_pairs(cells_results))
    yield from (pair for pair in presentations if pair[0] == DROP)
    yield from _architecture_pairs(cells_results)
    yield from _hyperparameter_pairs(cells_results)
    yield from (pair for pair in presentations if pair[0] != DROP)


def _presentation_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """Cells that differ only in how the images are presented."""
    for group in _alike(cells_results, ("architecture", "hyperparameters", "training")):
        for a, b in combinations(group, 2):
            kind = _difference_in_presentation(a, b)
            if kind == DROP and a.cell.shift:
                yield kind, b, a
            elif kind:
                yield kind, a, b


def _difference_in_presentation(a: CellResults, b: CellResults) -> str | None:
    """The one thing in which two presentations differ; a canvas that follows its shift is none."""
    shifts, canvases = (a.cell.shift, b.cell.shift), (a.cell.canvas, b.cell.canvas)
    if shifts[0] == shifts[1]:
        return "canvas" if canvases[0] != canvases[1] else None
    if 0 in shifts:
        return DROP
    alone = canvases[0] == canvases[1] or canvases[0] - shifts[0] == canvases[1] - shifts[1]
    return "shift" if alone else None


def _architecture_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """Cells of different architectures with the same presentation and training.

    Hyperparameters that only one of them has are part of the architecture; one that both have and
    that a grid varies has to be the same.
    """
    varying = _varying_hyperparameters(cells_results)
    for group in _alike(cells_results, ("variant", "shift", "canvas", "training")):
        for a, b in combinations(group, 2):
            own, other = a.cell.hyperparameters, b.cell.hyperparameters
            shared = own.keys() & other.keys() & varying
            same = all(own[name] == other[name] for name in shared)
            if a.cell.architecture != b.cell.architecture and same:
                yield ARCHITECTURE, a, b


def _varying_hyperparameters(cells_results: Sequence[CellResults]) -> set[str]:
    """The architectures' hyperparameters that vary within an architecture."""
    seen: dict[tuple[str, str], set[str]] = {}
    for cell_results in cells_results:
        for name, value in cell_results.cell.hyperparameters.items():
            seen.setdefault((cell_results.cell.architecture, name), set()).add(_text(value))
    return {name for (_, name), values in seen.items() if len(values) > 1}


def _hyperparameter_pairs(cells_results: Sequence[CellResults]) -> Iterator[_Pair]:
    """Cells of one architecture that differ in one hyperparameter of model or training."""
    names = dict.fromkeys(
        name for cell_results in cells_results for name in _settings(cell_results)
    )
    for name in names:
        having = [cell_results for cell_results in cells_results if name in _settings(cell_results)]
        for group in _alike(having, ("architecture", "variant", "shift", "canvas"), but=name):
            for a, b in combinations(group, 2):
                if _settings(a)[name] != _settings(b)[name]:
                    yield name, a, b


def _settings(cell_results: CellResults) -> Mapping[str, object]:
    return cell_results.cell.hyperparameters | cell_results.cell.training.to_data()


def _alike(
    cells_results: Iterable[CellResults], parts: Sequence[str], *, but: str | None = None
) -> list[list[CellResults]]:
    """Groups, in order, of equal device and `parts`; where given, equal settings save `but`."""
    groups: dict[str, list[CellResults]] = {}
    for cell_results in cells_results:
        cell = cell_results.cell
        known = {
            **vars(cell),
            "training": cell.training.to_data(),
        }
        place: list[object] = [cell_results.device, *(known[part] for part in parts)]
        if but is not None:
            place.append(
                {key: value for key, value in _settings(cell_results).items() if key != but}
            )
        groups.setdefault(_text(place), []).append(cell_results)
    return [group for group in groups.values() if len(group) > 1]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _compare(a: CellResults, b: CellResults, space: Space | None) -> Comparison:
    """Paired by trial where both cells have the same trials."""
    accuracies_a, accuracies_b = _accuracies(a), _accuracies(b)
    paired = accuracies_a.keys() == accuracies_b.keys()
    values_a, values_b = [*accuracies_a.values()], [*accuracies_b.values()]
    comparison = compare(values_a, values_b, paired=paired)
    if paired and space and _is_goal(a, b, space):
        return _by_rule(comparison, [*differences(values_a, values_b)], space)
    return comparison


def _is_goal(a: CellResults, b: CellResults, space: Space) -> bool:
    """Whether replication goes on until the difference of `a` and `b` is precise enough."""
    names = {a.cell.architecture, b.cell.architecture}
    return space.until is not None and names == set(space.until.difference)


def _by_rule(comparison: Comparison, of_pairs: Sequence[float], space: Space) -> Comparison:
    if not isinstance(space.trials, StoppingRule) or space.until is None:
        return comparison
    known = precision(of_pairs, goal=space.until.ci95, at_most=space.trials.at_most)
    low, high = known.around(comparison.difference)
    return replace(comparison, ci95_low=low, ci95_high=high)


def _accuracies(cell_results: CellResults) -> dict[int, float]:
    """By trial, in order."""
    return {record.trial: record.test.accuracy for record in cell_results.finished if record.test}
