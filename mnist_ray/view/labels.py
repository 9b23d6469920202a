"""Short names of cells and of comparisons, each different from all others."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from mnist_ray.analysis.settings import shown_value, varying_by_family
from mnist_ray.analysis.sweep_results import CellResults
from mnist_ray.view.formats import MINUS

Parts = Mapping[str, str]
"""The parts of a cell's name in order, by what they name: `architecture`, `variant`, `dropout` …"""

_SUBTRACTED = f"\N{NO-BREAK SPACE}{MINUS}\N{NO-BREAK SPACE}"


def name_parts(cells: Sequence[CellResults]) -> dict[str, Parts]:
    """The parts of each cell's name, by the cell's key.

    Besides architecture and variant there is only what varies; after a search, winner and default
    take the place of their hyperparameters.
    """
    varying = _varying_by_family(cells)
    several_sweeps = len({cell.sweep for cell in cells}) > 1
    several_devices = len({cell.device for cell in cells if cell.device}) > 1
    return {
        cell.key: {
            **({"sweep": cell.sweep} if several_sweeps else {}),
            "architecture": cell.cell.architecture,
            "variant": cell.cell.variant,
            **_distinction(cell, varying[_family(cell)]),
            **({"device": cell.device} if several_devices and cell.device else {}),
        }
        for cell in cells
    }


def label(parts: Parts, *, variant: bool = True) -> str:
    """A cell's name: `cnn · shifted · dropout=0.3`; without the variant where that is known."""
    return " · ".join(text for kind, text in parts.items() if variant or kind != "variant")


def pair_label(a: Parts, b: Parts) -> str:
    """What two cells share, and what is subtracted from what: `cnn: centered - shifted`."""
    shared = [text for kind, text in a.items() if b.get(kind) == text]
    of_a = [text for kind, text in a.items() if b.get(kind) != text]
    of_b = {kind: text for kind, text in b.items() if a.get(kind) != text}
    if len(of_b) == 1:
        # A hyperparameter is named once: `dropout=0.3 - 0.5`.
        of_b = {k: text.removeprefix(f"{k}=") if k in a else text for k, text in of_b.items()}
    return f"{' · '.join(shared)}: {' · '.join(of_a)}{_SUBTRACTED}{' · '.join(of_b.values())}"


def varying_hyperparameters(cells: Sequence[CellResults]) -> list[str]:
    """Those that vary within an architecture and variant, by the names of their columns."""
    families = _varying_by_family(cells).values()
    return list(dict.fromkeys(name for names in families for name in names))


def drawn_value(value: JsonValue) -> str:
    """A hyperparameter's value that a search drew, to three significant digits."""
    return shown_value(float(f"{value:.3g}") if isinstance(value, float) else value)


def _distinction(cell: CellResults, varying: Sequence[str]) -> dict[str, str]:
    if cell.selection:
        return {"selection": cell.selection.value}
    columns = cell.cell.columns()
    return {name: f"{name}={shown_value(columns[name])}" for name in varying if name in columns}


def _varying_by_family(cells: Sequence[CellResults]) -> dict[tuple[str, str], list[str]]:
    """The hyperparameters that vary within each architecture and variant, over all sweeps."""
    return varying_by_family((_family(cell), cell.cell.columns()) for cell in cells)


def _family(cell: CellResults) -> tuple[str, str]:
    return cell.cell.architecture, cell.cell.variant
