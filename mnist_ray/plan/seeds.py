"""Every random number of a sweep, from the sweep's seed and the trial's index alone."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence


@dataclass(frozen=True)
class TrialSeeds:
    """The seeds of trial *i* of every cell.

    Trials of equal index share `placement` and `shuffle` across architectures, so that their
    accuracies can be compared in pairs.
    """

    seed: int
    """Identifies the trial's child sequence (the column `seed`); nothing is drawn from it."""
    placement: SeedSequence
    """Where each training image lies on its canvas."""
    shuffle: SeedSequence
    """The order of the training images in every epoch."""
    weights: int
    """For Keras: initial weights, dropout and all other draws of a model (32 bits)."""


def trial_seeds(seed: int, trial: int) -> TrialSeeds:
    """The seeds of trial `trial` (from 0) of a sweep with `seed`.

    They come from child `trial` of `numpy.random.SeedSequence(seed)`, which does not depend on how
    many children there are: more trials never change earlier ones.
    """
    child = SeedSequence(seed, spawn_key=(trial,))
    placement, shuffle, weights = child.spawn(3)
    return TrialSeeds(
        seed=int(child.generate_state(1)[0]),
        placement=placement,
        shuffle=shuffle,
        weights=int(weights.generate_state(1)[0]),
    )


def evaluation_generator(seed: int) -> Generator:
    """The generator that places the test images; it depends on the sweep's seed alone.

    It draws from the root sequence, of which every trial's is a child. So all trials and
    architectures are evaluated on the very same test images.
    """
    return np.random.default_rng(SeedSequence(seed))
