"""How a model is trained: epochs, batches, numbers, and Keras' optimizers with their schedules.

A field's `description` is what a message says is allowed there.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mnist_ray.errors import Place, refusal, unknown
from mnist_ray.space.distributions import candidates
from mnist_ray.space.optimizers import OPTIMIZERS, SCHEDULES, STEPS, KerasClass
from mnist_ray.space.settings import (
    FreeValue,
    NamedSettings,
    OrDistribution,
    Positive,
    Searchable,
    Settings,
    Share,
    as_data,
    explained,
    explained_at,
)

COUNTS = ("epoch", "training")
"""What may stand in place of a number of steps: as many as an epoch or the whole training has."""


class KerasSettings(NamedSettings):
    """One of Keras' classes, with arguments. Those that are not given are Keras' own defaults."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Searchable[FreeValue]] = Field(init=False)
    classes: ClassVar[Mapping[str, KerasClass]]
    several: ClassVar[str]
    """How several of them are written, for messages."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_one_of_keras(cls, name: object) -> object:
        if isinstance(name, dict):
            what = cls.__name__.lower()
            raise explained(f"is one {what}; of several, each is an option: {cls.several}")
        if name not in list(cls.classes):
            raise explained(refusal(name, ", ".join(cls.classes), cls.classes))
        return name

    def lacks_default(self, key: str) -> bool:
        """Keras has one for each argument that it does not require."""
        return key in self.classes[getattr(self, self.key)].required

    @model_validator(mode="before")
    @classmethod
    def _takes_these_arguments(cls, given: Any) -> Any:
        # Another error is noted where the name is no text, or not that of a class.
        name = given.get(cls.key) if isinstance(given, dict) else None
        known = cls.classes.get(name) if isinstance(name, str) else None
        if known is None:
            return given
        errors: list[tuple[Place, str]] = []
        for key in given:
            if key not in (cls.key, *known.arguments):
                errors.append(((key,), _not_taken(str(key), known)))
        for key in known.required:
            if key not in given:
                errors.append(((key,), f"is missing; {known.keras_name} requires it"))
        if errors:
            raise explained_at(*errors)
        return given

    @model_validator(mode="after")
    def _text_counts_steps(self) -> Self:
        errors: list[tuple[Place, str]] = []
        for key, given in self.arguments.items():
            counts_steps = key in STEPS
            names = COUNTS if counts_steps else ()
            allowed = "a number of steps, epoch or training" if counts_steps else "a number"
            for text in _texts(given, in_lists=counts_steps):
                if text not in names:
                    errors.append(((key,), refusal(text, allowed, names)))
        if errors:
            raise explained_at(*errors)
        return self


def _texts(given: object, *, in_lists: bool) -> Iterator[str]:
    """The texts among all values that an argument may have; those in lists where asked for."""
    for value in candidates(given):
        items = value if in_lists and isinstance(value, list) else [value]
        yield from (item for item in items if isinstance(item, str))


def _not_taken(argument: str, known: KerasClass) -> str:
    if argument == "learning_rate":
        return "stands beside optimizer, in training"
    return unknown(f"argument of {known.keras_name}", argument, known.arguments)


class Optimizer(KerasSettings):
    """One of Keras' optimizers with arguments."""

    key: ClassVar = "name"
    classes: ClassVar = OPTIMIZERS
    several: ClassVar = "{grid_search: [adam, {name: sgd, momentum: 0.9}]}"

    name: str


class Schedule(KerasSettings):
    """One of Keras' learning rate schedules."""

    key: ClassVar = "schedule"
    classes: ClassVar = SCHEDULES
    several: ClassVar = "learning_rate: {grid_search: [0.001, {schedule: …}]}"

    schedule: str


_OPTIMIZER = f"{', '.join(OPTIMIZERS)}, or {{name: one of these, argument: value}}"
_RATE = "a number above 0, or {schedule: Keras' name of it, argument: value}"
_number = TypeAdapter(Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)])


def _read_optimizer(given: object) -> object:
    if isinstance(given, Optimizer) or (isinstance(given, dict) and Optimizer.key in given):
        optimizer = Optimizer.model_validate(given)
        return optimizer if optimizer.arguments else optimizer.name
    if given not in list(OPTIMIZERS):
        raise explained(refusal(given, _OPTIMIZER, OPTIMIZERS))
    return given


