"""What the file of a search space may say: its keys and their types."""

import keyword
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mnist_ray.space.columns import RESERVED_COLUMNS
from mnist_ray.space.distributions import Distribution
from mnist_ray.space.error_collector import ErrorCollector, Place, refusal, shown
from mnist_ray.space.hyperparameters import (
    BUILT_IN,
    ArchitectureSettings,
    Custom,
    Settings,
    SettingsT,
    Training,
    Variant,
    read_mapping,
    read_searchable,
    read_settings,
)
from mnist_ray.space.yaml_text import write_yaml

DEFAULT_CONFIRM = 10

_MOST_TRIALS = 1_000_000
_LONGEST_NAME = 100
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of what breaks lines, terminals and files."""
Count = Annotated[int, Field(le=_MOST_TRIALS)]
Text = Annotated[str, Field(min_length=1)]


class StoppingRule(Settings):
    """Trials until the answer is precise enough, instead of a fixed number."""

    at_least: Annotated[Count, Field(ge=2)] = Field(
        description=f"an integer from 2 to {_MOST_TRIALS}: one trial has no spread"
    )
    at_most: Annotated[Count, Field(ge=2)] = Field(
        description=f"an integer from at_least to {_MOST_TRIALS}"
    )
    until_ci95: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="a half-width in accuracy, above 0 and below 1, such as 0.002"
    )

    @field_validator("at_most")
    @classmethod
    def _not_below_at_least(cls, at_most: int, info: ValidationInfo) -> int:
        if at_most < info.data.get("at_least", 0):
            raise PydanticCustomError("upside_down", "below at_least")
        return at_most


class Search(Settings):
    """A search over the sampled distributions, scored by means over trials."""

    algorithm: Literal["random", "optuna"] = Field("random", description="random or optuna")
    configurations: Annotated[Count, Field(ge=1)] = Field(
        20, description=f"an integer from 1 to {_MOST_TRIALS}"
    )
    trials_each: Annotated[Count, Field(ge=1)] = Field(
        3, description=f"an integer from 1 to {_MOST_TRIALS}"
    )


class Until(Settings):
    """Trials until a paired difference of two architectures is precise enough."""

    difference: Annotated[tuple[Text, Text], Field(strict=False)] = Field(
        description="a list of the names of two architectures of this space"
    )
    ci95: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="a half-width in accuracy, above 0 and below 1, such as 0.002"
    )


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


class _Scalars(Settings):
    """The top keys of a file whose values are neither mappings nor lists."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=100)] = Field(
        description="text of at most 100 letters A-Z a-z, digits, '.', '_' and '-', no dot first"
    )
    dataset: Annotated[str, Field(pattern=r"^[^\x00]+$")] = Field(
        "mnist", description="mnist, digits or a path"
    )
    trials: Annotated[Count, Field(ge=1)] = Field(
        3,
        description=f"an integer from 1 to {_MOST_TRIALS}, or "
        "{at_least: 5, at_most: 100, until_ci95: 0.002}",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="an integer from 0 to 2**63 - 1"
    )
    confirm: Annotated[Count, Field(ge=2)] | None = Field(
        None, description=f"an integer from 2 to {_MOST_TRIALS}, or null"
    )
    race: bool = Field(False, description="true or false")
    early_stopping: Literal["asha"] | None = Field(None, description="asha or null")
    checkpoint_every: Annotated[float, Field(gt=0)] = Field(
        10.0, description="a number of minutes above 0"
    )


@dataclass(frozen=True)
class Architecture:
    """A named builder with its hyperparameters; a searched one holds its default."""

    builder: str
    """`feed_forward`, `cnn` or `module:function`."""
    hyperparameters: ArchitectureSettings


