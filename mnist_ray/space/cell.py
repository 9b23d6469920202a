"""A cell: one architecture on one variant with all its hyperparameters."""

import json
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from mnist_ray.space.hyperparameters import Training


@dataclass(frozen=True)
class Cell:
    """What a mean and a standard deviation are taken over."""

    architecture: str
    """Its name in the space."""
    builder: str
    """`feed_forward`, `cnn` or `module:function`."""
    hyperparameters: dict[str, JsonValue]
    """The architecture's own, with the defaults filled in."""
    variant: str
    """Its name in the space."""
    shift: int
    canvas: int
    """Side of the square canvas in pixels."""
    training: Training

    @cached_property
    def name(self) -> str:
        """A text that two cells of a space share if and only if they are the same."""
        return json.dumps([self.architecture, self.variant, self.columns()], sort_keys=True)

    def columns(self) -> dict[str, JsonValue]:
        """All hyperparameters by the names of their columns, in the tables' order."""
        presentation: dict[str, JsonValue] = {"shift": self.shift, "canvas": self.canvas}
        return self.hyperparameters | self.training.identity() | presentation
