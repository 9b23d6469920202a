"""What the file of a search space may say: its keys, their types, and the rules between them.

What each key means is said in `json_schema`.
"""

import copy
import math
import re
import unicodedata
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import ErrorDetails

from mnist_ray.errors import ErrorCollector, Place, refusal, unknown
from mnist_ray.space.architecture import ReadArchitecture
from mnist_ray.space.column_rules import check_columns
from mnist_ray.space.distributions import candidates
from mnist_ray.space.settings import Settings, explained
from mnist_ray.space.sources import Spread
from mnist_ray.space.training import Training
from mnist_ray.space.variants import Evaluate, Variant, check_evaluated_variants

_MOST_CELLS = 100_000
_MOST_TRIALS = 1_000_000
_LONGEST_NAME = 100
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of what breaks lines, terminals and files."""
_FROM_1 = f"an integer from 1 to {_MOST_TRIALS}"
_FROM_2 = f"an integer from 2 to {_MOST_TRIALS}"
_HALF_WIDTH = "a half-width in accuracy, above 0 and below 1, such as 0.002"
_NAMED = "a mapping of at least one name to its hyperparameters"

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_TIME_PATTERN = r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|h)"
_TIME = "a time of work above 0 with its unit, such as 30 min, 2 h or 90 s"

Count = Annotated[int, Field(ge=1, le=_MOST_TRIALS)]
Several = Annotated[int, Field(ge=2, le=_MOST_TRIALS)]
HalfWidth = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]


def _printable(name: str) -> str:
    blank = not name.strip() or len(name) > _LONGEST_NAME
    if blank or any(unicodedata.category(character) in _CONTROLS for character in name):
        allowed = f"a name of 1 to {_LONGEST_NAME} characters, no control characters in it"
        raise explained(refusal(name, allowed))
    return name


Name = Annotated[str, AfterValidator(_printable)]


def _seconds(text: str) -> float:
    [(number, unit)] = re.findall(_TIME_PATTERN, text)
    return float(number) * _UNITS[unit]


def _above_zero(text: str) -> str:
    if not _seconds(text) > 0:
        raise explained(refusal(text, _TIME))
    return text


class StoppingRule(Settings):
    """Trials until the answer is precise enough or a budget is spent, not a fixed number."""

    at_least: Several = Field(description=f"{_FROM_2}: one trial has no spread")
    at_most: Several = Field(description=f"an integer from at_least to {_MOST_TRIALS}")
    until_ci95: HalfWidth | None = Field(None, description=_HALF_WIDTH)
    within: (
        Annotated[str, Field(pattern=rf"^{_TIME_PATTERN}$"), AfterValidator(_above_zero)] | None
    ) = Field(None, description=_TIME)
    """Time of work: seconds of setup, training and grading, summed over all trials."""

    @property
    def within_seconds(self) -> float | None:
        return None if self.within is None else _seconds(self.within)

    @field_validator("at_most")
    @classmethod
    def _not_below_at_least(cls, at_most: int, info: ValidationInfo) -> int:
        if at_most < info.data.get("at_least", 0):
            raise ValueError("below at_least")
        return at_most


class Search(Settings):
    """A search over the sampled distributions, scored by means over trials."""

    algorithm: Literal["random", "optuna"] = Field("random", description="random or optuna")
    configurations: Count = Field(20, description=_FROM_1)
    trials_each: Count = Field(3, description=_FROM_1)


class Until(Settings):
    """Trials until a paired difference of two architectures is precise enough."""

    difference: Annotated[tuple[Text, Text], Field(strict=False)] = Field(
        description="a list of the names of two architectures of this space"
    )
    ci95: HalfWidth = Field(description=_HALF_WIDTH)


def _beside_their_names(bodies: Any) -> Any:
    return {k: (k, body) for k, body in bodies.items()} if isinstance(bodies, dict) else bodies


_number_of_trials = TypeAdapter(Annotated[Count, Field(strict=True)])


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
        "mnist", description="mnist, fashion_mnist, digits or a path"
    )
    classes: Annotated[tuple[Name, ...], Field(strict=False, min_length=2)] | None = Field(
        None, description="a list of names, one for each class in the order of the labels, or null"
    )
    architectures: Annotated[
        dict[Name, ReadArchitecture], BeforeValidator(_beside_their_names), Field(min_length=1)
    ] = Field(description=_NAMED)
    variants: Annotated[dict[Name, Variant], Field(min_length=1)] = Field(description=_NAMED)
    training: Training = Training.model_validate({})
    trials: Annotated[Count | StoppingRule, WrapValidator(_read_trials)] = Field(
        3,
        description=f"{_FROM_1}, or {{at_least: 5, at_most: 100, until_ci95: 0.002}}, "
        "or the same with within: 30 min",
    )
    """Trials a cell; a searched pair of architecture and variant follows `search` instead."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="an integer from 0 to 2**63 - 1"
    )
    search: Search | None = None
    confirm: Several | None = Field(None, description=f"{_FROM_2}, or null")
    race: bool = Field(False, description="true or false")
    early_stopping: Literal["asha"] | None = Field(None, description="asha or null")
    until: Until | None = None
    evaluate: Evaluate | None = None
    spread: Spread | None = None
    checkpoint_every: Annotated[float, Field(gt=0)] = Field(
        10.0, description="a number of minutes above 0"
    )

    @field_validator("classes")
    @classmethod
    def _each_named_once(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = classes or ()
        for name in names:
            if names.count(name) > 1:
                raise explained(refusal(name, "each name once"))
        return classes

    @classmethod
    def _in_words(cls, error: ErrorDetails) -> str:
        if error["type"] == "extra_forbidden" and error["loc"] == ("within",):
            example = "trials: {at_least: 5, at_most: 100, within: 30 min}"
            return f"stands in trials, in place of a number of them; write {example}"
        return super()._in_words(error)


SpaceT = TypeVar("SpaceT", bound=SpaceFile)

_IN_PLACE_OF_MISSING: dict[str, JsonValue] = {
    "name": "unnamed",
    "architectures": {"feed_forward": {}},
    "variants": {"unnamed": {}},
}


def read_file(model: type[SpaceT], data: Mapping[str, JsonValue], errors: ErrorCollector) -> SpaceT:
    """Checks the plain data of a file, each section by itself.

    Errors are noted, and reading goes on with what is right, so that all can be reported at once.
    The result may only be used where `errors` stays empty.
    """
    kept: dict[str, JsonValue] = copy.deepcopy(dict(data))
    is_first = True
    while True:
        try:
            return model.model_validate(kept)
        except ValidationError as error:
            found = [(e["loc"], e["msg"]) for e in error.errors(include_url=False)]
            for place, message in found if is_first else ():
                errors.add(place, message)
            is_first = False
            for place in dict.fromkeys(place for place, _ in reversed(found)):
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


def check_rules(file: SpaceFile, errors: ErrorCollector) -> None:
    """Notes what is wrong between the sections, unless it follows from errors within them."""
    architectures = {name: each.arguments for name, each in file.architectures.items()}
    transforms = {name: each.parameters for name, each in file.variants.items() if each.transform}
    check_columns(architectures, transforms, file.training.given_arguments(), errors)
    _not_too_many_cells(file, errors)
    has_search = file.search is not None or errors.within(("search",))
    _search_and_distributions_belong_together(file, errors, has_search=has_search)
    if file.search:
        _options_of_a_search_fit(file, file.search, errors)
    for key in ("confirm", "race", "early_stopping") if not has_search else ():
        if getattr(file, key):
            errors.add((key,), f"needs a search, and there is none; add search or omit {key}")
    if file.spread and has_search:
        errors.add(("spread",), "cannot stand beside a search; give it a space of its own")
    _precision_has_its_terms(file, errors)
    _difference_is_of_two_architectures(file, errors)
    check_evaluated_variants(file.evaluate, file.variants, errors)


def _not_too_many_cells(file: SpaceFile, errors: ErrorCollector) -> None:
    def combinations(settings: Settings) -> int:
        grids = [each for each in settings.varied().values() if not each.sampled]
        return math.prod(len(grid.parameters) for grid in grids)

    architectures = sum(combinations(each) for each in file.architectures.values())
    variants = sum(combinations(variant) for variant in file.variants.values())
    cells = architectures * variants * combinations(file.training)
    if cells > _MOST_CELLS:
        message = f"with all grids there are {cells} cells; allowed: {_MOST_CELLS}"
        errors.add(("architectures",), message)


def _search_and_distributions_belong_together(
    file: SpaceFile, errors: ErrorCollector, *, has_search: bool
) -> None:
    distributions = file.varied_places()
    sampled = any(each.sampled for each in distributions.values())
    searchable: tuple[Place, ...] = (("architectures",), ("variants",), ("training",))
    if file.search and not sampled and not errors.within(*searchable):
        errors.add(
            ("search",),
            "has nothing to sample; give a hyperparameter a distribution, such as "
            "learning_rate: {loguniform: [1e-4, 1e-2]}, or leave search out",
        )
    for place, distribution in distributions.items():
        if distribution.sampled and not has_search:
            errors.add(
                place,
                f"{distribution.kind} is sampled, which needs a search; add search: {{algorithm: "
                "random, configurations: 20, trials_each: 3}, or use grid_search",
            )
        elif not distribution.sampled and sampled:
            errors.add(
                place,
                "a grid_search cannot stand beside sampled distributions; use choice, to have it "
                "searched with them, or a space of its own",
            )


def _options_of_a_search_fit(file: SpaceFile, search: Search, errors: ErrorCollector) -> None:
    if file.race and search.trials_each == 1:
        errors.add(("race",), "needs trials_each of at least 2: it compares means over trials")
    is_one_epoch = file.training.epochs == 1 and not errors.within(("training", "epochs"))
    if file.early_stopping and is_one_epoch:
        errors.add(("early_stopping",), "needs training.epochs above 1: it stops between epochs")
    if 0.0 in candidates(file.training.validation_split):
        why = "where there is a search, since it chooses by validation accuracy"
        errors.add(("training", "validation_split"), f"got 0; allowed: a number above 0 {why}")


def _precision_has_its_terms(file: SpaceFile, errors: ErrorCollector) -> None:
    if errors.within(("trials",), ("until",)):
        return
    if not isinstance(file.trials, StoppingRule):
        if file.until:
            errors.add(("until",), "needs bounds; write trials: {at_least: 5, at_most: 100}")
    elif not file.trials.until_ci95 and not file.trials.within and not file.until:
        message = (
            "lacks until_ci95, a half-width such as 0.002; or within, a time of work such as "
            "30 min; or the key until beside it"
        )
        errors.add(("trials",), message)


def _difference_is_of_two_architectures(file: SpaceFile, errors: ErrorCollector) -> None:
    if file.search and (file.until or errors.within(("until",))):
        errors.add(("until",), "cannot stand beside a search, whose cells are not known; omit one")
    if file.until is None or errors.within(("architectures",)):
        return
    place = ("until", "difference")
    names = file.until.difference
    for index, name in enumerate(names):
        if name not in file.architectures:
            errors.add((*place, index), unknown("architecture", name, file.architectures))
    if len(set(names)) == 1:
        errors.add(place, "names one architecture twice; allowed: two of them")