@dataclass(frozen=True)
class SpaceFile:
    """What a checked file says, with all defaults filled in.

    Where the file has a distribution, `architectures`, `variants` and `training` hold the default
    configuration: the hyperparameter's own default or, where the architecture is the user's own,
    the distribution's first or middle value.
    """

    name: str
    dataset: str
    """`mnist`, `digits` or a path."""
    architectures: Mapping[str, Architecture]
    variants: Mapping[str, Variant]
    training: Training
    trials: int | StoppingRule
    """Trials a cell; a searched pair of architecture and variant follows `search` instead."""
    seed: int
    search: Search | None
    confirm: int | None
    """Fresh trials of a search's winner and of the default beside it."""
    race: bool
    early_stopping: Literal["asha"] | None
    until: Until | None
    evaluate: Evaluate | None
    checkpoint_every: float
    """Minutes between the checkpoints of a long trial, at least."""
    distributions: Mapping[Place, Distribution]
    """By place in the file, such as `("training", "learning_rate")`."""
    source: Path | None = field(default=None, compare=False)
    """The file that it was read from; a user's own module is looked up beside it."""
    lines: Mapping[Place, int] = field(default_factory=dict, compare=False, repr=False)
    """Where each place stands in that file, for messages."""

    @property
    def sampled(self) -> bool:
        """Whether anything is left to a search."""
        return any(distribution.sampled for distribution in self.distributions.values())

    @classmethod
    def read(
        cls, data: Mapping[str, JsonValue], errors: ErrorCollector, *, source: Path | None
    ) -> Self:
        """Checks the plain data of a file.

        Faults are noted, and reading goes on with what is right, so that all can be told at once:
        what this gives back is only good for use where `errors` stays empty. The rules between
        the sections are those of `mnist_ray.space.space_rules`.
        """
        distributions: dict[Place, Distribution] = {}
        architectures = _read_architectures(data, distributions, errors)
        variants = _read_variants(data, distributions, errors)
        training, searched = read_searchable(
            Training, data.get("training"), place=("training",), errors=errors
        )
        distributions |= {("training", key): value for key, value in searched.items()}
        varied = isinstance(data.get("trials"), dict)
        replication = _optional(StoppingRule, "trials", data, errors) if varied else None
        apart = _MAPPINGS | ({"trials"} if varied else set())
        scalars = read_settings(
            _Scalars,
            {key: value for key, value in data.items() if key not in apart},
            place=(),
            errors=errors,
            known=_KEYS,
        )
        search = _optional(Search, "search", data, errors)
        confirm = DEFAULT_CONFIRM if search and "confirm" not in data else scalars.confirm
        return cls(
            name=getattr(scalars, "name", ""),
            dataset=scalars.dataset,
            architectures=architectures,
            variants=variants,
            training=training,
            trials=replication or scalars.trials,
            seed=scalars.seed,
            search=search,
            confirm=confirm,
            race=scalars.race,
            early_stopping=scalars.early_stopping,
            until=_optional(Until, "until", data, errors),
            evaluate=_optional(Evaluate, "evaluate", data, errors),
            checkpoint_every=scalars.checkpoint_every,
            distributions=distributions,
            source=source,
            lines=errors.lines,
        )

    def to_data(self) -> dict[str, JsonValue]:
        """As plain data, in the order of the documentation, with all defaults written out."""

        def section(settings: Settings, *place: str) -> dict[str, JsonValue]:
            searched: dict[str, JsonValue] = {
                str(key): distribution.to_data()
                for (*above, key), distribution in self.distributions.items()
                if tuple(above) == place
            }  # first, so that grids keep their order
            return searched | {k: v for k, v in settings.to_data().items() if k not in searched}

        def plain(settings: Settings | None) -> JsonValue:
            return settings.to_data() if settings else None

        return {
            "name": self.name,
            "dataset": self.dataset,
            "architectures": {
                name: {
                    "build": architecture.builder,
                    **section(architecture.hyperparameters, "architectures", name),
                }
                for name, architecture in self.architectures.items()
            },
            "variants": {
                name: section(variant, "variants", name) for name, variant in self.variants.items()
            },
            "training": section(self.training, "training"),
            "trials": self.trials if isinstance(self.trials, int) else self.trials.to_data(),
            "seed": self.seed,
            "search": plain(self.search),
            "confirm": self.confirm,
            "race": self.race,
            "early_stopping": self.early_stopping,
            "until": plain(self.until),
            "evaluate": plain(self.evaluate),
            "checkpoint_every": self.checkpoint_every,
        }

    def to_yaml(self) -> str:
        """As YAML text that `load_space` reads back to an equal space."""
        return write_yaml(self.to_data())


