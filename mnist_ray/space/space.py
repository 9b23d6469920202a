"""The search space: which cells, and how many trials of each.

A space is checked once, where it is read; it is typed data afterwards.
"""

import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue, PrivateAttr

from mnist_ray.errors import ErrorCollector, InputError, Place, refusal, shown
from mnist_ray.space.architecture import BUILT_IN
from mnist_ray.space.cell import Cell, check_layers
from mnist_ray.space.custom_code import Code, modules_of
from mnist_ray.space.distributions import Distribution, combinations
from mnist_ray.space.settings import as_data
from mnist_ray.space.shipped import find_file, shipped_spaces
from mnist_ray.space.space_file import Search, SpaceFile, StoppingRule, check_rules, read_file
from mnist_ray.space.training import Training
from mnist_ray.space.variants import ImageShape, Presentation, Transform
from mnist_ray.space.yaml_text import LARGEST, read_yaml, write_yaml

__all__ = ["Cell", "Search", "Space", "StoppingRule", "Training", "load_space", "shipped_spaces"]

_DEFAULT_CONFIRM = 10


class Space(SpaceFile):
    """A checked search space: what its file says, and the cells that follow from it.

    Grids give cells at once; all else is sampled by a search. A space has either the one or the
    other.
    """

    _source: Path | None = PrivateAttr(None)
    _lines: Mapping[Place, int] = PrivateAttr(default_factory=dict)
    _image_shapes: Mapping[str, ImageShape] = PrivateAttr(default_factory=dict)

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
        changes: dict[str, object] = {}
        if space.search and "confirm" not in space.model_fields_set:
            changes["confirm"] = _DEFAULT_CONFIRM
        if space.spread:
            changes["trials"] = _at_least(space.spread.trials, space.trials)
        space = space.model_copy(update=changes)
        space._source, space._lines = source, errors.lines
        return space

    @property
    def lines(self) -> Mapping[Place, int]:
        """The line (from 1) of each place in the file; empty where it was read from none."""
        return self._lines

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

    def user_code(self) -> Code:
        """The modules of all the user's own builders and transforms, each named "module:function".

        They are looked up beside the space's file, then on `sys.path`. A package without an
        `__init__.py` is not among them, only the modules in it that are imported.

        Raises:
            InputError: the module of a builder or transform is not found.
        """
        builders = (each.build for each in self.architectures.values())
        functions = {builder: "build" for builder in builders if builder not in BUILT_IN}
        for name, variant in self.variants.items():
            if variant.transform:
                functions.setdefault(variant.transform, f"variants: {name}: transform")
        folder = self.source.parent.absolute() if self.source else None
        return {each: modules_of(each, folder, key=key) for each, key in functions.items()}

    def pairs(self) -> list[tuple[str, str]]:
        """All (architecture, variant), by name, in the file's order."""
        return list(itertools.product(self.architectures, self.variants))

    def cells(self, image_shape: tuple[int, ...]) -> list[Cell]:
        """All cells that are known without searching, of images of height, width and, in colour, 3.

        Architectures x variants x the values of every grid in the file's order (the architecture's
        hyperparameters, the variant's, training's), the last varying fastest; each cell once. Pairs
        of architecture and variant that are searched have none here.
        """
        searched = self.search_spaces()
        cells = [
            self._cell(architecture, variant, values, image_shape)
            for architecture, variant in self.pairs()
            if (architecture, variant) not in searched
            for values in _grid(self.distributions(architecture, variant))
        ]
        return list({cell.name: cell for cell in cells}.values())

    def search_spaces(self) -> dict[tuple[str, str], dict[str, Distribution]]:
        """The distributions to sample, by column, of each searched (architecture, variant)."""
        return self._distributions_of_pairs(sampled=True)

    def grids(self) -> dict[tuple[str, str], dict[str, Distribution]]:
        """The grids, by column, of each (architecture, variant) that has any."""
        return self._distributions_of_pairs(sampled=False)

    def _distributions_of_pairs(
        self, *, sampled: bool
    ) -> dict[tuple[str, str], dict[str, Distribution]]:
        found = {}
        for pair in self.pairs():
            columns = self.distributions(*pair).items()
            found[pair] = {key: each for key, each in columns if each.sampled is sampled}
        return {pair: columns for pair, columns in found.items() if columns}

    def distributions(self, architecture: str, variant: str) -> dict[str, Distribution]:
        """What a grid or a search varies in one pair, by column; nothing in one that is gone."""
        if architecture not in self.architectures or variant not in self.variants:
            return {}
        hyperparameters = self.architectures[architecture].varied()
        return hyperparameters | self.variants[variant].varied() | self.training.varied()

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
        distributions = self.distributions(architecture, variant)
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
        return Cell(
            architecture=architecture,
            builder=built.build,
            hyperparameters=as_data(built.bound(drawn).arguments),
            variant=variant,
            training=self.training.bound(drawn),
            **vars(self._presentation(variant, drawn, image_shape)),
        )

    def presentations(self, variant: str, image_shape: tuple[int, ...]) -> list[Presentation]:
        """Every presentation that a variant's grids give; what is searched has its default."""
        grid = _grid(self.variants[variant].varied())
        found = [self._presentation(variant, values, image_shape) for values in grid]
        return list({repr(each): each for each in found}.values())

    def _presentation(
        self, variant: str, drawn: Mapping[str, JsonValue], image_shape: tuple[int, ...]
    ) -> Presentation:
        shape = self._image_shapes.get(self._shape_key(variant, drawn), image_shape)
        return self.variants[variant].bound(drawn).to_presentation(shape)

    def transforms(self) -> dict[str, list[Transform]]:
        """The transforms of all variants, where each list must give images of one shape.

        The keys are those of `with_image_shapes`. A grid has a list for each of its values. What is
        searched has one list, with every option and both ends of every range.
        """
        found: dict[str, list[Transform]] = {}
        for name, variant in self.variants.items():
            for values in variant.values_of_transform():
                transform = self._presentation(name, values, (0, 0)).transform
                if transform is not None:
                    unknown = replace(transform, image_shape=None)
                    found.setdefault(self._shape_key(name, values), []).append(unknown)
        return found

    def _shape_key(self, variant: str, drawn: Mapping[str, JsonValue]) -> str:
        varied = self.variants[variant].varied_parameters()
        values = {name: drawn.get(name) for name, each in varied.items() if not each.sampled}
        return json.dumps([variant, values])

    def variant_of(self, key: str) -> str:
        """The variant that a key of `transforms` is of."""
        return str(json.loads(key)[0])

    def with_image_shapes(self, image_shapes: Mapping[str, ImageShape]) -> "Space":
        """The space that knows what its transforms give, by the keys of `transforms`.

        Where that is not known, an image is taken to keep its shape.
        """
        space = self.model_copy()
        space._image_shapes = image_shapes
        return space

    @property
    def image_shapes(self) -> Mapping[str, ImageShape]:
        """What the transforms give, as `with_image_shapes` was told."""
        return self._image_shapes

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
        inputs: dict[tuple[int, ...], str] = {}
        for architecture, variant in self.pairs():
            for cell in self._extremes(architecture, variant, image_shape):
                inputs.setdefault(cell.input_shape, variant)
                shape = cell.transform.image_shape if cell.transform else None
                if self._check_canvas(cell, max((shape or image_shape)[:2]), errors):
                    check_layers(cell, errors)
        self._check_evaluated_variants(inputs, image_shape, errors)
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

    def _check_evaluated_variants(
        self,
        trained: Mapping[tuple[int, ...], str],
        image_shape: tuple[int, ...],
        errors: ErrorCollector,
    ) -> None:
        """Every model must take the images of the variants to evaluate on.

        `trained` has one variant for each input shape of the models.
        """
        names = self.evaluate.names_of(self.variants) if self.evaluate else ()
        for index, name in enumerate(names):
            shapes = [each.input_shape for each in self.presentations(name, image_shape)]
            for own, (shape, variant) in itertools.product(shapes, trained.items()):
                if own != shape:
                    alike = f"such as with canvas: {max(own, shape)[0]} for both"
                    errors.add(
                        ("evaluate", "variants", index),
                        f"images of variant {shown(name)} have the shape {own}, and models of "
                        f"variant {shown(variant)} take {shape}; allowed: images of one shape, "
                        f"{alike if own[-1] == shape[-1] else 'grey or colour'}",
                    )

    def _extremes(
        self, architecture: str, variant: str, image_shape: tuple[int, ...]
    ) -> Iterator[Cell]:
        """The cells at the ends of every range that the geometry depends on."""
        columns: dict[str, Collection[JsonValue]] = {
            column: _ends(distribution)
            for column, distribution in self.distributions(architecture, variant).items()
            if column in _GEOMETRY
        }
        if len(set(self._image_shapes.values())) > 1:
            grids = self.variants[variant].varied_parameters()
            columns |= {k: grid.candidates() for k, grid in grids.items()}
        for values in combinations(columns):
            yield self.bind(architecture, variant, values, image_shape)


