"""The search space: which cells, and how many trials of each.

A space is checked once, where it is read; it is typed data afterwards.
"""

import itertools
import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue, PrivateAttr

from mnist_ray.errors import InputError
from mnist_ray.space.distributions import Distribution
from mnist_ray.space.error_collector import ErrorCollector, Place, nearest, refusal, shown
from mnist_ray.space.hyperparameters import BUILT_IN, Cnn
from mnist_ray.space.sources import Source
from mnist_ray.space.space_file import Search, SpaceFile, StoppingRule, check_rules, read_file
from mnist_ray.space.training import Training
from mnist_ray.space.yaml_text import LARGEST, read_yaml, write_yaml

__all__ = ["Cell", "Search", "Space", "StoppingRule", "Training", "load_space", "shipped_spaces"]

_DEFAULT_CONFIRM = 10
_SHIPPED = (
    Path(__file__).parent.parent / "search_spaces",  # installed
    Path(__file__).parent.parent.parent / "search_spaces",  # a checkout
)


@dataclass(frozen=True)
class Cell:
    """One architecture on one variant with all its hyperparameters.

    It is what a mean and a standard deviation are taken over.
    """

    architecture: str
    """Its name in the space."""
    builder: str
    """`feed_forward`, `cnn` or `module:function`."""
    hyperparameters: dict[str, JsonValue]
    """The architecture's own, with the defaults filled in."""
    variant: str
    """Its name in the space."""
    shift: int
    canvas: int
    """Side of the square canvas in pixels."""
    training: Training
    channels: int = 1
    """1 for grey images, 3 for colour. No part of the identity: it follows from the data."""

    @cached_property
    def name(self) -> str:
        """A text that two cells of a space share if and only if they are the same."""
        return json.dumps([self.architecture, self.variant, self.columns()], sort_keys=True)

    @cached_property
    def training_identity(self) -> dict[str, JsonValue]:
        """`training.identity()`, made once: it is part of the key of each of the cell's trials."""
        return self.training.identity()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the model sees."""
        return self.canvas, self.canvas, self.channels

    @property
    def canvas_shape(self) -> tuple[int, ...]:
        """The shape of an array that holds an image on its canvas: a grey one has two axes."""
        return self.input_shape if self.channels > 1 else (self.canvas, self.canvas)

    @property
    def is_placed_at_random(self) -> bool:
        """Whether what is drawn for each image changes how it is presented."""
        return self.shift > 0

    def has(self, source: Source) -> bool:
        """Whether its trials draw from that source.

        An architecture of one's own may have dropout: nothing but a run can show that it has none.
        """
        if source is Source.PLACEMENT:
            return self.is_placed_at_random
        if source is Source.DROPOUT and self.builder in BUILT_IN:
            # In a feed-forward network it follows the hidden layers, of which there may be none.
            no_layers = self.hyperparameters.get("hidden_units") == []
            return bool(self.hyperparameters["dropout"]) and not no_layers
        return True

    def columns(self) -> dict[str, JsonValue]:
        """All hyperparameters by the names of their columns, in the tables' order."""
        presentation: dict[str, JsonValue] = {"shift": self.shift, "canvas": self.canvas}
        return self.hyperparameters | self.training.columns() | presentation


