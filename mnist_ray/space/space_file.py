"""What the file of a search space may say: its keys and their types, as one nested model."""

import copy
import keyword
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from mnist_ray.space.distributions import Distribution
from mnist_ray.space.error_collector import ErrorCollector, Place, place_of, refusal
from mnist_ray.space.hyperparameters import (
    BUILT_IN,
    ArchitectureSettings,
    Custom,
    Training,
    Variant,
)
from mnist_ray.space.settings import Settings, explained, refuse

DEFAULT_CONFIRM = 10

_MOST_TRIALS = 1_000_000
_LONGEST_NAME = 100
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of what breaks lines, terminals and files."""
_FROM_1 = f"an integer from 1 to {_MOST_TRIALS}"
_FROM_2 = f"an integer from 2 to {_MOST_TRIALS}"
_HALF_WIDTH = "a half-width in accuracy, above 0 and below 1, such as 0.002"
_NAMED = "a mapping of at least one name to its hyperparameters"

Count = Annotated[int, Field(le=_MOST_TRIALS)]
HalfWidth = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]


def _printable(name: str) -> str:
    blank = not name.strip() or len(name) > _LONGEST_NAME
    if blank or any(unicodedata.category(character) in _CONTROLS for character in name):
        allowed = f"a name of 1 to {_LONGEST_NAME} characters, no control characters in it"
        raise refuse(explained(refusal(name, allowed)))
    return name


Name = Annotated[str, AfterValidator(_printable)]


class StoppingRule(Settings):
    """Trials until the answer is precise enough, instead of a fixed number."""

    at_least: Annotated[Count, Field(ge=2)] = Field(
        description=f"{_FROM_2}: one trial has no spread"
    )
    at_most: Annotated[Count, Field(ge=2)] = Field(
        description=f"an integer from at_least to {_MOST_TRIALS}"
    )
    until_ci95: HalfWidth | None = Field(None, description=_HALF_WIDTH)

    @field_validator("at_most")
    @classmethod
    def _not_below_at_least(cls, at_most: int, info: ValidationInfo) -> int:
        if at_most < info.data.get("at_least", 0):
            raise PydanticCustomError("upside_down", "below at_least")
        return at_most


class Search(Settings):
    """A search over the sampled distributions, scored by means over trials."""

    algorithm: Literal["random", "optuna"] = Field("random", description="random or optuna")
    configurations: Annotated[Count, Field(ge=1)] = Field(20, description=_FROM_1)
    trials_each: Annotated[Count, Field(ge=1)] = Field(3, description=_FROM_1)


class Until(Settings):
    """Trials until a paired difference of two architectures is precise enough."""

    difference: Annotated[tuple[Text, Text], Field(strict=False)] = Field(
        description="a list of the names of two architectures of this space"
    )
    ci95: HalfWidth = Field(description=_HALF_WIDTH)


class Evaluate(Settings):
    """Further test sets that every trained model is graded on, on its own canvas."""

    shifts: Annotated[
        tuple[Annotated[int, Field(ge=0, le=_MOST_TRIALS)], ...],
        Field(strict=False, min_length=1),
    ] = Field(description="a list of at least one integer of at least 0, each once")

    @field_validator("shifts")
    @classmethod
    def _each_once(cls, shifts: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(shifts)) < len(shifts):
            raise PydanticCustomError("twice", "a shift is given twice")
        return shifts


@dataclass(frozen=True)
class Architecture:
    """A named builder with its hyperparameters."""

    builder: str
    """`feed_forward`, `cnn` or `module:function`."""
    hyperparameters: ArchitectureSettings

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data."""
        return {"build": self.builder, **self.hyperparameters.to_data()}


def _read_architecture(given: tuple[str, Any]) -> Architecture:
    """An architecture by its name and the mapping under that name."""
    name, body = given
    if not isinstance(body, dict | None):
        raise refuse(explained(refusal(body, "a mapping such as {key: value}")))
    own = dict(body or {})
    is_named = "build" in own
    builder = own.pop("build", name)
    model = _model_of(builder, is_named=is_named)
    if model is not None:
        return Architecture(builder, model.model_validate(own))
    allowed = f'{", ".join(BUILT_IN)} or "module:function" of your own'
    if is_named:
        raise refuse(explained(refusal(builder, allowed, BUILT_IN), "build"))
    allowed = f"{', '.join(BUILT_IN)}, or any name with build: {allowed}"
    raise refuse(explained(refusal(builder, allowed, BUILT_IN)))


def _model_of(builder: object, *, is_named: bool) -> type[ArchitectureSettings] | None:
    """What checks the hyperparameters of a builder; None where it is no builder."""
    if not isinstance(builder, str):
        return None
    if builder in BUILT_IN:
        return BUILT_IN[builder]
    module, colon, function = builder.partition(":")
    names = [*module.split("."), function]
    are_names = all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    return Custom if is_named and colon and are_names else None


