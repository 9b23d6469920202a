"""Errors that the user can correct: one, or all of a document at once, each with its place."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping

Place = tuple[str | int, ...]
"""Keys and list indices from the top of a document, such as `("training", "epochs")`."""

_LONGEST_SHOWN = 80


class InputError(ValueError):
    """What a person gave cannot be used.

    The message names the place, what came, what is allowed and the remedy. The command shows it
    alone, without a traceback, and ends with exit code 2; nothing has been started by then.
    """


class StorageError(OSError):
    """The results cannot be written or read any more; what is already there is safe."""


class ErrorCollector:
    """Gathers the errors of one document, to report them together."""

    def __init__(self, lines: Mapping[Place, int] | None = None) -> None:
        """`lines` has the line (from 1) of every place that stands in a file."""
        self.lines = dict(lines or {})
        self._found: list[tuple[Place, str]] = []
        self._unreadable: set[Place] = set()

    def add(self, place: Place, message: str) -> None:
        """Notes an error, unless it is known or only follows from an unreadable value."""
        hidden = any(place[:end] in self._unreadable for end in range(len(place) + 1))
        if not hidden and (place, message) not in self._found:
            self._found.append((place, message))

    def add_unreadable(self, place: Place, message: str) -> None:
        """Notes a value that cannot be read; what is then missing at its place is not reported."""
        self.add(place, message)
        self._unreadable.add(place)

    def within(self, *places: Place) -> bool:
        """Whether there is an error at, inside or around one of `places`."""
        pairs = [(place, found) for place in places for found, _ in self._found if found]
        return any(place[: len(found)] == found[: len(place)] for place, found in pairs)

    def raise_any(self, heading: str) -> None:
        """Raises one `InputError` with a line for each error, in the order of the file."""
        if not self._found:
            return
        count = "1 error" if len(self._found) == 1 else f"{len(self._found)} errors"
        order = {place: number for number, place in enumerate(self.lines)}
        ordered = sorted(self._found, key=lambda found: order.get(self._known(found[0]), -1))
        lines = [f"  {self._where(place)}: {message}" for place, message in ordered]
        raise InputError("\n".join([f"{heading} has {count}:", *lines]))

    def _known(self, place: Place) -> Place:
        """The innermost place around `place` that has a line; the whole file where none has."""
        around = (place[:end] for end in range(len(place), 0, -1))
        return next((each for each in around if each in self.lines), ())

    def _where(self, place: Place) -> str:
        known = self._known(place)
        return f"line {self.lines[known]}, {_dotted(place)}" if known else _dotted(place)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or what kind it is."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def refusal(given: object, allowed: str, names: Iterable[str] = ()) -> str:
    """What came, what is allowed and, where `given` misspells one of `names`, the nearest."""
    hint = nearest(given, names) if isinstance(given, str) else ""
    return f"got {shown(given)}{hint}; allowed: {allowed}"


def unknown(what: str, given: str, names: Iterable[str]) -> str:
    """That there is no such key or name, the nearest right one, and all there are."""
    names = list(names)
    return f"unknown {what} {shown(given)}{nearest(given, names)}; allowed: {', '.join(names)}"


def nearest(given: str, names: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing where no name is near."""
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f" (did you mean {shown(by_lower[found[0]])}?)" if found else ""


def shown(value: object) -> str:
    """A value on one line as YAML would have it, shortened, with nothing that moves a cursor."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    safe = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return safe if len(safe) <= _LONGEST_SHOWN else f"{safe[:_LONGEST_SHOWN]}…"


def _dotted(place: Place) -> str:
    """A place for a person: `architectures.cnn.filters[1]`; odd names stand in quotes."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w-]+", part) else shown(part)
            text += f".{name}" if text else name
    return text or "the whole file"
