"""Architectures in the file of a search space: what builds them, and their hyperparameters.

A field's `description` is what a message says is allowed there.
"""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, PlainValidator
from pydantic.json_schema import SkipJsonSchema

from mnist_ray.errors import refusal
from mnist_ray.space.settings import (
    FreeName,
    FreeValue,
    NamedSettings,
    NonEmptyList,
    Positive,
    Searchable,
    Share,
    Size,
    explained,
    explained_at,
    names_a_function,
)


class Architecture(NamedSettings):
    """A builder with its hyperparameters."""

    key: ClassVar = "build"

    build: SkipJsonSchema[str]
    """`feed_forward`, `cnn` or `module:function`."""


class FeedForward(Architecture):
    """Dense layers, each followed by dropout. Without hidden units it is softmax regression."""

    build: SkipJsonSchema[str] = "feed_forward"

    hidden_units: Searchable[Annotated[tuple[Size, ...], Field(strict=False)]] = Field(
        (512, 256), description="a list of integers of at least 1, one a hidden layer"
    )
    dropout: Searchable[Share] = 0.0


class Cnn(Architecture):
    """Blocks of a convolution and a pooling, then a dense layer."""

    build: SkipJsonSchema[str] = "cnn"

    filters: Searchable[NonEmptyList[Size]] = Field(
        (32, 64), description="a list of at least one integer of at least 1, one a block"
    )
    kernel_size: Searchable[Positive] = 3
    pool_size: Searchable[Positive] = 2
    pool_stride: Searchable[Positive] = 1
    dense_units: Searchable[Positive] = 128
    dropout: Searchable[Share] = 0.5

    def misfit(self, canvas: int) -> tuple[str, str] | None:
        """The hyperparameter that is too large for square images of side `canvas`, and why.

        Convolutions and poolings are without padding, so each leaves less of the image. The larger
        any hyperparameter and the smaller the canvas, the less is left: what fits the extremes of
        some ranges fits all between.
        """
        left = canvas
        for block in range(1, len(self.filters) + 1):
            for key, step in (("kernel_size", 1), ("pool_size", self.pool_stride)):
                size: int = getattr(self, key)
                if size > left:
                    why = f"{left}x{left} pixels are left before it in block {block}"
                    return key, refusal(size, f"at most {left}, since {why} on canvas {canvas}")
                left = (left - size) // step + 1
        return None


class Custom(Architecture):
    """The hyperparameters of an architecture of the user's own: whatever its function takes."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[FreeName, Searchable[FreeValue]] = Field(init=False)


BUILT_IN: dict[str, type[Architecture]] = {"feed_forward": FeedForward, "cnn": Cnn}
"""The architectures that need no code of the user's, by the name that `build` has for them."""

_BUILDERS = f'{", ".join(BUILT_IN)} or "module:function" of your own'


def _read(given: tuple[str, Any]) -> Architecture:
    """An architecture by its name, which may be that of its builder, and its mapping."""
    name, body = given
    if not isinstance(body, dict | None):
        raise explained(refusal(body, "a mapping such as {key: value}"))
    named = {"build": name} | (body or {})
    builder = named["build"]
    if isinstance(builder, str) and builder in BUILT_IN:
        return BUILT_IN[builder].model_validate(named)
    if "build" not in (body or {}):
        allowed = f"{', '.join(BUILT_IN)}, or any name with build: {_BUILDERS}"
        raise explained(refusal(builder, allowed, BUILT_IN))
    if not isinstance(builder, str) or not names_a_function(builder):
        raise explained_at((("build",), refusal(builder, _BUILDERS, BUILT_IN)))
    return Custom.model_validate(named)


ReadArchitecture = Annotated[Architecture, PlainValidator(_read)]
"""An architecture, read from its name and the mapping under that name."""
