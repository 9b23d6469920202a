"""The table of the cells: which rows it has, in which order, and what does not vary in it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import JsonValue

from mnist_ray.analysis.settings import shown_value, varying
from mnist_ray.view.cell_views import CellView, by_presentation, varying_hyperparameters

_MANY_ROWS = 8
"""From more rows on a table is sorted."""
_MOST_UNFOLDED = 60
"""A table of more rows is folded."""
_BEST = 5
"""Rows of each presentation that a folded table shows, beside the defaults."""
_MOST_ROWS = 1000
"""Rows of a folded table; the rest is in the Parquet files."""
_MOST_CHARACTERS = 50
"""Of the columns that say which cell a row is of, with the space between them, so that the table
fits into 1,200 pixels. Where they are more, one column has all of them."""


def cell_table(views: Sequence[CellView]) -> dict[str, Any]:
    """What the page's main table shows of at least one cell."""
    ordered = in_order(views)
    settings = varying_hyperparameters([view.results for view in views])
    folds = len(ordered) > _MOST_UNFOLDED
    return {
        "visible": list(_unfolded(ordered)) if folds else ordered,
        # All rows, where they are too many to be visible at once.
        "folded": ordered[:_MOST_ROWS] if folds else [],
        "left_out": max(0, len(ordered) - _MOST_ROWS),
        "settings": settings,
        "of_text": [name for name in settings if not _are_numbers(views, name)],
        "fixed": dict(_fixed(views, settings)),
        "is_sorted": len(views) > _MANY_ROWS,
        # Whether the first column alone says which cell a row is of.
        "is_compact": _characters(views, settings) > _MOST_CHARACTERS,
    }


def _characters(views: Sequence[CellView], settings: Sequence[str]) -> int:
    """How wide the columns are that say which cell a row is of."""
    columns = [
        ["architecture", *(view.cell.architecture for view in views)],
        ["variant", *(view.cell.variant for view in views)],
        *([name, *(view.setting(name) for view in views)] for name in settings),
        *(
            [view.parts.get(kind, "") for view in views]
            for kind in ("sweep", "selection", "device")
            if any(kind in view.parts for view in views)
        ),
    ]
    return sum(max(map(len, column)) + 2 for column in columns)


def in_order(views: Sequence[CellView]) -> list[CellView]:
    """Many cells by their mean, the highest first, one presentation after the other."""
    if len(views) <= _MANY_ROWS:
        return list(views)

    def descending(view: CellView) -> float:
        return -(view.row["mean_test_accuracy"] or 0.0)

    return [view for group in by_presentation(views) for view in sorted(group, key=descending)]


def _unfolded(ordered: Sequence[CellView]) -> Iterator[CellView]:
    """The best cells of each presentation, and every default."""
    presentations = by_presentation(ordered)
    most = max(1, min(_BEST, _MOST_UNFOLDED // len(presentations)))
    for group in islice(presentations, _MOST_UNFOLDED):
        yield from group[:most]
        yield from (view for view in group[most:] if view.results.is_default)


def _are_numbers(views: Sequence[CellView], name: str) -> bool:
    values = (view.cell.columns().get(name, 0) for view in views)
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _fixed(views: Sequence[CellView], shown: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What has one value in all cells first, then in those of an architecture or a variant."""
    common = _constant([view.cell.columns() for view in views])
    known = {*common, *shown}
    yield "all", _as_text(common, shown)
    for name in dict.fromkeys(view.cell.architecture for view in views):
        own = [v.cell.hyperparameters for v in views if v.cell.architecture == name]
        yield name, _as_text(_constant(own), known)
    for name in dict.fromkeys(view.cell.variant for view in views):
        placed = [
            {"shift": v.cell.shift, "canvas": v.cell.canvas}
            for v in views
            if v.cell.variant == name
        ]
        yield name, _as_text(_constant(placed), known)


def _constant(settings: Sequence[Mapping[str, JsonValue]]) -> dict[str, JsonValue]:
    """The settings that all cells have, with one value each."""
    different = varying(settings)
    return {
        name: value
        for name, value in settings[0].items()
        if value is not None and name not in different and all(name in each for each in settings)
    }


def _as_text(settings: Mapping[str, JsonValue], known: Sequence[str] | set[str]) -> str:
    return ", ".join(
        f"{name} {shown_value(value)}" for name, value in settings.items() if name not in known
    )
