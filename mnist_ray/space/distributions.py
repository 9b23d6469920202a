"""What may stand in place of a hyperparameter's value: a grid, or a distribution to draw from.

They bear Ray Tune's names and mean what they mean there; nothing here needs Ray. In a file each is
a mapping of one key, `{uniform: [0, 0.5]}`.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from pydantic import JsonValue

from mnist_ray.space.error_collector import refusal, unknown


class Distribution(ABC):
    """The values that one hyperparameter may take."""

    key: ClassVar[str]
    """Its name in a file."""
    form: ClassVar[str]
    """How it is written, for messages."""
    sampled: ClassVar[bool] = True
    """Whether values are drawn from it by a search; a grid's are all taken."""

    @classmethod
    @abstractmethod
    def parse(cls, given: Sequence[JsonValue]) -> Self:
        """Reads the list behind `key`; a ValueError says that it is not of this `form`."""

    @abstractmethod
    def parameters(self) -> list[JsonValue]:
        """The list behind `key`."""

    @abstractmethod
    def candidates(self) -> dict[int, JsonValue]:
        """Values that stand for all: each option, or both ends; by their index in the file."""

    @abstractmethod
    def middle(self) -> JsonValue:
        """The value to begin with where the hyperparameter has no default."""

    @abstractmethod
    def at(self, quantile: float) -> JsonValue:
        """The value at a quantile in [0, 1); where that is drawn evenly, this is a draw."""

    @abstractmethod
    def cast(self, value: Any) -> JsonValue:
        """A drawn value (numpy's, or a whole float for an integer) as plain data."""

    def to_data(self) -> dict[str, JsonValue]:
        """As it stands in a file."""
        return {self.key: self.parameters()}


@dataclass(frozen=True)
class Options(Distribution):
    """A list of values, in the order of the file."""

    options: tuple[JsonValue, ...]

    @classmethod
    def parse(cls, given: Sequence[JsonValue]) -> Self:
        """A list of at least one value."""
        _require(len(given) > 0)
        return cls(tuple(given))

    def parameters(self) -> list[JsonValue]:
        """The options."""
        return list(self.options)

    def candidates(self) -> dict[int, JsonValue]:
        """The options."""
        return dict(enumerate(self.options))

    def middle(self) -> JsonValue:
        """The first option."""
        return self.options[0]

    def at(self, quantile: float) -> JsonValue:
        """The options share the quantiles evenly."""
        return self.options[int(quantile * len(self.options))]

    def cast(self, value: Any) -> JsonValue:
        """The option that equals `value`; a list may come as a tuple."""
        plain = list(value) if isinstance(value, tuple) else value
        return self.options[self.options.index(plain)]

    def doubles(self) -> dict[int, JsonValue]:
        """Options that stand in the list already, by index; 1 and 1.0 are the same value."""
        # As JSON, since Python holds true and 1 to be equal.
        texts = [json.dumps(_whole_as_integers(option)) for option in self.options]
        return {i: self.options[i] for i, text in enumerate(texts) if text in texts[:i]}


@dataclass(frozen=True)
class GridSearch(Options):
    """Every one of `options`, each a cell of its own."""

    key = "grid_search"
    form = "{grid_search: [value, ...]}, with at least one value"
    sampled = False


@dataclass(frozen=True)
class Choice(Options):
    """One of `options`, each as likely."""

    key = "choice"
    form = "{choice: [value, ...]}, with at least one value"


