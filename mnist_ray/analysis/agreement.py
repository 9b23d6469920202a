"""The recorded predictions of a cell's trials, compared with the truth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_ray.ledger.record import Record
from mnist_ray.ledger.test_images import TestSet
from mnist_ray.stats.variance import (
    VarianceDecomposition,
    decompose_variance,
)

Predictions = NDArray[np.integer]
"""Integers [trials, N], beside which `labels` are the truth, int32 [N]."""


def predictions_of(records: Sequence[Record], test_set: TestSet | None) -> Predictions | None:
    """The predicted class of every test image by every trial: integers [trials, N].

    None without trials, and where predictions or test images are missing.
    """
    if test_set is None or not records:
        return None
    size = len(test_set.labels)
    # One byte for each, where the classes fit: ten thousand trials then take 100 MB.
    narrow = np.uint8 if test_set.classes <= 256 else np.uint16
    stacked = np.empty((len(records), size), narrow)
    for row, record in zip(stacked, records, strict=True):
        if record.test is None or record.test.size != size:
            return None
        row[:] = record.test.predictions
    return stacked


def variance_of_predictions(
    predictions: Predictions, labels: NDArray[np.int32]
) -> VarianceDecomposition:
    """How much of the variance over trials comes from the test set alone."""
    counts = np.zeros(labels.size, np.int64)
    accuracies = np.empty(len(predictions))
    for trial, predicted in enumerate(predictions):  # bool[trials, N] at once would double it
        right = predicted == labels
        counts += right
        accuracies[trial] = np.count_nonzero(right) / labels.size
    return decompose_variance(counts, accuracies)


def all_right_rate(
    predictions: Predictions, labels: NDArray[np.int32], digits: int
) -> float | None:
    """How often all of `digits` test images are classified correctly, over all trials.

    The test set is divided into groups of that size in its own order; the rest is left out. None
    where there is no whole group. If errors were independent, the rate would be the accuracy to the
    power of `digits`.
    """
    groups = labels.size // digits
    if groups == 0:
        return None
    whole = groups * digits
    right = sum(
        int((predicted[:whole] == labels[:whole]).reshape(groups, digits).all(axis=1).sum())
        for predicted in predictions
    )
    return right / (groups * len(predictions))