class Space(SpaceFile):
    """A checked search space: what its file says, and the cells that follow from it.

    Grids give cells at once; the other distributions are sampled by a search. A space has either
    the one or the other.
    """

    _source: Path | None = PrivateAttr(None)
    _lines: Mapping[Place, int] = PrivateAttr(default_factory=dict)

    @classmethod
    def read(
        cls,
        data: Mapping[str, JsonValue],
        errors: ErrorCollector,
        *,
        source: Path | None,
        rules: bool = False,
    ) -> "Space":
        """The space that the plain data of a file describes.

        Where `rules` is true, those between the sections are checked too. Errors are noted; the
        space may only be used where `errors` stays empty.
        """
        space = read_file(cls, data, errors)
        if rules:
            check_rules(space, errors)
        if space.search and "confirm" not in space.model_fields_set:
            space = space.model_copy(update={"confirm": _DEFAULT_CONFIRM})
        if space.spread:
            space = space.model_copy(
                update={"trials": _at_least(space.spread.trials, space.trials)}
            )
        space._source, space._lines = source, errors.lines
        return space

    @property
    def source(self) -> Path | None:
        """The file that it was read from; a user's own module is looked up beside it."""
        return self._source

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, wherever they were read from."""
        return isinstance(other, Space) and self.to_data() == other.to_data()

    def to_yaml(self) -> str:
        """As YAML text that `load_space` reads back to an equal space."""
        return write_yaml(self.to_data())

    @property
    def code_folder(self) -> Path | None:
        """Where the space's own modules are looked up before `sys.path`: beside its file."""
        return self.source.parent.absolute() if self.source else None

    def pairs(self) -> list[tuple[str, str]]:
        """All (architecture, variant), by name, in the file's order."""
        return list(itertools.product(self.architectures, self.variants))

    def cells(self, image_shape: tuple[int, ...]) -> list[Cell]:
        """All cells that are known without searching.

        `image_shape` is height, width and, where the images are in colour, 3.

        Architectures x variants x the values of every grid in the file's order (the architecture's
        hyperparameters, the variant's, training's), the last varying fastest; each cell once. Pairs
        of architecture and variant that are searched have none here.
        """
        searched = self.search_spaces()
        cells = [
            self._cell(architecture, variant, values, image_shape)
            for architecture, variant in self.pairs()
            if (architecture, variant) not in searched
            for values in _combinations(
                {
                    column: grid.candidates().values()
                    for column, grid in self._distributions(architecture, variant).items()
                }
            )
        ]
        return list({cell.name: cell for cell in cells}.values())

    def search_spaces(self) -> dict[tuple[str, str], dict[str, Distribution]]:
        """The distributions to sample, by column, of each searched (architecture, variant)."""
        sampled = {
            pair: {k: each for k, each in self._distributions(*pair).items() if each.sampled}
            for pair in self.pairs()
        }
        return {pair: columns for pair, columns in sampled.items() if columns}

    def grids(self) -> dict[tuple[str, str], list[str]]:
        """The columns that a grid varies, of each (architecture, variant) that is not searched."""
        searched = self.search_spaces()
        columns = {pair: list(self._distributions(*pair)) for pair in self.pairs()}
        return {pair: names for pair, names in columns.items() if names and pair not in searched}

    def bind(
        self,
        architecture: str,
        variant: str,
        values: Mapping[str, object],
        image_shape: tuple[int, ...],
    ) -> Cell:
        """The cell of a pair with `values`, by column, in place of its distributions.

        A distribution without a value keeps the default. Drawn values may be numpy's.

        Raises:
            KeyError: a value of a column that the pair has no distribution for.
        """
        distributions = self._distributions(architecture, variant)
        drawn = {column: distributions[column].cast(value) for column, value in values.items()}
        return self._cell(architecture, variant, drawn, image_shape)

    def _cell(
        self,
        architecture: str,
        variant: str,
        drawn: Mapping[str, JsonValue],
        image_shape: tuple[int, ...],
    ) -> Cell:
        built = self.architectures[architecture]
        presentation = self.variants[variant].bound(drawn)
        return Cell(
            architecture=architecture,
            builder=built.builder,
            hyperparameters=built.hyperparameters.bound(drawn).to_data(),
            variant=variant,
            shift=presentation.shift,
            canvas=presentation.canvas or max(image_shape[:2]) + presentation.shift,
            training=self.training.bound(drawn),
            channels=math.prod(image_shape[2:]),
        )

    def default_configuration(
        self, architecture: str, variant: str, image_shape: tuple[int, ...]
    ) -> Cell:
        """The cell of a pair with every searched hyperparameter at its default."""
        return self.bind(architecture, variant, {}, image_shape)

    def override(self, *, trials: int | None = None, seed: int | None = None) -> "Space":
        """The space with a fixed number of trials, or another seed, in place of the file's.

        A fixed number replaces a mapping, and with it `until`, which needs one. Where the space
        has a `spread`, it is the number of trials of each source too.

        Raises:
            InputError: a value that the file may not have either.
        """
        data = self.to_data()
        if trials is not None:
            data |= {"trials": trials, "until": None}
            if self.spread:
                data["spread"] = {**self.spread.to_data(), "trials": trials}
        if seed is not None:
            data["seed"] = seed
        errors = ErrorCollector()
        space = Space.read(data, errors, source=self.source, rules=True)
        errors.raise_any(f"the search space {self.name}, as changed by the command,")
        space._lines = self._lines
        return space

    def check_images(self, image_shape: tuple[int, ...], classes: int) -> None:
        """Checks that images of that shape fit every cell, searched ones at their extremes.

        Raises:
            InputError: a canvas smaller than image and shift, a kernel or pool larger than what is
                left of the image, a test shift beyond a canvas, a number of class names other than
                `classes`; all at once. Or there are fewer than 2 `classes`.
        """
        if classes < 2:
            raise InputError(f"the data set has {classes} class; allowed: at least 2 to tell apart")
        errors = ErrorCollector(self._lines)
        if self.classes and len(self.classes) != classes:
            given = f"got {len(self.classes)} names; allowed: one for each of the {classes} classes"
            errors.add(("classes",), f"{given} of the data, whose labels are 0 to {classes - 1}")
        for architecture, variant in self.pairs():
            for cell in self._extremes(architecture, variant, image_shape):
                if self._check_canvas(cell, max(image_shape[:2]), errors):
                    _check_layers(cell, errors)
        height, width = image_shape[:2]
        errors.raise_any(f"the search space {self.name}, on images of {height}x{width} pixels,")

    def _check_canvas(self, cell: Cell, size: int, errors: ErrorCollector) -> bool:
        """Whether the cell's canvas holds its images; also checks the test shifts."""
        place = ("variants", cell.variant, "canvas")
        smallest = size + cell.shift
        if cell.canvas < smallest:
            why = f"image {size} + shift {cell.shift}"
            errors.add(place, refusal(cell.canvas, f"at least {smallest} ({why}), or leave it out"))
            return False
        for index, shift in enumerate(self.evaluate.shifts if self.evaluate else ()):
            if cell.canvas < size + shift:
                allowed = (
                    f"at most {cell.canvas - size} on the canvas of {cell.canvas} that variant "
                    f"{shown(cell.variant)} has; or give it canvas: {size + shift}"
                )
                errors.add(("evaluate", "shifts", index), refusal(shift, allowed))
        return True

    def _distributions(self, architecture: str, variant: str) -> dict[str, Distribution]:
        """By column, those of the grids and the searches of one pair."""
        hyperparameters = self.architectures[architecture].hyperparameters.varied()
        return hyperparameters | self.variants[variant].varied() | self.training.varied()

    def _extremes(
        self, architecture: str, variant: str, image_shape: tuple[int, ...]
    ) -> Iterator[Cell]:
        """The cells at the ends of every range that the geometry depends on."""
        columns = {
            column: _ends(distribution)
            for column, distribution in self._distributions(architecture, variant).items()
            if column in _GEOMETRY
        }
        for values in _combinations(columns):
            yield self.bind(architecture, variant, values, image_shape)


