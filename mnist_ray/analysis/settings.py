"""Which settings differ, and how they are shown, in labels, columns and comparisons alike."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from mnist_ray.space.space import Space

Settings = Mapping[str, object]
"""Values by name, as in `Cell.columns()` or in a row of a table."""

Item = TypeVar("Item")
Group = TypeVar("Group", bound=Hashable)


def grouped(items: Iterable[Item], group_of: Callable[[Item], Group]) -> dict[Group, list[Item]]:
    """The items of each group, both in order of first appearance."""
    groups: dict[Group, list[Item]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    return groups


def varying(settings: Iterable[Settings]) -> list[str]:
    """The names that have more than one value, in order of first appearance.

    A name that is missing somewhere has no value there; one that is null has the value null.
    """
    return varying_by_family((None, each) for each in settings).get(None, [])


def varying_by_family(settings: Iterable[tuple[Group, Settings]]) -> dict[Group, list[str]]:
    """For each family the names that have more than one value within it; see `varying`."""
    families: dict[Group, dict[str, set[str]]] = {}
    for family, each in settings:
        seen = families.setdefault(family, {})
        for name, value in each.items():
            seen.setdefault(name, set()).add(canonical(value))
    return {
        family: [name for name, values in seen.items() if len(values) > 1]
        for family, seen in families.items()
    }


def canonical(value: object) -> str:
    """A text that is equal for equal settings only: 1, 1.0 and true are three values."""
    return json.dumps(value, sort_keys=True)


def shown_value(value: object) -> str:
    """A setting's value as a person writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def varied_settings(
    space: Space, architecture: str, variant: str, settings: Settings
) -> dict[str, str]:
    """What a grid or a search of the space varies in a cell, briefly: numbers with 4 digits.

    A name that the cell has no setting for is left out.
    """
    names = space.distributions(architecture, variant)
    varied = {name: settings[name] for name in names if name in settings}
    return {
        name: f"{value:.4g}" if isinstance(value, float) else shown_value(value)
        for name, value in varied.items()
    }
