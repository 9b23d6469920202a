"""What models predict for a few random test images, as a table and as an image file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_ray.analysis import phrases
from mnist_ray.analysis.settings import canonical, grouped
from mnist_ray.view.cell_views import distinction, label
from mnist_ray.view.examples import Guess

# Matplotlib takes half a second to import, which only the image file needs.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

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
        marked = [  # As wide with a mark as without.
            Text(f"{name}✗", "bold red") if is_wrong else Text(f"{name} ")
            for name, is_wrong in zip(names, wrong, strict=True)
        ]
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


def save_picture(guesses: Sequence[Guess], path: Path) -> None:
    """The images as each variant presents them, with truth and predictions, as an image file.

    Raises:
        OSError: it cannot be written.
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
                _draw_image(axes, number, group)
            else:
                axes.set_axis_off()
    figure.savefig(path, dpi=120)


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
