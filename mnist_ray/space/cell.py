"""A cell: what a mean and a standard deviation are taken over."""

import json
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from mnist_ray.errors import ErrorCollector, shown
from mnist_ray.space.architecture import BUILT_IN, Cnn
from mnist_ray.space.sources import Source
from mnist_ray.space.training import Training
from mnist_ray.space.variants import Presentation, Transform


@dataclass(frozen=True)
class Cell:
    """One architecture on one variant with all its hyperparameters."""

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
    channels: int = 1
    """1 for grey images, 3 for colour. No part of the identity: it follows from the data."""
    transform: Transform | None = None
    """Of the images, before they are shifted; None where they stay as they are."""

    @cached_property
    def name(self) -> str:
        """A text that two cells of a space share if and only if they are the same."""
        return json.dumps([self.architecture, self.variant, self.columns()], sort_keys=True)

    @cached_property
    def training_identity(self) -> dict[str, JsonValue]:
        """`training.identity()`, made once: it is part of the key of each of the cell's trials."""
        return self.training.identity()

    @property
    def is_placed_at_random(self) -> bool:
        """Whether what is drawn for each image changes how it is presented.

        A transform may draw: nothing but its code can show that it does not.
        """
        return self.shift > 0 or self.transform is not None

    def has(self, source: Source) -> bool:
        """Whether its trials draw from that source.

        An architecture of one's own may have dropout: nothing but a run can show that it has none.
        """
        if source is Source.PLACEMENT:
            return self.is_placed_at_random
        if source is Source.DROPOUT and self.builder in BUILT_IN:
            # In a feed-forward network it follows the hidden layers, of which there may be none.
            no_layers = self.hyperparameters.get("hidden_units") == []
            return bool(self.hyperparameters.get("dropout")) and not no_layers
        return True

    @property
    def presentation(self) -> Presentation:
        return Presentation(self.transform, self.shift, self.canvas, self.channels)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the model sees."""
        return self.presentation.input_shape

    @property
    def canvas_shape(self) -> tuple[int, ...]:
        """The shape of an array that holds an image on its canvas: a grey one has two axes."""
        return self.input_shape if self.channels > 1 else (self.canvas, self.canvas)

    def columns(self) -> dict[str, JsonValue]:
        """All hyperparameters by the names of their columns, in the tables' order."""
        return self.hyperparameters | self.training.columns() | self.presentation.columns()


def check_layers(cell: Cell, errors: ErrorCollector) -> None:
    """Notes where a kernel or a pool of a CNN is larger than what is left of the image."""
    if cell.builder != "cnn":
        return
    if misfit := Cnn.model_validate(cell.hyperparameters).misfit(cell.canvas):
        key, message = misfit
        place = ("architectures", cell.architecture, key)
        errors.add(place, f"{message} of variant {shown(cell.variant)}")
