"""What the predictions of several trials have in common: confusions and hard examples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_ray.stats.summary import IntArray


def confusion_matrix(truth: ArrayLike, predictions: ArrayLike, classes: int) -> IntArray:
    """The confusion matrix, summed over trials: int64[classes, classes].

    Rows are the true classes, columns the predicted ones.

    Args:
        truth: int[examples], from 0 to classes - 1.
        predictions: int[trials, examples], likewise.
        classes: their number.

    Raises:
        ValueError: shapes that do not fit, or a class out of range.
    """
    labels, votes = _checked(truth, predictions, classes)
    matrix = np.zeros(classes * classes, dtype=np.int64)
    row_starts = labels * classes
    for trial in votes:  # one at a time: all at once would take 8 bytes for each prediction
        matrix += np.bincount(row_starts + trial.astype(np.int64), minlength=classes * classes)
    return matrix.reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class Hardest:
    """The k examples that most trials get wrong, the hardest first."""

    examples: IntArray
    """int64[k]: indices in the test set."""
    wrong: IntArray
    """int64[k]: how many trials are wrong."""
    votes: IntArray
    """int64[k, classes]: how many trials predict each class."""


def hardest(truth: ArrayLike, predictions: ArrayLike, count: int, *, classes: int) -> Hardest:
    """The `count` examples that most trials get wrong; fewer, where all get the others right.

    Among equally hard ones the smaller index comes first.

    Args:
        truth, predictions, classes: as for `confusion_matrix`.
        count: the largest number of examples.

    Raises:
        ValueError: shapes that do not fit, or a class out of range.
    """
    labels, votes = _checked(truth, predictions, classes)
    wrong = np.zeros(labels.size, dtype=np.int64)
    for trial in votes:
        wrong += trial != labels
    order = np.argsort(-wrong, kind="stable")[: max(count, 0)]
    chosen = order[wrong[order] > 0]
    return Hardest(
        examples=chosen.astype(np.int64),
        wrong=wrong[chosen],
        votes=(votes[:, chosen, np.newaxis] == np.arange(classes)).sum(axis=0, dtype=np.int64),
    )


def _checked(
    truth: ArrayLike, predictions: ArrayLike, classes: int
) -> tuple[IntArray, NDArray[np.integer]]:
    """Truth as int64, which small integers would overflow; predictions, being many, as they are."""
    labels, votes = np.asarray(truth), np.asarray(predictions)
    if labels.ndim != 1 or votes.ndim != 2 or votes.shape[1] != labels.size:
        raise ValueError(
            f"truth {labels.shape}, predictions {votes.shape}: must be [examples], "
            "[trials, examples]"
        )
    if not all(np.issubdtype(part.dtype, np.integer) for part in (labels, votes)):
        raise ValueError(f"truth {labels.dtype}, predictions {votes.dtype}: must be integers")
    for part in (labels, votes):
        if part.size and (part.min() < 0 or part.max() >= classes):
            raise ValueError(
                f"classes from {part.min()} to {part.max()}: must be 0 to {classes - 1}"
            )
    return labels.astype(np.int64), votes