def _read_rate(given: object) -> object:
    if isinstance(given, Schedule) or (isinstance(given, dict) and Schedule.key in given):
        return Schedule.model_validate(given)
    try:
        return _number.validate_python(given)
    except ValidationError:
        raise explained(refusal(given, _RATE)) from None


def _schema(model: type[KerasSettings], plain: dict[str, Any]) -> WithJsonSchema:
    """Less than reading a file demands: which of the arguments belong together is not said."""
    arguments = {name for each in model.classes.values() for name in each.arguments}
    with_arguments = {
        "type": "object",
        "required": [model.key],
        "properties": {model.key: {"enum": [*model.classes]}, **{a: {} for a in sorted(arguments)}},
        "additionalProperties": False,
    }
    return WithJsonSchema({"anyOf": [plain, with_arguments]})


Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]


def _is_no_number(value: object) -> object:
    if type(value) is int:  # pydantic's `Literal` takes 1 for true
        raise ValueError("a number")
    return value


JitCompile = Annotated[Literal["auto", True, False], BeforeValidator(_is_no_number)]
"""Whether steps are compiled with XLA; `auto` does so on GPUs alone."""


class Training(Settings):
    """How one model is trained."""

    epochs: Searchable[Positive] = 1
    batch_size: Searchable[Positive] = 32
    validation_split: Searchable[Share] = 0.1
    optimizer: Annotated[
        str | Optimizer,
        PlainValidator(_read_optimizer),
        _schema(Optimizer, {"enum": [*OPTIMIZERS]}),
        OrDistribution(beside_mappings=True),
    ] = Field("adam", description=_OPTIMIZER)
    learning_rate: Annotated[
        float | Schedule,
        PlainValidator(_read_rate),
        _schema(Schedule, {"type": "number", "exclusiveMinimum": 0}),
        OrDistribution(beside_mappings=True),
    ] = Field(0.001, description=_RATE)
    precision: Searchable[Precision] = Field(
        "float32", description="float32, mixed_float16 or mixed_bfloat16"
    )
    jit_compile: Searchable[JitCompile] = Field("auto", description="auto, true or false")

    def trained(self, images: int) -> int:
        """How many of the training images are trained on; the others are for validation.

        Keras' own rule: validation is the last part, whatever the order of training.
        """
        return math.floor(images * (1.0 - self.validation_split))

    @property
    def optimizer_name(self) -> str:
        """Of Keras' class, in lower-case letters."""
        return self.optimizer if isinstance(self.optimizer, str) else self.optimizer.name

    @property
    def optimizer_arguments(self) -> dict[str, JsonValue]:
        return {} if isinstance(self.optimizer, str) else self.optimizer.arguments

    @property
    def has_keras_arguments(self) -> bool:
        """Whether there are values that only Keras can check."""
        return not isinstance(self.optimizer, str) or isinstance(self.learning_rate, Schedule)

    @model_validator(mode="after")
    def _arguments_have_columns_of_their_own(self) -> Self:
        optimizer, schedule = self.optimizer, self.learning_rate
        if isinstance(optimizer, Optimizer) and isinstance(schedule, Schedule):
            for key in optimizer.arguments.keys() & schedule.arguments.keys():
                message = "is an argument of the optimizer too, and each has a column of its own"
                raise explained_at((("learning_rate", key), message))
        return self

    def given_arguments(self) -> dict[str, dict[str, JsonValue]]:
        """Those of the optimizer and of the learning rate, in any option of a distribution."""
        found: dict[str, dict[str, Any]] = {"optimizer": {}, "learning_rate": {}}
        for key, arguments in found.items():
            for given in candidates(getattr(self, key)):
                data = as_data(given)
                arguments |= data if isinstance(data, dict) else {}
        return found

    def identity(self) -> dict[str, JsonValue]:
        """What identifies a cell: all, except `jit_compile` where the device decides on it.

        Trials from before that setting so keep their keys, and tables their columns.
        """
        data = self.to_data()
        return {key: data[key] for key in data if (key, data[key]) != ("jit_compile", "auto")}

    def columns(self) -> dict[str, JsonValue]:
        """`identity`, by the names of columns: each argument has its own."""
        flat: dict[str, JsonValue] = {}
        for key, value in self.identity().items():
            arguments = dict(value) if isinstance(value, dict) else {Optimizer.key: value}
            flat |= {key: arguments.pop(Optimizer.key, None), **arguments}
        return flat
