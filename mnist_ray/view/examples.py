"""Test images with their predictions: the hardest ones of a cell, and a few random ones."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnist_ray.analysis import phrases
from mnist_ray.analysis.agreement import all_right_rate
from mnist_ray.analysis.settings import canonical, grouped
from mnist_ray.analysis.sweep_results import CellResults
from mnist_ray.data.placement import draw_offsets, place
from mnist_ray.ledger.test_images import TestSet
from mnist_ray.plan.seeds import evaluation_generator
from mnist_ray.stats.predictions import hardest
from mnist_ray.view.cell_views import CellView, Parts, distinction, label

# Matplotlib takes half a second to import, which only the image file needs.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table
    from rich.text import Text

EXAMPLES = 5
"""How many random images the page shows."""


@dataclass(frozen=True, eq=False)
class Guess:
    """What one model of a cell predicts for drawn test images."""

    results: CellResults
    parts: Parts
    test_set: TestSet
    indices: NDArray[np.int64]
    """Of the images in the test set, int64 [n]."""
    predictions: NDArray[np.integer]
    """Integers [n]."""
    all_right_rate: float | None = None
    """How often groups of n test images are all right, where all predictions are recorded."""

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """As the model sees them, uint8 [n, canvas, canvas], in colour with a last axis of 3."""
        return as_graded(self.results, self.indices, self.test_set)

    @property
    def truth(self) -> NDArray[np.int32]:
        """The images' classes, int32 [n]."""
        return self.test_set.labels[self.indices]

    @property
    def true_names(self) -> list[str]:
        """The names of the images' classes."""
        return [self.test_set.names[label] for label in self.truth]

    @property
    def predicted_names(self) -> list[str]:
        return [self.test_set.names[label] for label in self.predictions]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which images it gets wrong, bool [n]."""
        wrong: NDArray[np.bool_] = self.predictions != self.truth
        return wrong

    @property
    def mistakes(self) -> int:
        return int(np.count_nonzero(self.wrong))

    @property
    def probability_of_none(self) -> float:
        """Of no mistake in n images, if mistakes were independent: mean test accuracy to the n."""
        tests = [record.test for record in self.results.finished]
        accuracy = np.mean([test.accuracy for test in tests if test])
        return float(accuracy ** len(self.predictions))


@dataclass(frozen=True, eq=False)
class HardImage:
    """A test image that trials of a cell got wrong."""

    index: int
    """In the test set, from 0."""
    truth: str
    """The name of its class."""
    image: NDArray[np.uint8]
    """As the models saw it, uint8 [canvas, canvas], in colour with a last axis of 3."""
    wrong: int
    """How many trials got it wrong."""
    votes: Sequence[tuple[str, int]]
    """The name of the predicted class and how many trials said so, the most frequent first."""


def hardest_images(view: CellView, *, count: int) -> list[HardImage] | None:
    """At most `count` images that most of the cell's trials get wrong, the hardest first.

    None without recorded predictions.
    """
    test_set, predictions = view.graded_on(), view.predictions()
    if test_set is None or predictions is None:
        return None
    found = hardest(test_set.labels, predictions, count, classes=test_set.classes)
    images = as_graded(view.results, found.examples, test_set)
    each = zip(found.examples, images, found.wrong, found.votes, strict=True)
    return [
        HardImage(
            index=int(index),
            truth=test_set.names[test_set.labels[index]],
            image=image,
            wrong=int(wrong),
            votes=_most_frequent_first(votes, test_set.names),
        )
        for index, image, wrong, votes in each
    ]


def _most_frequent_first(votes: NDArray[np.int64], names: Sequence[str]) -> list[tuple[str, int]]:
    """The names of the classes that have votes, each with their number; `votes` are by class."""
    order = np.argsort(-votes, kind="stable")
    return [(names[label], int(votes[label])) for label in order if votes[label]]


def recorded_guesses(views: Sequence[CellView]) -> list[Guess]:
    """The predictions of each cell's highest trial for a few test images, drawn by the seed.

    Of those `views`, which have one presentation, whose predictions are recorded.
    """
    guesses = []
    for view in views:
        test_set, predictions = view.graded_on(), view.predictions()
        if test_set is None or predictions is None:
            continue
        labels, count = test_set.labels, min(EXAMPLES, len(test_set.labels))
        indices = draw_images(test_set, count, seed=_seed_of(view.results))
        guesses.append(
            Guess(
                results=view.results,
                parts=view.parts,
                test_set=test_set,
                indices=indices,
                predictions=predictions[-1, indices],
                all_right_rate=all_right_rate(predictions, labels, count),
            )
        )
    return guesses


def draw_images(test_set: TestSet, count: int, *, seed: int) -> NDArray[np.int64]:
    """The indices of `count` test images, none twice: int64 [count]."""
    return np.random.default_rng(seed).choice(len(test_set.labels), size=count, replace=False)


def as_graded(
    cell: CellResults, indices: NDArray[np.int64], test_set: TestSet
) -> NDArray[np.uint8]:
    """Test images where the cell's models were graded on them.

    They are uint8 [n, canvas, canvas], in colour with a last axis of 3.
    """
    offsets = draw_offsets(
        test_set.image_shape,
        len(test_set.labels),
        shift=cell.cell.shift,
        canvas=cell.cell.canvas,
        generator=evaluation_generator(_seed_of(cell)),
    )
    return place(test_set.images[indices], offsets[indices], canvas=cell.cell.canvas)


def _seed_of(cell: CellResults) -> int:
    return int(cell.records[0].identity["seed"])


def image_png(image: NDArray[np.uint8], *, is_ink: bool) -> bytes:
    """A PNG of the size of `image`, uint8 [height, width] or [height, width, 3].

    Where `is_ink` is true, a grey image is drawn as black ink on nothing, as digits are.
    """
    from PIL import Image

    pixels = image
    if is_ink and image.ndim == 2:
        pixels = np.stack([np.zeros_like(image), image], axis=-1)  # Grey and opacity.
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# Beside each other

_ACROSS = 8
"""Images in a row of the file."""
_INCHES = 1.5
"""Side of an image in the file."""
_LINE_INCHES = 0.2


def tabulate_guesses(guesses: Sequence[Guess], *, title: str) -> "Table":
    """A row for the truth and one for each model; what is wrong is marked.

    Classes that have names get a column for each image, so that long names break within it.
    """
    from rich.table import Table
    from rich.text import Text

    first, is_named = guesses[0], guesses[0].test_set.class_names is not None
    table = Table(title=title, title_justify="left")
    unheaded = [""] * (len(first.truth) - 1 if is_named else 0)
    for heading in ("", phrases.images(first.results.dataset), *unheaded):
        table.add_column(heading)
    for heading in ("mistakes", "probability of none"):
        table.add_column(heading, justify="right")

    def cells(names: Sequence[str], wrong: Iterable[bool]) -> list[Text]:
        marked = [_marked(*each) for each in zip(names, wrong, strict=True)]
        return marked if is_named else [Text(" ").join(marked)]

    table.add_row("truth", *cells(first.true_names, [False] * len(first.truth)), end_section=True)
    for guess in guesses:
        table.add_row(
            Text(label(guess.parts)),
            *cells(guess.predicted_names, guess.wrong),
            str(guess.mistakes),
            f"{guess.probability_of_none:.3f}",
        )
    return table


def _marked(name: str, is_wrong: bool) -> "Text":
    """As wide with a mark as without."""
    from rich.text import Text

    return Text(f"{name}✗", "bold red") if is_wrong else Text(f"{name} ")


def save_picture(guesses: Sequence[Guess], path: Path) -> None:
    """The images as each variant presents them, with truth and predictions, as an image file.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    presentations = _by_presentation(guesses)
    across = min(len(guesses[0].truth), _ACROSS)
    down = -(-len(guesses[0].truth) // across)
    lines = max(map(len, presentations.values())) + 2
    height = len(presentations) * down * (_INCHES + lines * _LINE_INCHES)
    figure = Figure(figsize=(max(5.0, across * (_INCHES + 0.7)), height), layout="constrained")
    parts = figure.subfigures(len(presentations), 1, squeeze=False).flat
    for part, (variant, group) in zip(parts, presentations.items(), strict=True):
        part.suptitle(variant)
        _draw_images(part.subplots(down, across, squeeze=False).flat, group)
    figure.savefig(path, dpi=120)


def _draw_images(places: Iterable["Axes"], guesses: Sequence[Guess]) -> None:
    """The images, one in each place; what is left over stays empty."""
    for number, axes in enumerate(places):
        if number < len(guesses[0].truth):
            _draw_image(axes, number, guesses)
        else:
            axes.set_axis_off()


def _by_presentation(guesses: Sequence[Guess]) -> Mapping[str, Sequence[Guess]]:
    """The guesses on each way that the images are presented, by the variant's name."""
    cells = [guess.results.cell for guess in guesses]
    groups = grouped(
        guesses,
        lambda guess: (
            guess.results.cell.variant,
            canonical(guess.results.cell.presentation.columns()),
        ),
    )
    several = len({cell.variant for cell in cells}) < len(groups)
    return {
        variant + (distinction(group[0].results.cell, cells) if several else ""): group
        for (variant, _), group in groups.items()
    }


def _draw_image(axes: "Axes", number: int, guesses: Sequence[Guess]) -> None:
    are_digits = phrases.images(guesses[0].results.dataset) == "digits"
    colours = "gray_r" if are_digits else "gray"
    axes.imshow(guesses[0].images[number], cmap=colours, vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"truth {guesses[0].true_names[number]}", fontsize=9, parse_math=False)
    for line, guess in enumerate(guesses, start=1):
        is_wrong = bool(guess.wrong[number])
        name = label(guess.parts, variant=False)
        axes.annotate(
            f"{name}: {guess.predicted_names[number]}{' ✗' if is_wrong else ''}",
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
