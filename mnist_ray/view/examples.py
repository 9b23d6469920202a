"""Test digits on the page with their predictions: the hardest ones, and a few random ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_ray.analysis.agreement import all_right_rate
from mnist_ray.stats.predictions import hardest
from mnist_ray.view.cell_views import CellView
from mnist_ray.view.guesses import Guess, as_graded, draw_digits, seed_of

DIGITS = 5
"""How many random digits there are."""


@dataclass(frozen=True, eq=False)
class HardDigit:
    """A test digit that trials of a cell got wrong."""

    index: int
    """In the test set, from 0."""
    truth: int
    image: NDArray[np.uint8]
    """As the models saw it, uint8 [canvas, canvas]."""
    votes: tuple[tuple[int, int], ...]
    """Predicted class and how many trials said so, the most frequent first."""

    @property
    def wrong(self) -> int:
        """How many trials got it wrong."""
        return sum(count for predicted, count in self.votes if predicted != self.truth)


def hardest_digits(view: CellView, *, count: int) -> list[HardDigit] | None:
    """At most `count` digits that most of the cell's trials get wrong, the hardest first.

    None without recorded predictions.
    """
    test_set, predictions = view.test_set, view.predictions()
    if test_set is None or predictions is None:
        return None
    found = hardest(test_set.labels, predictions, count, classes=test_set.classes)
    images = as_graded(view.results, found.examples, test_set)
    return [
        HardDigit(int(index), int(test_set.labels[index]), image, _ranked(votes))
        for index, image, votes in zip(found.examples, images, found.votes, strict=True)
    ]


def _ranked(votes: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    order = np.argsort(-votes, kind="stable")
    return tuple((int(predicted), int(votes[predicted])) for predicted in order if votes[predicted])


def recorded_guesses(views: Sequence[CellView]) -> list[Guess]:
    """The predictions of each cell's highest trial for a few test digits, drawn by the seed.

    Of those `views`, which have one presentation, whose predictions are recorded.
    """
    guesses: list[Guess] = []
    for view in views:
        test_set, predictions = view.test_set, view.predictions()
        if test_set is None or predictions is None:
            continue
        labels = test_set.labels
        chosen = draw_digits(test_set, min(DIGITS, len(labels)), seed=seed_of(view.results))
        guesses.append(
            Guess(
                results=view.results,
                parts=view.parts,
                indices=chosen,
                images=as_graded(view.results, chosen, test_set),
                truth=labels[chosen],
                predictions=predictions[-1, chosen],
                all_right_rate=all_right_rate(predictions, labels, len(chosen)),
            )
        )
    return guesses