SEARCHABLE = {"architectures", "variants", "training"}
"""The top keys under which a value may be a distribution."""
_NOT_IN_THE_FILE = {"distributions", "source", "lines"}
_MAPPINGS = SEARCHABLE | {"search", "until", "evaluate"}
_KEYS = [key for key in SpaceFile.__dataclass_fields__ if key not in _NOT_IN_THE_FILE]

# The sections.


def _optional(
    model: type[SettingsT], key: str, data: Mapping[str, JsonValue], errors: ErrorCollector
) -> SettingsT | None:
    given = data.get(key)
    return None if given is None else read_settings(model, given, place=(key,), errors=errors)


def _read_architectures(
    data: Mapping[str, JsonValue], distributions: dict[Place, Distribution], errors: ErrorCollector
) -> dict[str, Architecture]:
    architectures: dict[str, Architecture] = {}
    for name, body in _named(data, "architectures", errors).items():
        place = ("architectures", name)
        given = read_mapping(body, place, errors)
        if given is None:
            continue
        model = _builder_model(given.get("build", name), "build" in given, place, errors)
        if model is None:
            continue
        own = {key: value for key, value in given.items() if key != "build"}
        known = ["build", *model.model_fields]
        settings, searched = read_searchable(model, own, place=place, errors=errors, known=known)
        if model is Custom:
            _check_names_of_columns(own, place, errors)
        architectures[name] = Architecture(str(given.get("build", name)), settings)
        distributions |= {(*place, key): value for key, value in searched.items()}
    return architectures


def _builder_model(
    build: JsonValue, named: bool, place: Place, errors: ErrorCollector
) -> type[ArchitectureSettings] | None:
    """What checks the hyperparameters of an architecture; None, and a fault, if nothing does."""
    if isinstance(build, str) and build in BUILT_IN:
        return BUILT_IN[build]
    if named and isinstance(build, str) and _is_function(build):
        return Custom
    allowed = f'{", ".join(BUILT_IN)} or "module:function" of your own'
    if named:
        errors.add((*place, "build"), refusal(build, allowed, BUILT_IN))
    else:
        message = refusal(
            build, f"{', '.join(BUILT_IN)}, or any name with build: {allowed}", BUILT_IN
        )
        errors.add(place, message)
    return None


def _is_function(build: str) -> bool:
    module, colon, function = build.partition(":")
    names = [*module.split("."), function]
    return bool(colon) and all(
        name.isidentifier() and not keyword.iskeyword(name) for name in names
    )


def _check_names_of_columns(keys: Iterable[str], place: Place, errors: ErrorCollector) -> None:
    taken = RESERVED_COLUMNS | Training.model_fields.keys() | Variant.model_fields.keys()
    for key in keys:
        if not key.isidentifier() or keyword.iskeyword(key):
            errors.add((*place, key), refusal(key, "the name of an argument of your function"))
        elif key in taken:
            message = f"{shown(key)} is another column of the report; call the hyperparameter"
            errors.add((*place, key), f"{message} something else, in your function too")


def _read_variants(
    data: Mapping[str, JsonValue], distributions: dict[Place, Distribution], errors: ErrorCollector
) -> dict[str, Variant]:
    variants: dict[str, Variant] = {}
    for name, body in _named(data, "variants", errors).items():
        place = ("variants", name)
        variants[name], searched = read_searchable(Variant, body, place=place, errors=errors)
        distributions |= {(*place, key): value for key, value in searched.items()}
    return variants


def _named(data: Mapping[str, JsonValue], key: str, errors: ErrorCollector) -> dict[str, JsonValue]:
    """A section of at least one name, each with its mapping."""
    allowed = "a mapping of at least one name to its hyperparameters"
    given = data.get(key)
    if not isinstance(given, dict) or not given:
        missing = f"is missing; allowed: {allowed}"
        errors.add((key,), refusal(given, allowed) if key in data else missing)
        return {}
    for name in given:
        blank = not name.strip() or len(name) > _LONGEST_NAME
        if blank or any(unicodedata.category(c) in _CONTROLS for c in name):
            allowed = f"a name of 1 to {_LONGEST_NAME} characters, no control characters in it"
            errors.add((key, name), refusal(name, allowed))
    return given
