"""Every random number of a sweep, from the sweep's seed and the trial's index alone."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator, SeedSequence

from mnist_ray.space.sources import Source


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
    """For Keras: initial weights and all other draws of a model but dropout (32 bits)."""
    dropout: int
    """For Keras' seed generators, which dropout draws from (32 bits); that of `weights` unless a
    trial varies one of the two alone."""
    sample: SeedSequence | None = None
    """A bootstrap of the training images; None where each is used once."""


def trial_seeds(seed: int, trial: int, source: Source | None = None) -> TrialSeeds:
    """The seeds of trial `trial` (from 0) of a sweep with `seed`.

    They come from child `trial` of `numpy.random.SeedSequence(seed)`, which does not depend on how
    many children there are: more trials never change earlier ones. Where the trial varies one
    `source` alone, all others are those of trial 0.
    """
    child = SeedSequence(seed, spawn_key=(trial,))
    placement, shuffle, weights, sample = child.spawn(4)
    of_keras = int(weights.generate_state(1)[0])
    own = TrialSeeds(
        seed=int(child.generate_state(1)[0]),
        placement=placement,
        shuffle=shuffle,
        weights=of_keras,
        dropout=of_keras,
    )
    if source is None:
        return own
    first = replace(trial_seeds(seed, 0), seed=own.seed)
    varied = {
        Source.WEIGHTS: {"weights": own.weights},
        Source.SHUFFLING: {"shuffle": own.shuffle},
        Source.PLACEMENT: {"placement": own.placement},
        Source.DROPOUT: {"dropout": own.dropout},
        Source.SAMPLE: {"sample": sample},
    }
    return replace(first, **varied[source])  # type: ignore[arg-type]


def evaluation_generator(seed: int) -> Generator:
    """The generator that places the test images; it depends on the sweep's seed alone.

    It draws from the root sequence, of which every trial's is a child. So all trials and
    architectures are evaluated on the very same test images.
    """
    return np.random.default_rng(SeedSequence(seed))


_OF_TRANSFORM = 2**32 - 1
"""The child of a sequence that transforms draw from; no trial has such an index."""


def transform_generator(placement: SeedSequence) -> Generator:
    """The generator of a transform, from the sequence that places the same images.

    It is a child of that sequence, so that what a transform draws moves no image: images lie where
    those of a variant without a transform lie.
    """
    child = SeedSequence(placement.entropy, spawn_key=(*placement.spawn_key, _OF_TRANSFORM))
    return np.random.default_rng(child)


def evaluation_transform_generator(seed: int) -> Generator:
    """The generator of a transform of the test images; it depends on the sweep's seed alone."""
    return transform_generator(SeedSequence(seed))