def _beside_their_names(bodies: Any) -> Any:
    return {k: (k, body) for k, body in bodies.items()} if isinstance(bodies, dict) else bodies


_number_of_trials = TypeAdapter(Annotated[int, Field(ge=1, le=_MOST_TRIALS, strict=True)])


def _read_trials(given: Any, _: object) -> int | StoppingRule:
    # Of a union, pydantic reports what is wrong by each of its members.
    if isinstance(given, dict):
        return StoppingRule.model_validate(given)
    return _number_of_trials.validate_python(given)


class SpaceFile(Settings):
    """What a search space's file says. Distributions stand where the file has them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=100)] = Field(
        description="text of at most 100 letters A-Z a-z, digits, '.', '_' and '-', no dot first"
    )
    dataset: Annotated[str, Field(pattern=r"^[^\x00]+$")] = Field(
        "mnist", description="mnist, digits or a path"
    )
    """`mnist`, `digits` or a path."""
    architectures: Annotated[
        dict[Name, Annotated[Architecture, PlainValidator(_read_architecture)]],
        BeforeValidator(_beside_their_names),
        Field(min_length=1),
    ] = Field(description=_NAMED)
    variants: Annotated[dict[Name, Variant], Field(min_length=1)] = Field(description=_NAMED)
    training: Training = Training.model_validate({})
    trials: Annotated[int | StoppingRule, WrapValidator(_read_trials)] = Field(
        3, description=f"{_FROM_1}, or {{at_least: 5, at_most: 100, until_ci95: 0.002}}"
    )
    """Trials a cell; a searched pair of architecture and variant follows `search` instead."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="an integer from 0 to 2**63 - 1"
    )
    search: Search | None = None
    confirm: Annotated[Count, Field(ge=2)] | None = Field(None, description=f"{_FROM_2}, or null")
    """Fresh trials of a search's winner and of the default beside it."""
    race: bool = Field(False, description="true or false")
    early_stopping: Literal["asha"] | None = Field(None, description="asha or null")
    until: Until | None = None
    evaluate: Evaluate | None = None
    checkpoint_every: Annotated[float, Field(gt=0)] = Field(
        10.0, description="a number of minutes above 0"
    )
    """Minutes between the checkpoints of a long trial, at least."""

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data, in the order of the documentation, with all defaults written out."""
        return {key: _plain(value) for key, value in self}

    @property
    def distributions(self) -> dict[Place, Distribution]:
        """All distributions by place, such as `("training", "learning_rate")`."""
        sections: dict[Place, Settings] = {("training",): self.training}
        for name, architecture in self.architectures.items():
            sections["architectures", name] = architecture.hyperparameters
        sections |= {("variants", name): variant for name, variant in self.variants.items()}
        return {
            (*place, key): distribution
            for place, settings in sections.items()
            for key, distribution in settings.varied().items()
        }

    @property
    def sampled(self) -> bool:
        """Whether anything is left to a search."""
        return any(distribution.sampled for distribution in self.distributions.values())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value.to_data() if isinstance(value, Settings | Architecture) else value


SpaceT = TypeVar("SpaceT", bound=SpaceFile)

_IN_PLACE_OF_MISSING: dict[str, JsonValue] = {
    "name": "unnamed",
    "architectures": {"feed_forward": {}},
    "variants": {"unnamed": {}},
}


def read_file(model: type[SpaceT], data: Mapping[str, JsonValue], errors: ErrorCollector) -> SpaceT:
    """Checks the plain data of a file.

    Errors are noted, and reading goes on with what is right, so that all can be reported at once.
    The result may only be used where `errors` stays empty. The rules between the sections are in
    `mnist_ray.space.space_rules`.
    """
    kept: dict[str, JsonValue] = copy.deepcopy(dict(data))
    is_first = True
    while True:
        try:
            return model.model_validate(kept)
        except ValidationError as error:
            if is_first:
                errors.add_all(error)
            is_first = False
            places = [place_of(each["loc"]) for each in error.errors(include_url=False)]
            for place in dict.fromkeys(reversed(places)):
                _remove(kept, place)


def _remove(data: dict[str, JsonValue], place: Place) -> None:
    """Removes what is wrong at a place, or, where something is missing there, what lacks it."""
    *above, last = place
    try:
        parent: Any = reduce(getitem, above, data)  # type: ignore[arg-type]
    except (LookupError, TypeError):
        return  # It is removed already.
    keys: Any = range(len(parent)) if isinstance(parent, list) else parent
    if isinstance(parent, dict | list) and last in keys:
        parent.pop(last)  # type: ignore[arg-type]
    elif above:
        _remove(data, tuple(above))
    else:
        data[str(last)] = _IN_PLACE_OF_MISSING[str(last)]
