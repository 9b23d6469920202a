"""Mappings of a search space as models: their types, and their errors in words.

A field's `description` is what a message says is allowed there.
"""

import keyword
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import no_info_wrap_validator_function

from mnist_ray.errors import Place, refusal, shown, unknown
from mnist_ray.space.columns import RESERVED_COLUMNS, SETTINGS
from mnist_ray.space.distributions import FORMS, Distribution, json_schema

LARGEST_INTEGER = 2**31 - 1
"""The largest size or count that TensorFlow takes everywhere."""

_EXPLAINED = "explained"
"""The type of errors whose message is what a person will read."""
_NESTED = "a distribution cannot stand within an option of another; write its options out"


def explained(message: str) -> PydanticCustomError:
    """What a validator raises with a message for the user."""
    return PydanticCustomError(_EXPLAINED, message)  # type: ignore[arg-type]


def explained_at(*errors: tuple[Place, str]) -> ValidationError:
    """What a validator raises for errors at places within what it validates."""
    details = [InitErrorDetails(type=explained(m), loc=place, input=None) for place, m in errors]
    return ValidationError.from_exception_data("value", details)


class Settings(BaseModel):
    """A mapping of a search space: no unknown keys, no conversion of types, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    _varied: dict[str, Distribution] = PrivateAttr(default_factory=dict)

    def varied(self) -> dict[str, Distribution]:
        """The distributions that stand in place of values, in the order of the file, by name."""
        return {str(place[-1]): each for place, each in self.varied_places().items()}

    def varied_places(self) -> dict[Place, Distribution]:
        """The same by their places, those of inner settings among them."""
        return _distributions_in(self)

    def in_order(self) -> dict[str, Any]:
        """All values; what varies comes first, in the order of the file."""
        return self._varied | dict(self)

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data with the defaults filled in, in the same order."""
        return {key: as_data(value) for key, value in self.in_order().items()}

    def bound(self, drawn: Mapping[str, JsonValue]) -> Self:
        """With values in place of the distributions: those of `drawn`, otherwise the defaults."""
        if not self.varied_places():
            return self
        fixed: dict[str, Any] = {}
        varied: dict[str, Any] = {}
        for key, value in self:
            if isinstance(value, Settings):
                fixed[key] = value.bound(drawn)
            elif key not in self._varied:
                fixed[key] = value
            elif key in drawn:
                varied[key] = drawn[key]
            elif self.lacks_default(key):
                varied[key] = value.middle()
        return type(self).model_validate(fixed | varied)  # the order of the tables' columns

    def lacks_default(self, key: str) -> bool:
        """Whether a distribution's middle has to take its place where no value is drawn."""
        return key not in type(self).model_fields

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Puts pydantic's errors into words; those of inner mappings are in words already."""
        data = {} if data is None else data  # as in `centered:`
        try:
            settings = handler(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            places = [_place(each["loc"]) for each in details]
            around = {place[:end] for place in places for end in range(1, len(place))}
            errors = [
                (place, cls._in_words(each))
                for each, place in zip(details, places, strict=True)
                # A list whose items are wrong is not also too short; a key may still be wrong.
                if place not in around or each["loc"] != place
            ]
            raise explained_at(*errors) from None
        if isinstance(data, dict):
            varied = {k: each for k, each in settings if isinstance(each, Distribution)}
            settings._varied = {key: varied[key] for key in data if key in varied}
        return settings

    @classmethod
    def _in_words(cls, error: ErrorDetails) -> str:
        if error["type"] == _EXPLAINED:
            return error["msg"]
        if not error["loc"]:
            return refusal(error["input"], "a mapping such as {key: value}")
        key = str(error["loc"][0])
        field = cls.model_fields.get(key)
        if error["type"] == "extra_forbidden":
            return unknown("key", key, cls.model_fields)
        allowed = (field and field.description) or error["msg"]
        if error["type"] == "missing":
            return f"is missing; allowed: {allowed}"
        return refusal(error["input"], allowed, _literals(field.annotation) if field else [])


class NamedSettings(Settings):
    """Something that takes arguments, by its name under `key`, and these."""

    key: ClassVar[str]

    @property
    def arguments(self) -> dict[str, Any]:
        """In the order of the file; distributions stand where the file has them."""
        return {key: value for key, value in self if key != self.key}

    def to_data(self) -> dict[str, JsonValue]:
        return {self.key: getattr(self, self.key)} | super().to_data()


def _place(location: Place) -> Place:
    """A place by pydantic's location of an error, which marks keys."""
    return location[:-1] if location[-1:] == ("[key]",) else location


def _literals(annotation: Any) -> list[str]:
    """The names in an annotation such as `Literal["random", "optuna"] | None`, or of an enum."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return list(annotation)
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _literals(argument)
    return found


def _distributions_in(value: Any) -> dict[Place, Distribution]:
    if isinstance(value, Distribution):
        return {(): value}
    inner = value.in_order() if isinstance(value, Settings) else value
    return {
        (key, *place): distribution
        for key, each in (inner.items() if isinstance(inner, dict) else ())
        for place, distribution in _distributions_in(each).items()
    }


def as_data(value: Any) -> Any:
    """What settings hold as plain data, as a file would have it."""
    if isinstance(value, Settings | Distribution):
        return value.to_data()
    if isinstance(value, dict):
        return {key: as_data(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [as_data(each) for each in value]
    return str(value) if isinstance(value, StrEnum) else value


@dataclass(frozen=True)
class OrDistribution:
    """In an annotation: a value of that type, or a distribution over such values in its place."""

    beside_mappings: bool = False
    """Whether the value itself may be a mapping too, with other keys than a distribution's."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(given: object, check: Callable[[object], Any]) -> object:
            if isinstance(given, dict) and (not self.beside_mappings or given.keys() & FORMS):
                return _read_distribution(given, check)
            return check(given)

        return no_info_wrap_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        value = handler(schema["schema"])
        values = value["anyOf"] if self.beside_mappings else [value]
        return {"anyOf": [*values, json_schema(value)]}


ValueT = TypeVar("ValueT")
Searchable = Annotated[ValueT, OrDistribution()]
"""A hyperparameter: a value, or a distribution in its place."""


def parse_distribution(given: Mapping[str, JsonValue]) -> Distribution:
    """The distribution that a file's mapping of one key describes, such as `{uniform: [0, 0.5]}`.

    Raises:
        ValueError: it describes none; the message says what came and what is allowed.
    """
    if len(given) != 1:
        allowed = f"a value, or a mapping of one key out of {', '.join(FORMS)}"
        raise explained(refusal(given, allowed))
    [(kind, parameters)] = given.items()
    if kind not in FORMS:
        raise explained(unknown("distribution", kind, FORMS))
    if isinstance(parameters, list):
        distribution = Distribution(kind, tuple(parameters))
        if distribution.is_sound:
            return distribution
    raise explained(refusal(given, FORMS[kind]))


def _read_distribution(given: dict[str, JsonValue], check: Callable[[object], Any]) -> Distribution:
    """The distribution that a file has in place of a value, which `check` reads.

    Each value that it may take is held to the same rules as a fixed one.
    """
    distribution = parse_distribution(given)
    checked: list[Any] = []
    errors: list[InitErrorDetails] = []
    for index, value in enumerate(distribution.candidates()):
        try:
            option = check(value)
            if isinstance(option, Settings) and (inner := option.varied_places()):
                raise explained_at(*((place, _NESTED) for place in inner))
            checked.append(as_data(option))
        except ValidationError as error:
            errors += _errors_within((distribution.kind, index), error)
    if errors:
        raise ValidationError.from_exception_data("value", errors)
    if not distribution.has_options:
        return distribution
    distribution = Distribution(distribution.kind, tuple(checked))  # 1 may have become 1.0
    if doubles := distribution.doubles():
        twice = [((distribution.kind, i), f"{shown(doubles[i])} is given twice") for i in doubles]
        raise explained_at(*twice)
    return distribution


def _errors_within(around: Place, error: ValidationError) -> Iterator[InitErrorDetails]:
    """The same errors, of what stands at the place `around`."""
    for each in error.errors(include_url=False):
        kind = PydanticCustomError(each["type"], each["msg"])  # type: ignore[arg-type]
        yield InitErrorDetails(type=kind, loc=(*around, *each["loc"]), input=each["input"])


AT_LEAST_1 = f"an integer from 1 to {LARGEST_INTEGER}"
Size = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
Positive = Annotated[Size, Field(description=AT_LEAST_1)]
NotNegative = Annotated[
    int, Field(ge=0, le=LARGEST_INTEGER, description=f"an integer from 0 to {LARGEST_INTEGER}")
]
Share = Annotated[float, Field(ge=0, lt=1, description="a number from 0 to below 1")]


def _each_once(given: Any) -> Any:
    if isinstance(given, tuple) and len(set(given)) < len(given):
        raise ValueError("one is given twice")
    return given


EachOnce = AfterValidator(_each_once)
NonEmptyList = Annotated[tuple[ValueT, ...], Field(strict=False, min_length=1)]


def _free_name(key: str) -> str:
    if not key.isidentifier() or keyword.iskeyword(key):
        raise explained(refusal(key, "the name of an argument of your function"))
    if key in RESERVED_COLUMNS | SETTINGS:
        message = f"{shown(key)} is another column of the report; call the hyperparameter"
        raise explained(f"{message} something else, in your function too")
    return key


def _free_value(value: Any) -> JsonValue:
    items = value if isinstance(value, list) else [value]
    kinds = {kind_of(item) for item in items} - {None}
    if len(kinds) > 1 or not all(_is_plain(item) for item in items):
        allowed = "a number, text, true, false or null, or a list of such of one kind"
        raise explained(refusal(value, allowed))
    return value  # type: ignore[no-any-return]


def names_a_function(given: str) -> bool:
    """Whether a text is of the form `module:function`."""
    module, _, function = given.partition(":")
    names = [*module.split("."), function]
    return all(name.isidentifier() and not keyword.iskeyword(name) for name in names)


FreeName = Annotated[str, AfterValidator(_free_name)]
FreeValue = Annotated[
    Any,
    PlainValidator(_free_value),
    WithJsonSchema({"type": ["number", "string", "boolean", "null", "array"]}),
]


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