def _at_least(least: int, trials: int | StoppingRule) -> int | StoppingRule:
    """`trials`, but not fewer than `least`."""
    if isinstance(trials, int):
        return max(least, trials)
    bounds = {name: max(least, getattr(trials, name)) for name in ("at_least", "at_most")}
    return trials.model_copy(update=bounds)


def _grid(columns: Mapping[str, Distribution]) -> Iterator[dict[str, JsonValue]]:
    """The combinations of what grids and options hold."""
    return combinations(
        {name: grid.candidates() for name, grid in columns.items() if not grid.sampled}
    )


_GEOMETRY = {"shift", "canvas", "filters", "kernel_size", "pool_size", "pool_stride"}
"""The columns that decide whether an image fits, see `Cnn.misfit`."""


def _ends(distribution: Distribution) -> list[JsonValue]:
    """The smallest and the largest value; for lists, the shortest and the longest.

    What fits at the ends fits between them, see `Cnn.misfit`.
    """
    values = distribution.candidates()
    sized = [value for value in values if value is not None]
    ends: list[JsonValue] = [min(sized, key=_extent), max(sized, key=_extent)] if sized else []
    return [*ends, None] if None in values else ends


def _extent(value: JsonValue) -> float:
    if isinstance(value, int | float):
        return value
    return len(value) if isinstance(value, list) else 0.0  # a hyperparameter of the user's own


def load_space(name_or_path: str) -> Space:
    """Reads the search space in a YAML file, or a shipped one by its name.

    A bare name, such as `notebook`, is a shipped one's before it is a file's.

    Raises:
        InputError: there is none, or it cannot be used; all its errors are reported at once.
    """
    path = find_file(name_or_path)
    heading = f"the search space {path}"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{heading} cannot be read: {error.strerror}") from error
    return read_space(content, heading, source=path.absolute(), rules=True)


def read_space(
    content: bytes, heading: str, *, source: Path | None = None, rules: bool = False
) -> Space:
    """The search space in a YAML file's content, as `Space.read` reads it.

    Raises:
        InputError: it cannot be used; `heading` names the file in the message.
    """
    data, errors = read_yaml(content, heading)
    space = Space.read(data, errors, source=source, rules=rules)
    errors.raise_any(heading)
    return space
