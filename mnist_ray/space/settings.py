"""What the mappings of a search space have in common: strict types, and errors in plain words.

A field's `description` is what a message says is allowed there.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import no_info_wrap_validator_function

from mnist_ray.space.distributions import Distribution, parse_distribution
from mnist_ray.space.error_collector import place_of, refusal, shown, unknown

SettingsT = TypeVar("SettingsT", bound="Settings")

_EXPLAINED = "explained"
"""The type of errors whose message is what a person will read."""


class Settings(BaseModel):
    """A mapping of a search space: no unknown keys, no conversion of types, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    keys_beside: ClassVar[tuple[str, ...]] = ()
    """What may stand in the mapping beside the fields, for messages."""

    _varied: tuple[str, ...] = PrivateAttr(())

    def varied(self) -> dict[str, Distribution]:
        """The distributions that stand in place of values, in the order of the file."""
        names = self._varied
        values = dict(self) if names else {}
        return {key: values[key] for key in names}

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data with the defaults filled in; what varies comes first, in its order."""
        varied = {key: each.to_data() for key, each in self.varied().items()}
        return varied | self.model_dump(mode="json", exclude=set(varied))

    def replace(self, values: Mapping[str, JsonValue]) -> Self:
        """With some of the values replaced; these are checked."""
        return type(self).model_validate(self.to_data() | dict(values))

    def bound(self, drawn: Mapping[str, JsonValue]) -> Self:
        """With values in place of the distributions: those of `drawn`, otherwise the defaults."""
        varied = self._varied
        if not varied:
            return self
        fixed = {key: value for key, value in self if key not in varied}
        own = {key: drawn[key] for key in varied if key in drawn}
        return type(self).model_validate(fixed | self.defaults() | own)

    def defaults(self) -> dict[str, JsonValue]:
        """The values that take the place of distributions which have no default of their own."""
        return {}

    @classmethod
    def misnamed(cls, data: object) -> list[InitErrorDetails]:
        """Further errors of the keys of a mapping, beyond those that are unknown."""
        return []

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Puts pydantic's errors into words; those of inner mappings are in words already."""
        data = {} if data is None else data  # as in `centered:`
        errors = cls.misnamed(data)
        try:
            settings = handler(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            places = [place_of(each["loc"]) for each in details]
            around = {place[:end] for place in places for end in range(1, len(place))}
            errors += [
                explained(cls._in_words(each), *place)
                for each, place in zip(details, places, strict=True)
                # A list whose items are wrong is not also too short; a key may still be wrong.
                if place not in around or each["loc"] != place
            ]
        if errors:
            raise refuse(*errors)
        if isinstance(data, dict) and any(isinstance(given, dict) for given in data.values()):
            values = dict(settings)
            settings._varied = tuple(k for k in data if isinstance(values.get(k), Distribution))
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
            return unknown("key", key, [*cls.keys_beside, *cls.model_fields])
        allowed = (field and field.description) or error["msg"]
        if error["type"] == "missing":
            return f"is missing; allowed: {allowed}"
        return refusal(error["input"], allowed, _literals(field.annotation) if field else [])


def explained(message: str, *place: str | int) -> InitErrorDetails:
    """An error in words, at a place within what is validated."""
    error = PydanticCustomError(_EXPLAINED, message)  # type: ignore[arg-type]
    return InitErrorDetails(type=error, loc=place, input=None)


def refuse(*errors: InitErrorDetails) -> ValidationError:
    """What a validator raises to report errors."""
    return ValidationError.from_exception_data("value", list(errors))


class _OrDistribution:
    """In an annotation: a value of that type, or a distribution over such values in its place."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(given: object, check: Callable[[object], Any]) -> object:
            return _read_distribution(given, check) if isinstance(given, dict) else check(given)

        return no_info_wrap_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(schema["schema"]), {"type": "object"}]}


ValueT = TypeVar("ValueT")
Searchable = Annotated[ValueT, _OrDistribution()]
"""A hyperparameter: a value, or a distribution in its place."""


def _read_distribution(given: dict[str, JsonValue], check: Callable[[object], Any]) -> Distribution:
    """Each value that a distribution may take is held to the same rules as a fixed one."""
    try:
        distribution = parse_distribution(given)
    except ValueError as error:
        raise refuse(explained(str(error))) from None
    checked, errors = [], []
    for index, value in distribution.candidates().items():
        try:
            option = check(value)
            checked.append(list(option) if isinstance(option, tuple) else option)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                place = (distribution.kind, index, *each["loc"])
                kind = PydanticCustomError(each["type"], each["msg"])  # type: ignore[arg-type]
                errors.append(InitErrorDetails(type=kind, loc=place, input=each["input"]))
    if distribution.has_options and not errors:
        distribution = Distribution(distribution.kind, tuple(checked))  # 1 may have become 1.0
        errors = [
            explained(f"{shown(value)} is given twice", distribution.kind, index)
            for index, value in distribution.doubles().items()
        ]
    if errors:
        raise refuse(*errors)
    return distribution


def _literals(annotation: Any) -> list[str]:
    """The names in an annotation such as `Literal["random", "optuna"] | None`."""
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _literals(argument)
    return found