def _at_least(least: int, trials: int | StoppingRule) -> int | StoppingRule:
    """`trials`, but not fewer than `least`."""
    if isinstance(trials, int):
        return max(least, trials)
    bounds = {name: max(least, getattr(trials, name)) for name in ("at_least", "at_most")}
    return trials.model_copy(update=bounds)


def _combinations(
    columns: Mapping[str, Collection[JsonValue]],
) -> Iterator[dict[str, JsonValue]]:
    for values in itertools.product(*columns.values()):
        yield dict(zip(columns, values, strict=True))


_GEOMETRY = {"shift", "canvas", *Cnn.model_fields} - {"dense_units", "dropout"}


def _ends(distribution: Distribution) -> list[JsonValue]:
    """The smallest and the largest value; for lists, the shortest and the longest.

    What fits at the ends fits between them, see `Cnn.misfit`.
    """
    values = list(distribution.candidates().values())
    sized = sorted((value for value in values if value is not None), key=_extent)
    return [*sized[:1], *sized[1:][-1:], *([None] if None in values else [])]


def _extent(value: JsonValue) -> float:
    if isinstance(value, int | float):
        return value
    return len(value) if isinstance(value, list) else 0.0  # a hyperparameter of the user's own


def _check_layers(cell: Cell, errors: ErrorCollector) -> None:
    if cell.builder != "cnn":
        return
    misfit = Cnn.model_validate(cell.hyperparameters).misfit(cell.canvas)
    if misfit:
        key, message = misfit
        where = f"{message} of variant {shown(cell.variant)}"
        errors.add(("architectures", cell.architecture, key), where)


def load_space(name_or_path: str) -> Space:
    """Reads the search space in a YAML file, or a shipped one by its name.

    A bare name, such as `notebook`, is a shipped one's before it is a file's.

    Raises:
        InputError: there is none, or it cannot be used; all its errors are reported at once.
    """
    path = _find(name_or_path)
    heading = f"the search space {path}"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{heading} can't be read: {error.strerror}") from error
    document = read_yaml(content, heading)
    space = Space.read(document.data, document.errors, source=path.absolute(), rules=True)
    document.errors.raise_any(heading)
    return space


def shipped_folder() -> Path:
    """Where the search spaces lie that come with the project, and their JSON Schema."""
    return next((folder for folder in _SHIPPED if folder.is_dir()), _SHIPPED[0])


def shipped_spaces() -> dict[str, Path]:
    """The search spaces that come with the project: their files by name."""
    return {path.stem: path for path in sorted(shipped_folder().glob("*.yaml"))}


def _find(name_or_path: str) -> Path:
    shipped = shipped_spaces()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path).expanduser()
    if os.path.isfile(path):  # unlike Path.is_file, false for a name that is too long
        return path
    if name_or_path.removesuffix(".yaml") in shipped:
        return shipped[name_or_path.removesuffix(".yaml")]
    if os.path.exists(path):
        what = "a folder" if os.path.isdir(path) else "no file"
        raise InputError(f"{shown(name_or_path)} is {what}; give the YAML file of a search space")
    beside = [str(file) for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    hint = nearest(name_or_path, [*shipped, *beside])
    raise InputError(
        f"there is no search space {shown(name_or_path)}{hint}; "
        f"give the path of a YAML file, or one of the shipped: {', '.join(shipped)}"
    )
