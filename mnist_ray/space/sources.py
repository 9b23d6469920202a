"""The sources of randomness in a trial."""

from enum import StrEnum


class Source(StrEnum):
    """What differs from one trial of a cell to the next."""

    WEIGHTS = "weights"
    """The initial weights."""
    SHUFFLING = "shuffling"
    """The order of the training images in each epoch."""
    PLACEMENT = "placement"
    """Where each training image lies on its canvas."""
    DROPOUT = "dropout"
    """Which units dropout leaves out."""
    SAMPLE = "sample"
    """The training set itself; only a trial that varies it draws it anew, by a bootstrap."""
