"""Single test digits with what the trials made of them: the hardest, and a few at random."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_ray.analysis.agreement import Predictions, all_right_rate, predictions_of
from mnist_ray.analysis.sweep_results import CellResults
from mnist_ray.data.dataset import draw_offsets, place
from mnist_ray.ledger.ledger import TestSet
from mnist_ray.plan.seeds import evaluation_generator
from mnist_ray.stats.predictions import hardest
from mnist_ray.view.figures import digit_png

DIGITS = 5
"""How many the sanity check draws."""


@dataclass(frozen=True)
class Digit:
    """A test digit as the models saw it."""

    index: int
    """In the test set, from 0."""
    truth: int
    image: str
    """A PNG as data: URI."""


@dataclass(frozen=True)
class HardDigit:
    """A digit that trials of a cell got wrong."""

    digit: Digit
    wrong: int
    """How many trials did."""
    votes: tuple[tuple[int, int], ...]
    """Predicted class and how many trials said so, the most frequent first."""


@dataclass(frozen=True)
class Guess:
    """What a cell says of the sanity check's digits."""

    cell_results: CellResults
    trial: int
    """The trial whose predictions these are: the highest finished one."""
    predictions: tuple[int, ...]
    mistakes: int
    expected: float
    """Mean accuracy to the power of the number of digits."""
    observed: float | None
    """How often groups of so many test images are all right, over all trials."""


@dataclass(frozen=True)
class SanityCheck:
    """Random test digits in one presentation, and what each cell says of them."""

    digits: tuple[Digit, ...]
    guesses: tuple[Guess, ...]


def hardest_digits(
    cell_results: CellResults, predictions: Predictions, test_set: TestSet, *, count: int
) -> list[HardDigit]:
    """At most `count` digits that most of the cell's trials get wrong, the hardest first.

    Args:
        outcome: the cell.
        predictions: of its trials, integers [trials, N].
        test_set: the images that they are of.
        count: how many at most.
    """
    found = hardest(test_set.labels, predictions, count, classes=test_set.classes)
    digits = _digits(cell_results, found.examples, test_set)
    return [
        HardDigit(digit, int(wrong), _votes(votes))
        for digit, wrong, votes in zip(digits, found.wrong, found.votes, strict=True)
    ]


def sanity_check(cells_results: Sequence[CellResults], test_set: TestSet) -> SanityCheck | None:
    """A few test digits, drawn by the sweep's seed, with the predictions of `cells_results`.

    The outcomes have one shift and one canvas. None without predictions.
    """
    recorded = [(o, predictions_of(o.finished, test_set)) for o in cells_results]
    known = [(o, predictions) for o, predictions in recorded if predictions is not None]
    if not known:
        return None
    rng = np.random.default_rng(_seed(known[0][0]))
    size = len(test_set.labels)
    chosen = rng.choice(size, size=min(DIGITS, size), replace=False)
    digits = _digits(known[0][0], chosen, test_set)
    guesses = (_guess(o, predictions, test_set.labels, chosen) for o, predictions in known)
    return SanityCheck(tuple(digits), tuple(guesses))


def _guess(
    cell_results: CellResults,
    predictions: Predictions,
    labels: NDArray[np.int32],
    chosen: NDArray[np.int64],
) -> Guess:
    last = predictions[-1, chosen]
    accuracy = float(
        np.mean([record.test.accuracy for record in cell_results.finished if record.test])
    )
    return Guess(
        cell_results=cell_results,
        trial=cell_results.finished[-1].trial,
        predictions=tuple(int(label) for label in last),
        mistakes=int(np.count_nonzero(last != labels[chosen])),
        expected=accuracy ** len(chosen),
        observed=all_right_rate(predictions, labels, len(chosen)),
    )


def _digits(
    cell_results: CellResults, indices: NDArray[np.int64], test_set: TestSet
) -> list[Digit]:
    images = _as_seen(cell_results, indices, test_set)
    return [
        Digit(int(index), int(test_set.labels[index]), _data_uri(digit_png(image)))
        for index, image in zip(indices, images, strict=True)
    ]


def _as_seen(
    cell_results: CellResults, indices: NDArray[np.int64], test_set: TestSet
) -> NDArray[np.uint8]:
    """The test images where the cell's models were graded on them: uint8 [n, canvas, canvas]."""
    offsets = draw_offsets(
        test_set.image_size,
        len(test_set.labels),
        shift=cell_results.cell.shift,
        canvas=cell_results.cell.canvas,
        generator=evaluation_generator(_seed(cell_results)),
    )
    return place(test_set.images[indices], offsets[indices], canvas=cell_results.cell.canvas)


def _seed(cell_results: CellResults) -> int:
    return int(cell_results.records[0].identity["seed"])


def _votes(votes: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    order = np.argsort(-votes, kind="stable")
    return tuple((int(label), int(votes[label])) for label in order if votes[label])


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