@dataclass(frozen=True)
class Range(Distribution):
    """Numbers from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def parse(cls, given: Sequence[JsonValue]) -> Self:
        """As many finite numbers as there are fields, within the bounds that the form tells."""
        numbers = [value for value in given if _is_number(value)]
        _require(len(given) == len(numbers) == len(fields(cls)))
        found = cls(*numbers)  # type: ignore[arg-type]  # they are numbers now
        _require(found.low < found.high and found._is_sound())
        return found

    def parameters(self) -> list[JsonValue]:
        """The bounds and, where there is one, the step."""
        return [getattr(self, each.name) for each in fields(self)]

    def candidates(self) -> dict[int, JsonValue]:
        """The ends."""
        return {0: self.cast(self.low), 1: self.cast(self.high)}

    def middle(self) -> JsonValue:
        """The value half-way, on the scale that is sampled evenly."""
        return self.at(0.5)

    def at(self, quantile: float) -> JsonValue:
        """`low` at 0, `high` towards 1."""
        return self.cast(self._at(quantile))

    def cast(self, value: Any) -> JsonValue:
        """`value` as a float, or as an integer where only integers are drawn."""
        return self._plain(float(value))

    def _is_sound(self) -> bool:
        return True

    def _at(self, quantile: float) -> float:
        return self.low + (self.high - self.low) * quantile

    def _plain(self, number: float) -> int | float:
        return number


@dataclass(frozen=True)
class Uniform(Range):
    """A real number, uniform from `low` to `high`."""

    key = "uniform"
    form = "{uniform: [low, high]}, two finite numbers, low below high"


@dataclass(frozen=True)
class LogUniform(Range):
    """A real number whose logarithm is uniform from that of `low` to that of `high`."""

    key = "loguniform"
    form = "{loguniform: [low, high]}, two finite numbers above 0, low below high"

    def _is_sound(self) -> bool:
        return self.low > 0

    def _at(self, quantile: float) -> float:
        low, high = math.log(self.low), math.log(self.high)
        return math.exp(low + (high - low) * quantile)


@dataclass(frozen=True)
class QUniform(Range):
    """A multiple of `q` from `low` to `high`, both included; an integer if all three are."""

    key = "quniform"
    form = "{quniform: [low, high, q]}, low below high, both multiples of q, and q above 0"

    q: float

    def _is_sound(self) -> bool:
        return self.q > 0 and all(
            math.isclose(bound / self.q, round(bound / self.q), abs_tol=1e-9)
            for bound in (self.low, self.high)
        )

    def _at(self, quantile: float) -> float:
        return round(super()._at(quantile) / self.q) * self.q

    def _plain(self, number: float) -> int | float:
        whole = all(isinstance(given, int) for given in (self.low, self.high, self.q))
        return round(number) if whole else number


@dataclass(frozen=True)
class RandInt(Range):
    """An integer from `low` to `high` - 1, each as likely."""

    key = "randint"
    form = "{randint: [low, high]}, two integers, low below high, which itself is never drawn"

    low: int
    high: int

    def candidates(self) -> dict[int, JsonValue]:
        """The ends that can be drawn."""
        return {0: self.low, 1: self.high - 1}

    def _is_sound(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def _at(self, quantile: float) -> float:
        return self.low + int((self.high - self.low) * quantile)

    def _plain(self, number: float) -> int | float:
        return round(number)


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    kind.key: kind for kind in (GridSearch, Choice, Uniform, LogUniform, QUniform, RandInt)
}


def parse_distribution(given: Mapping[str, JsonValue]) -> Distribution:
    """The distribution that a file's mapping of one key describes.

    Raises:
        ValueError: it describes none; the message says what came and what is allowed.
    """
    known = ", ".join(DISTRIBUTIONS)
    if len(given) != 1:
        allowed = f"a value, or a mapping of one key out of {known}"
        raise ValueError(refusal(given, allowed))
    [(key, parameters)] = given.items()
    if key not in DISTRIBUTIONS:
        raise ValueError(unknown("distribution", key, DISTRIBUTIONS))
    kind = DISTRIBUTIONS[key]
    try:
        _require(isinstance(parameters, list))
        return kind.parse(parameters)  # type: ignore[arg-type]
    except (ValueError, OverflowError):  # an integer may be too large for a float
        raise ValueError(refusal(given, kind.form)) from None


def _is_number(value: JsonValue) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _whole_as_integers(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_whole_as_integers(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value  # type: ignore[arg-type]


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError
