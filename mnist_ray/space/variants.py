"""Variants: how images are presented, by a function of the user's own, a shift and a canvas."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from mnist_ray.errors import ErrorCollector, refusal, shown, unknown
from mnist_ray.space.distributions import Distribution, combinations
from mnist_ray.space.settings import (
    AT_LEAST_1,
    EachOnce,
    FreeName,
    FreeValue,
    NonEmptyList,
    NotNegative,
    Searchable,
    Settings,
    Size,
    explained,
    explained_at,
    names_a_function,
)

ImageShape = tuple[int, ...]
"""Height and width in pixels, followed by 3 where the images are in colour."""

_FUNCTION = '"module:function" of your own, or null'


@dataclass(frozen=True)
class Transform:
    """A function of the user's own from images to images, with its parameters.

    It is called as `function(images, generator, **parameters)`.
    """

    function: str
    """`module:function`."""
    parameters: dict[str, JsonValue]
    image_shape: ImageShape | None = field(default=None, compare=False)
    """Of each image that it gives; None where it was not called to find out."""

    def identity(self, source: str | None) -> dict[str, JsonValue]:
        """What its images depend on beside the given ones; `source` is the digest of its code."""
        return {"function": self.function, "parameters": self.parameters, "source": source}

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"transform {self.function}({values})"


@dataclass(frozen=True)
class Presentation:
    """How the images of one test set are presented."""

    transform: Transform | None
    """Applied first; None for the images as they are."""
    shift: int
    canvas: int
    channels: int = field(default=1, compare=False)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what a model sees."""
        return self.canvas, self.canvas, self.channels

    def columns(self) -> dict[str, JsonValue]:
        """By the names of columns, those of the transform first."""
        own: dict[str, JsonValue] = {}
        if self.transform:
            own = {"transform": self.transform.function, **self.transform.parameters}
        return {**own, "shift": self.shift, "canvas": self.canvas}

    def identity(self, source: str | None) -> dict[str, Any]:
        """All that it consists of; `source` is the digest of the transform's code."""
        own = {"transform": self.transform.identity(source)} if self.transform else {}
        return {"shift": self.shift, "canvas": self.canvas, **own}


def _function(given: str | None) -> str | None:
    if given is not None and not names_a_function(given):
        raise explained(refusal(given, _FUNCTION))
    return given


class Variant(Settings):
    """How images are presented: on one of the (shift + 1)² central placements on a canvas.

    A transform comes first. What else the mapping holds are its parameters.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[FreeName, Searchable[FreeValue]] = Field(init=False)

    transform: Annotated[str | None, AfterValidator(_function)] = Field(None, description=_FUNCTION)
    shift: Searchable[NotNegative] = 0
    canvas: Searchable[Size | None] = Field(
        None, description=f"{AT_LEAST_1}, or null for the image's size + shift"
    )

    @model_validator(mode="before")
    @classmethod
    def _parameters_need_a_transform(cls, given: Any) -> Any:
        """Refuses other keys where there is no function to take them."""
        if isinstance(given, dict) and given.get("transform") is None:
            names = [name for name in given if name not in cls.model_fields]
            errors = [((name,), unknown("key", name, cls.model_fields)) for name in names]
            if errors:
                raise explained_at(*errors)
        return given

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the transform, in the order of the file; distributions among them."""
        return dict(self.__pydantic_extra__)

    def varied_parameters(self) -> dict[str, Distribution]:
        """Those of the transform that are a grid or searched."""
        return {key: each for key, each in self.varied().items() if key in self.parameters}

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data, without the key of a transform where there is none."""
        data = super().to_data()
        return data if self.transform else {k: v for k, v in data.items() if k != "transform"}

    def to_presentation(self, image_shape: ImageShape) -> Presentation:
        """The presentation of a variant without distributions.

        `image_shape` is that of the images which are to be shifted.
        """
        transform = self.transform and Transform(self.transform, self.parameters, image_shape)
        canvas = self.canvas or max(image_shape[:2]) + self.shift
        channels = math.prod(image_shape[2:])
        return Presentation(transform or None, self.shift, canvas, channels)

    def values_of_transform(self) -> Iterator[dict[str, JsonValue]]:
        """Values of the varied parameters of the transform, which stand for all; none without one.

        A grid's combinations. What is searched is varied one by one, beside the defaults.
        """
        if self.transform is None:
            return
        varied = {key: each.candidates() for key, each in self.varied_parameters().items()}
        if any(each.sampled for each in self.varied_parameters().values()):
            yield {}
            for name, values in varied.items():
                yield from ({name: value} for value in values)
        else:
            yield from combinations(varied)


_LONGEST_SHIFT = 1_000_000
_NAMES = "all, or a list of at least one name of a variant, each once"


def _all_or_names(given: object) -> object:
    is_all = given == "all" and isinstance(given, str)
    if is_all or (isinstance(given, list) and given and all(isinstance(g, str) for g in given)):
        return given
    raise ValueError(_NAMES)


class Evaluate(Settings):
    """Further test sets that every trained model is graded on, on its own canvas."""

    shifts: Annotated[NonEmptyList[Annotated[int, Field(ge=0, le=_LONGEST_SHIFT)]], EachOnce] = (
        Field((), description="a list of at least one integer of at least 0, each once")
    )
    """Its own variant's images, shifted by so many pixels."""
    variants: Annotated[
        Literal["all"] | NonEmptyList[str], BeforeValidator(_all_or_names), EachOnce
    ] = Field((), description=_NAMES)
    """The images of other variants."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Evaluate":
        if not self.shifts and not self.variants:
            raise explained("is empty; allowed: shifts, variants or both")
        return self

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data, without what is not asked for."""
        return {key: value for key, value in super().to_data().items() if value}

    def names_of(self, variants: Mapping[str, Variant]) -> tuple[str, ...]:
        """The names of the variants asked for."""
        return tuple(variants) if self.variants == "all" else tuple(self.variants)


def check_evaluated_variants(
    evaluate: Evaluate | None, variants: Mapping[str, Variant], errors: ErrorCollector
) -> None:
    """Notes variants to evaluate on that there are not, or whose images a search decides on."""
    if evaluate is None or errors.within(("variants",), ("evaluate",)):
        return
    for index, name in enumerate(evaluate.names_of(variants)):
        given = evaluate.variants != "all"
        place = ("evaluate", "variants", index) if given else ("evaluate", "variants")
        if name not in variants:
            errors.add(place, unknown("variant", name, variants))
        elif any(each.sampled for each in variants[name].varied().values()):
            errors.add(
                place,
                f"the images of variant {shown(name)} are not known, since what it is made of is "
                "searched; name others",
            )
