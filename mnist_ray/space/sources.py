"""The sources of randomness in a trial, and the trials in which each varies alone."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from mnist_ray.space.settings import EachOnce, NonEmptyList, Settings

_MOST_TRIALS = 1_000_000


class Source(StrEnum):
    """What differs from one trial of a cell to the next."""

    WEIGHTS = "weights"
    """The initial weights."""
    SHUFFLING = "shuffling"
    """The order of the training images in each epoch."""
    PLACEMENT = "placement"
    """Where each training image lies on its canvas, and what a transform draws for it."""
    DROPOUT = "dropout"
    """Which units dropout leaves out."""
    SAMPLE = "sample"
    """The training set itself; only a trial that varies it draws it anew, by a bootstrap."""


class Spread(Settings):
    """Further trials of each cell, in each of which one source of randomness varies alone."""

    sources: Annotated[NonEmptyList[Annotated[Source, Field(strict=False)]], EachOnce] = Field(
        tuple(Source), description=f"a list of at least one of {', '.join(Source)}, each once"
    )
    trials: Annotated[int, Field(ge=3, le=_MOST_TRIALS)] = Field(
        20, description=f"an integer from 3 to {_MOST_TRIALS}: fewer show no spread"
    )
    """Of each source; the cell has at least as many ordinary trials."""
