"""What models predict for a few random test digits, as a table and as an image file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_ray.analysis.sweep_results import CellResults
from mnist_ray.data.placement import draw_offsets, place
from mnist_ray.ledger.ledger import TestSet
from mnist_ray.plan.seeds import evaluation_generator
from mnist_ray.view.labels import Parts, label

# Matplotlib takes half a second to import, which only the image file needs.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

_ACROSS = 8
"""Digits in a row of the image file."""
_INCHES = 1.5
"""Side of a digit in the image file."""
_LINE_INCHES = 0.2


@dataclass(frozen=True, eq=False)
class Guess:
    """What one model of a cell predicts for drawn test digits."""

    results: CellResults
    parts: Parts
    """Of the cell's name."""
    indices: NDArray[np.int64]
    """Of the digits in the test set, int64 [n]."""
    images: NDArray[np.uint8]
    """The digits as the model sees them, uint8 [n, canvas, canvas]."""
    truth: NDArray[np.integer]
    """Integers [n]."""
    predictions: NDArray[np.integer]
    """Integers [n]."""
    all_right_rate: float | None = None
    """How often groups of n test digits are all right, where all predictions are recorded."""

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which digits it gets wrong, bool [n]."""
        wrong: NDArray[np.bool_] = self.predictions != self.truth
        return wrong

    @property
    def mistakes(self) -> int:
        """How many digits it gets wrong."""
        return int(np.count_nonzero(self.wrong))

    @property
    def accuracy(self) -> float:
        """The mean test accuracy of the cell's finished trials."""
        tests = [record.test for record in self.results.finished]
        return float(np.mean([test.accuracy for test in tests if test]))

    @property
    def probability_of_none(self) -> float:
        """Of no mistake in so many digits, if mistakes were independent: accuracy to the n."""
        return float(self.accuracy ** len(self.predictions))


def draw_digits(test_set: TestSet, count: int, *, seed: int) -> NDArray[np.int64]:
    """The indices of `count` test digits, none twice: int64 [count]."""
    return np.random.default_rng(seed).choice(len(test_set.labels), size=count, replace=False)


def as_graded(
    cell: CellResults, indices: NDArray[np.int64], test_set: TestSet
) -> NDArray[np.uint8]:
    """Test images where the cell's models were graded on them: uint8 [n, canvas, canvas]."""
    offsets = draw_offsets(
        test_set.image_size,
        len(test_set.labels),
        shift=cell.cell.shift,
        canvas=cell.cell.canvas,
        generator=evaluation_generator(seed_of(cell)),
    )
    return place(test_set.images[indices], offsets[indices], canvas=cell.cell.canvas)


def seed_of(cell: CellResults) -> int:
    """The seed of the sweep that recorded the cell."""
    return int(cell.records[0].identity["seed"])


# As a table


def tabulate_guesses(guesses: Sequence[Guess], *, title: str) -> "Table":
    """A row for the truth and one for each model; what is wrong is marked."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("digits")
    for heading in ("mistakes", "probability of none"):
        table.add_column(heading, justify="right")
    truth = guesses[0].truth
    table.add_row("truth", _digits(truth, wrong=np.zeros(len(truth), bool)), end_section=True)
    for guess in guesses:
        table.add_row(
            escape(label(guess.parts)),
            _digits(guess.predictions, wrong=guess.wrong),
            str(guess.mistakes),
            f"{guess.probability_of_none:.3f}",
        )
    return table


def _digits(classes: NDArray[np.integer], *, wrong: NDArray[np.bool_]) -> str:
    """Classes, of equal width in every row, as rich's markup."""
    return " ".join(
        f"[bold red]{number}✗[/]" if is_wrong else f"{number} "
        for number, is_wrong in zip(classes, wrong, strict=True)
    )


# As an image file


def save_picture(guesses: Sequence[Guess], path: Path) -> None:
    """The digits as each variant presents them, with truth and predictions, as an image file.

    Raises:
        OSError: it can't be written.
    """
    from matplotlib.figure import Figure

    presentations = _by_presentation(guesses)
    count = len(guesses[0].truth)
    across = min(count, _ACROSS)
    down = -(-count // across)
    lines = max(map(len, presentations.values())) + 2
    height = len(presentations) * down * (_INCHES + lines * _LINE_INCHES)
    figure = Figure(figsize=(max(5.0, across * (_INCHES + 0.7)), height), layout="constrained")
    parts = figure.subfigures(len(presentations), 1, squeeze=False).flat
    for part, (variant, group) in zip(parts, presentations.items(), strict=True):
        part.suptitle(variant)
        places = part.subplots(down, across, squeeze=False).flat
        for number, axes in enumerate(places):
            if number < count:
                _draw_digit(axes, number, group)
            else:
                axes.set_axis_off()
    figure.savefig(path, dpi=120)


def _by_presentation(guesses: Sequence[Guess]) -> Mapping[str, Sequence[Guess]]:
    """The guesses on each way that the images are presented, by the variant's name."""
    groups: dict[tuple[str, int, int], list[Guess]] = {}
    for guess in guesses:
        cell = guess.results.cell
        groups.setdefault((cell.variant, cell.shift, cell.canvas), []).append(guess)
    several = len({variant for variant, _, _ in groups}) < len(groups)
    return {
        f"{variant} (shift {shift}, canvas {canvas})" if several else variant: group
        for (variant, shift, canvas), group in groups.items()
    }


def _draw_digit(axes: "Axes", number: int, guesses: Sequence[Guess]) -> None:
    axes.imshow(guesses[0].images[number], cmap="gray_r", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"truth {guesses[0].truth[number]}", fontsize=9)
    for line, guess in enumerate(guesses, start=1):
        is_wrong = bool(guess.wrong[number])
        name = label(guess.parts, variant=False)
        axes.annotate(
            f"{name}: {guess.predictions[number]}{' ✗' if is_wrong else ''}",
            (0.5, 0),
            xytext=(0, -line * _LINE_INCHES * 72 + 4),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=7,
            color="tab:red" if is_wrong else "black",
            parse_math=False,
        )
