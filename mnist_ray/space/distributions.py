"""What may stand in place of a hyperparameter's value: a grid, or a distribution to draw from.

They have Ray Tune's names and mean what they mean there; nothing here needs Ray.
"""

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue


@dataclass(frozen=True)
class _Range:
    form: str
    inverse: Callable[..., float]
    """The inverse distribution function: of a quantile in [0, 1) and the parameters."""
    is_sound: Callable[..., bool] = lambda low, high: True
    """What the parameters must fulfil beside `low < high`."""
    parameters: int = 2


def _evenly(quantile: float, low: float, high: float) -> float:
    return low + (high - low) * quantile


def _are_multiples(low: float, high: float, q: float) -> bool:
    ratios = [low / q, high / q] if q > 0 else []
    return q > 0 and all(math.isclose(ratio, round(ratio), abs_tol=1e-9) for ratio in ratios)


_RANGES = {
    "uniform": _Range("{uniform: [low, high]}, two finite numbers, low below high", _evenly),
    "loguniform": _Range(
        "{loguniform: [low, high]}, two finite numbers above 0, low below high",
        lambda quantile, low, high: math.exp(_evenly(quantile, math.log(low), math.log(high))),
        lambda low, high: low > 0,
    ),
    "quniform": _Range(
        "{quniform: [low, high, q]}, low below high, both multiples of q, and q above 0",
        lambda quantile, low, high, q: round(_evenly(quantile, low, high) / q) * q,
        _are_multiples,
        parameters=3,
    ),
    "randint": _Range(
        "{randint: [low, high]}, two integers, low below high, which itself is never drawn",
        lambda quantile, low, high: low + int((high - low) * quantile),
        lambda low, high: isinstance(low, int) and isinstance(high, int),
    ),
}
_OPTIONS = ("grid_search", "choice")
FORMS = {
    **{kind: f"{{{kind}: [value, ...]}}, with at least one value" for kind in _OPTIONS},
    **{kind: each.form for kind, each in _RANGES.items()},
}
"""How each kind of distribution is written, for messages."""


@dataclass(frozen=True)
class Distribution:
    """The values that one hyperparameter may take.

    `grid_search` takes every value of a list, `choice` one of them, each as likely; the others draw
    numbers: `uniform` a real one, `loguniform` one whose logarithm is uniform, `quniform` a
    multiple of the third parameter (an integer if all three are), `randint` an integer below the
    second parameter.
    """

    kind: str
    parameters: tuple[Any, ...]
    """The options, or the bounds and, where there is one, the step."""

    @property
    def sampled(self) -> bool:
        """Whether a search draws values from it; all values of a grid are taken."""
        return self.kind != "grid_search"

    @property
    def has_options(self) -> bool:
        return self.kind in _OPTIONS

    @property
    def is_sound(self) -> bool:
        """Whether the parameters are as `FORMS` says."""
        if self.has_options:
            return bool(self.parameters)
        kind = _RANGES[self.kind]
        try:
            if len(self.parameters) != kind.parameters or not all(map(_is_number, self.parameters)):
                return False
            return self.parameters[0] < self.parameters[1] and kind.is_sound(*self.parameters)
        except OverflowError:  # an integer too large for a float
            return False

    def candidates(self) -> list[JsonValue]:
        """Values that stand for all, in the order of the file: each option, or both ends."""
        if self.has_options:
            return list(self.parameters)
        low, high, *_ = self.parameters
        return [self.cast(low), self.cast(high - 1 if self.kind == "randint" else high)]

    def middle(self) -> JsonValue:
        """The first option, or the value half-way on the scale that is sampled evenly."""
        return self.at(0 if self.has_options else 0.5)

    def at(self, quantile: float) -> JsonValue:
        """The value at a quantile in [0, 1). If the quantile is drawn uniformly, the value is a
        draw from the distribution.
        """
        if self.has_options:
            return self.candidates()[int(quantile * len(self.parameters))]
        return self.cast(_RANGES[self.kind].inverse(quantile, *self.parameters))

    def cast(self, value: Any) -> JsonValue:
        """A drawn value as plain data: numpy's, a whole float for an integer, a tuple for a list.

        Raises:
            ValueError: it is none of the options.
        """
        if self.has_options:
            options = self.candidates()
            return options[options.index(list(value) if isinstance(value, tuple) else value)]
        draws_whole = self.kind in ("quniform", "randint")
        is_whole = draws_whole and all(isinstance(each, int) for each in self.parameters)
        return round(float(value)) if is_whole else float(value)

    def doubles(self) -> dict[int, JsonValue]:
        """Options that are given again, by index; 1 and 1.0 are the same value."""
        # As JSON, since Python holds true and 1 to be equal.
        texts = [json.dumps(_whole_as_integers(option)) for option in self.parameters]
        return {i: self.parameters[i] for i, text in enumerate(texts) if text in texts[:i]}

    def to_data(self) -> dict[str, JsonValue]:
        return {self.kind: list(self.parameters)}


def candidates(given: object) -> list[object]:
    """The values that stand for all that a setting may have: one, or those of a distribution."""
    return [*given.candidates()] if isinstance(given, Distribution) else [given]


def combinations(values: Mapping[str, Collection[JsonValue]]) -> Iterator[dict[str, JsonValue]]:
    """Each choice of one value a key, the last key varying fastest."""
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _whole_as_integers(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole_as_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def json_schema(value: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a distribution over values that are as the schema `value` says."""
    options = {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}
    kinds: dict[str, Any] = dict.fromkeys(_OPTIONS, options)
    for kind, each in _RANGES.items() if _has_numbers(value) else ():
        number: dict[str, Any] = {"type": "integer" if kind == "randint" else "number"}
        if kind == "loguniform":
            number["exclusiveMinimum"] = 0
        count = each.parameters
        kinds[kind] = {"type": "array", "items": number, "minItems": count, "maxItems": count}
    return {
        "type": "object",
        "properties": {kind: {**each, "description": FORMS[kind]} for kind, each in kinds.items()},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _has_numbers(value: Mapping[str, Any]) -> bool:
    """Whether a JSON Schema takes numbers."""
    types = value.get("type", [])
    own = {types} if isinstance(types, str) else {*types}
    return bool(own & {"integer", "number"}) or any(map(_has_numbers, value.get("anyOf", ())))
