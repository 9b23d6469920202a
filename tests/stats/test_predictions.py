"""Confusions and hard examples against hand-worked examples."""

import numpy as np
import pytest

from mnist_ray.stats.predictions import confusion_matrix, hardest

TRUTH = np.array([0, 1, 2, 2], dtype=np.uint8)
PREDICTIONS = np.array([[0, 1, 1, 2], [0, 2, 1, 2], [0, 1, 0, 0]], dtype=np.uint8)


def test_confusion_counts_truth_by_prediction_over_trials() -> None:
    matrix = confusion_matrix(TRUTH, PREDICTIONS, 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[3, 0, 0], [0, 2, 1], [2, 2, 2]]


def test_small_integers_do_not_overflow() -> None:
    truth = np.array([199], dtype=np.uint8)
    matrix = confusion_matrix(truth, truth[np.newaxis], 200)
    assert matrix[199, 199] == matrix.sum() == 1


def test_hardest_are_those_that_most_trials_get_wrong() -> None:
    found = hardest(TRUTH, PREDICTIONS, 2, classes=3)
    assert found.examples.tolist() == [2, 1]  # 1 and 3 are equally hard
    assert found.wrong.tolist() == [3, 1]
    assert found.votes.tolist() == [[1, 2, 0], [0, 2, 1]]


def test_what_every_trial_gets_right_is_not_hard() -> None:
    found = hardest(TRUTH, PREDICTIONS, 99, classes=10)
    assert found.examples.tolist() == [2, 1, 3]
    assert found.votes.shape == (3, 10)


def test_no_trials_have_no_confusion() -> None:
    nothing = np.empty((0, 4), dtype=np.uint8)
    assert confusion_matrix(TRUTH, nothing, 3).tolist() == [[0] * 3] * 3
    assert hardest(TRUTH, nothing, 5, classes=3).examples.size == 0


def test_classes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="classes from 0 to 2: must be 0 to 1"):
        confusion_matrix(TRUTH, PREDICTIONS, 2)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="truth"):
        hardest(TRUTH[:3], PREDICTIONS, 1, classes=3)
