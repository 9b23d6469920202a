"""The hyperparameters of architectures, variants and training: types, ranges and defaults."""

import keyword
import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, PlainValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from mnist_ray.space.columns import RESERVED_COLUMNS
from mnist_ray.space.error_collector import refusal, shown
from mnist_ray.space.settings import Searchable, Settings, explained

LARGEST_INTEGER = 2**31 - 1
"""The largest size or count that TensorFlow takes everywhere."""

_AT_LEAST_1 = f"an integer from 1 to {LARGEST_INTEGER}"
_AT_LEAST_0 = f"an integer from 0 to {LARGEST_INTEGER}"
_SHARE = "a number from 0 to below 1"

Positive = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
NotNegative = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Share = Annotated[float, Field(ge=0, lt=1)]


class FeedForward(Settings):
    """A built-in architecture: dense layers, each followed by dropout.

    Without hidden units it is softmax regression.
    """

    keys_beside = ("build",)

    hidden_units: Searchable[Annotated[tuple[Positive, ...], Field(strict=False)]] = Field(
        (512, 256), description="a list of integers of at least 1, one a hidden layer"
    )
    dropout: Searchable[Share] = Field(0.0, description=_SHARE)


class Cnn(Settings):
    """A built-in architecture: blocks of a convolution and a pooling, then a dense layer."""

    keys_beside = ("build",)

    filters: Searchable[Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]] = Field(
        (32, 64), description="a list of at least one integer of at least 1, one a block"
    )
    kernel_size: Searchable[Positive] = Field(3, description=_AT_LEAST_1)
    pool_size: Searchable[Positive] = Field(2, description=_AT_LEAST_1)
    pool_stride: Searchable[Positive] = Field(1, description=_AT_LEAST_1)
    dense_units: Searchable[Positive] = Field(128, description=_AT_LEAST_1)
    dropout: Searchable[Share] = Field(0.5, description=_SHARE)

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


class Variant(Settings):
    """How images are presented: on one of the (shift + 1)² central placements on a canvas."""

    shift: Searchable[NotNegative] = Field(0, description=_AT_LEAST_0)
    canvas: Searchable[Positive | None] = Field(
        None, description=f"{_AT_LEAST_1}, or null for the image's size + shift"
    )


Optimizer = Literal["adam", "sgd", "rmsprop", "adagrad", "adadelta", "adamax"]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]


def _is_no_number(value: object) -> object:
    if type(value) is int:  # pydantic's `Literal` takes 1 for true
        raise PydanticCustomError("number", "a number")
    return value


JitCompile = Annotated[Literal["auto", True, False], BeforeValidator(_is_no_number)]
"""Whether steps are compiled with XLA; `auto` does so on GPUs alone."""


class Training(Settings):
    """How one model is trained."""

    epochs: Searchable[Positive] = Field(1, description=_AT_LEAST_1)
    batch_size: Searchable[Positive] = Field(32, description=_AT_LEAST_1)
    validation_split: Searchable[Share] = Field(0.1, description=_SHARE)
    optimizer: Searchable[Optimizer] = Field(
        "adam", description="adam, sgd, rmsprop, adagrad, adadelta or adamax"
    )
    learning_rate: Searchable[Annotated[float, Field(gt=0)]] = Field(
        0.001, description="a number above 0"
    )
    precision: Searchable[Precision] = Field(
        "float32", description="float32, mixed_float16 or mixed_bfloat16"
    )
    jit_compile: Searchable[JitCompile] = Field("auto", description="auto, true or false")

    def identity(self) -> dict[str, JsonValue]:
        """What identifies a cell: all, except `jit_compile` where the device decides on it.

        Trials from before that setting so keep their keys, and tables their columns.
        """
        data = self.to_data()
        return {key: data[key] for key in data if (key, data[key]) != ("jit_compile", "auto")}


def _free_value(value: Any) -> JsonValue:
    """A value that a function of the user's own may be given: plain, or a list of plain ones."""
    items = value if isinstance(value, list) else [value]
    kinds = {kind_of(item) for item in items} - {None}
    if len(kinds) > 1 or not all(_is_plain(item) for item in items):
        allowed = "a number, text, true, false or null, or a list of such of one kind"
        raise PydanticCustomError("free_value", allowed)
    return value  # type: ignore[no-any-return]


FreeValue = Annotated[Any, PlainValidator(_free_value)]


class Custom(Settings):
    """The hyperparameters of an architecture of the user's own: whatever its function takes."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Searchable[FreeValue]] = Field(init=False)

    def defaults(self) -> dict[str, JsonValue]:
        """The first option or the middle of each distribution."""
        return {key: each.middle() for key, each in self.varied().items()}

    @classmethod
    def misnamed(cls, data: object) -> list[InitErrorDetails]:
        """Keys that no function can take, or that are other columns of the tables."""
        taken = RESERVED_COLUMNS | Training.model_fields.keys() | Variant.model_fields.keys()
        errors = []
        for key in data if isinstance(data, dict) else ():
            if not key.isidentifier() or keyword.iskeyword(key):
                allowed = "the name of an argument of your function"
                errors.append(explained(refusal(key, allowed), key))
            elif key in taken:
                message = f"{shown(key)} is another column of the report; call the hyperparameter"
                errors.append(explained(f"{message} something else, in your function too", key))
        return errors


ArchitectureSettings = FeedForward | Cnn | Custom

BUILT_IN: dict[str, type[FeedForward] | type[Cnn]] = {"feed_forward": FeedForward, "cnn": Cnn}
"""The architectures that need no code of the user's, by the name that `build` has for them."""


def kind_of(value: Any) -> str | None:
    """The kind of column that holds a value; None for null, which fits into any."""
    if isinstance(value, list | tuple):
        kinds = {kind_of(item) for item in value} - {None}
        return f"list of {kinds.pop()}" if kinds else "list"
    if value is None:
        return None
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "number"


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63  # what a column of a table holds
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str)
