"""A small search space, and what its configurations would come to."""

import math
from collections.abc import Mapping
from typing import Any

from made_up import made_up_space
from walking import Walk

from mnist_ray.plan.search import SearchState
from mnist_ray.space.space import Cell, Space

SEARCH: dict[str, Any] = {
    "architectures": {"feed_forward": {"dropout": {"uniform": [0, 0.5]}}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"learning_rate": {"loguniform": [1e-5, 1e-1]}},
    "search": {"algorithm": "random", "configurations": 6, "trials_each": 3},
    "confirm": 3,
}


def search_space(changes: Mapping[str, Any] | None = None, **search: Any) -> Space:
    """The search above, some of its keys and of the options of `search` replaced."""
    options = {**SEARCH["search"], **search}
    return made_up_space({**SEARCH, "search": options, **(changes or {})})


def truth(cell: Cell) -> float:
    """The accuracy that a made-up configuration would reach on average."""
    return 0.97 - 0.02 * math.log10(cell.training.learning_rate / 1e-3) ** 2


def searches_of(walked: Walk) -> tuple[SearchState, ...]:
    return walked.plan.searches
