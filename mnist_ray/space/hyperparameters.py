"""The hyperparameters of architectures, variants and training: types, ranges and defaults.

A field's `description` is what a message says is allowed there.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from mnist_ray.space.distributions import Distribution, parse_distribution
from mnist_ray.space.error_collector import ErrorCollector, Place, refusal, shown

LARGEST_INTEGER = 2**31 - 1
"""The largest size or count that TensorFlow takes everywhere."""

_AT_LEAST_1 = f"an integer from 1 to {LARGEST_INTEGER}"
_AT_LEAST_0 = f"an integer from 0 to {LARGEST_INTEGER}"

Positive = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
NotNegative = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """A mapping of a search space: no unknown keys, no conversion of types, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data, in a file's order, with the defaults filled in."""
        return self.model_dump(mode="json")

    def replace(self, values: Mapping[str, JsonValue]) -> Self:
        """With some of the values replaced; these are checked."""
        return type(self).model_validate(self.to_data() | dict(values))


SettingsT = TypeVar("SettingsT", bound=Settings)


class FeedForward(Settings):
    """A built-in architecture: dense layers, each followed by dropout.

    Without hidden units it is softmax regression.
    """

    hidden_units: Annotated[tuple[Positive, ...], Field(strict=False)] = Field(
        (512, 256), description="a list of integers of at least 1, one a hidden layer"
    )
    dropout: Share = Field(0.0, description="a number from 0 to below 1")


class Cnn(Settings):
    """A built-in architecture: blocks of a convolution and a pooling, then a dense layer."""

    filters: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = Field(
        (32, 64), description="a list of at least one integer of at least 1, one a block"
    )
    kernel_size: Positive = Field(3, description=_AT_LEAST_1)
    pool_size: Positive = Field(2, description=_AT_LEAST_1)
    pool_stride: Positive = Field(1, description=_AT_LEAST_1)
    dense_units: Positive = Field(128, description=_AT_LEAST_1)
    dropout: Share = Field(0.5, description="a number from 0 to below 1")

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
    __pydantic_extra__: dict[str, FreeValue] = Field(init=False)


ArchitectureSettings = FeedForward | Cnn | Custom

BUILT_IN: dict[str, type[FeedForward] | type[Cnn]] = {"feed_forward": FeedForward, "cnn": Cnn}
"""The architectures that need no code of the user's, by the name that `build` has for them."""


class Variant(Settings):
    """How images are presented: on one of the (shift + 1)² central placements on a canvas."""

    shift: NotNegative = Field(0, description=_AT_LEAST_0)
    canvas: Positive | None = Field(
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

    epochs: Positive = Field(1, description=_AT_LEAST_1)
    batch_size: Positive = Field(32, description=_AT_LEAST_1)
    validation_split: Share = Field(0.1, description="a number from 0 to below 1")
    optimizer: Optimizer = Field(
        "adam", description="adam, sgd, rmsprop, adagrad, adadelta or adamax"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.001, description="a number above 0")
    precision: Precision = Field("float32", description="float32, mixed_float16 or mixed_bfloat16")
    jit_compile: JitCompile = Field("auto", description="auto, true or false")

    def identity(self) -> dict[str, JsonValue]:
        """What identifies a cell: all, except `jit_compile` where the device decides on it.

        Trials from before that setting so keep their keys, and tables their columns.
        """
        data = self.to_data()
        return {key: data[key] for key in data if (key, data[key]) != ("jit_compile", "auto")}


def kind_of(value: JsonValue) -> str | None:
    """The kind of column that holds a value; None for null, which fits into any."""
    if isinstance(value, list):
        kinds = {kind_of(item) for item in value} - {None}
        return f"list of {kinds.pop()}" if kinds else "list"
    if value is None:
        return None
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "number"


def read_settings(
    model: type[SettingsT],
    data: object,
    *,
    place: Place,
    errors: ErrorCollector,
    known: Iterable[str] | None = None,
) -> SettingsT:
    """One mapping of a file that has no distributions in it.

    Faults are noted, and what is right is given back with defaults for the rest. `known` are the
    keys for messages, where they are more than the model's own.
    """
    given = read_mapping(data, place, errors)
    if given is None:
        return model.model_construct()
    try:
        return model.model_validate(given)
    except ValidationError as error:
        errors.add_errors(error, model, place=place, known=known or model.model_fields)
        wrong = {detail["loc"][0] for detail in error.errors()}
        right: dict[str, Any] = {
            key: given[key] for key in model.model_fields if key in given.keys() - wrong
        }
        return model.model_construct(**right)


def read_searchable(
    model: type[SettingsT],
    data: object,
    *,
    place: Place,
    errors: ErrorCollector,
    known: Iterable[str] | None = None,
) -> tuple[SettingsT, dict[str, Distribution]]:
    """One mapping of a file in which any value may be a distribution instead.

    Gives the values, where a distribution stands the default, and the distributions by key. Each
    value that a distribution may take is held to the same type and range as a fixed one. `known`
    as in `read_settings`.
    """
    distributions: dict[str, Distribution] = {}
    fixed: dict[str, JsonValue] = {}
    given = read_mapping(data, place, errors)
    if given is None:
        return model.model_construct(), {}
    for key, value in given.items():
        known_key = model is Custom or key in model.model_fields
        if not (isinstance(value, dict) and known_key):
            fixed[key] = value
        elif distribution := _read_distribution(model, key, value, (*place, key), errors):
            distributions[key] = distribution
    if model is Custom:
        fixed |= {key: distribution.middle() for key, distribution in distributions.items()}
    return read_settings(model, fixed, place=place, errors=errors, known=known), distributions


def read_mapping(data: object, place: Place, errors: ErrorCollector) -> dict[str, JsonValue] | None:
    """`data` if it is a mapping, else None; nothing at all, as in `centered:`, is an empty one."""
    if data is None or isinstance(data, dict):
        return data or {}
    errors.add(place, refusal(data, "a mapping such as {key: value}"))
    return None


def _read_distribution(
    model: type[Settings],
    key: str,
    data: dict[str, JsonValue],
    place: Place,
    errors: ErrorCollector,
) -> Distribution | None:
    try:
        distribution = parse_distribution(data)
    except ValueError as error:
        errors.add(place, str(error))
        return None
    field = model.model_fields.get(key)
    checked: list[JsonValue] = []
    for index, value in distribution.candidates().items():
        try:
            checked.append(model.model_validate({key: value}).to_data()[key])
        except ValidationError as error:
            allowed = (field and field.description) or error.errors()[0]["msg"]
            errors.add((*place, distribution.kind, index), refusal(value, allowed))
    if not distribution.has_options or len(checked) < len(distribution.parameters):
        return distribution
    distribution = Distribution(distribution.kind, tuple(checked))  # 1 is 1.0 where a float belongs
    for index, value in distribution.doubles().items():
        errors.add((*place, distribution.kind, index), f"{shown(value)} is given twice")
    return distribution


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63  # what a column of a table holds
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str)
