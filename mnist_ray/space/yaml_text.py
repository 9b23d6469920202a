"""YAML text to plain data and back, by YAML 1.2's rules for scalars.

PyYAML follows YAML 1.1: `1e-3` is text there, `012` is ten, `no` is false, and a key given twice
is taken silently. Only its parser is used here. Nothing but plain data is ever made of a document,
so no tag in it can run code.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml
from pydantic import JsonValue

from mnist_ray.errors import ErrorCollector, InputError, Place, refusal, shown

LARGEST = 1_000_000
"""Characters that a document may have, in its file (there bytes) and with its anchors followed."""
_COST_OF_A_VALUE = 10
"""What a value counts for beside its characters: short ones cost memory too."""

_TAG = "tag:yaml.org,2002:"
_IMPLICIT = [  # the core schema of YAML 1.2.2, section 10.3.2: tag, pattern, first characters
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
]


class _Parser(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML is untyped
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own table, replaced


class _Writer(yaml.SafeDumper):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(writer: _Writer, text: str) -> yaml.ScalarNode:
    # PyYAML writes these as they are, and reads them back as line breaks.
    style = '"' if any(character in text for character in "\x85\u2028\u2029") else None
    return writer.represent_scalar(_TAG + "str", text, style=style)


_Writer.add_representer(str, _represent_text)
for _class in (_Parser, _Writer):
    for _name, _pattern, _first in _IMPLICIT:
        _class.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)


def read_yaml(content: bytes, heading: str) -> tuple[dict[str, JsonValue], ErrorCollector]:
    """The one mapping in a YAML file's `content`; `heading` names the file in messages.

    Its keys are text, as written. What cannot be read is None, and noted in the errors, as is what
    is given twice. They know every place's line.

    Raises:
        InputError: not UTF-8, no YAML (with line and column), empty, no mapping, or too large.
    """
    text = _decode(content, heading)
    reader = _Reader(heading)
    try:
        node = _Parser(text).get_single_node()
        data = None if node is None else reader.value(node, ())
    except yaml.YAMLError as error:
        raise InputError(f"{heading} is no YAML: {_parse_error(error, text)}") from error
    except RecursionError:
        message = f"{heading} is nested too deeply, or has an anchor that holds itself"
        raise InputError(message) from None
    if not isinstance(data, dict):
        reader.errors.raise_any(heading)
        found = "is empty" if data is None else f"holds {shown(data)}"
        raise InputError(f"{heading} {found}; allowed: a mapping, such as name: my_space")
    return data, reader.errors


def write_yaml(data: dict[str, JsonValue]) -> str:
    """YAML text that `read_yaml` reads back to `data`, keys in their order."""
    options = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 100}
    return str(yaml.dump(data, Dumper=_Writer, **options))


class _Reader:
    """Turns PyYAML's nodes into plain data, and notes lines and errors on the way."""

    def __init__(self, heading: str) -> None:
        self.heading = heading
        self.errors = ErrorCollector()
        self._spent = 0
        self._reported: set[int] = set()  # keys given twice, which an alias would repeat

    def value(self, node: yaml.Node, place: Place) -> JsonValue:
        self._spend(node)
        self.errors.lines.setdefault(place, _line(node))
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            mapping: dict[str, JsonValue] = {}
            for key, (key_node, value_node) in self._entries(node, place).items():
                self.errors.lines[(*place, key)] = _line(key_node)
                mapping[key] = self.value(value_node, (*place, key))
            return mapping
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(item, (*place, i)) for i, item in enumerate(node.value)]
        allowed = "plain values without a tag. Nothing in a search space is ever run: write the "
        message = f"got the tag {shown(node.tag)}; allowed: {allowed}value itself"
        if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
            read, allowed = _SCALARS[kind]
            try:
                return read(node.value)
            except (ValueError, KeyError):
                message = refusal(node.value, allowed)
        self.errors.add_unreadable(place, message)
        return None

    def _entries(
        self, node: yaml.MappingNode, place: Place
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """A mapping's own keys and, behind them, those that `<<` merges into it."""
        self._spend(node)
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for source in self._merge_sources(value_node, place):
                    merged = self._entries(source, place) | merged  # of two, the first one wins
            elif not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _KEY_TAGS:
                line = _line(key_node)
                self.errors.add(place, f"the key on line {line} is no plain text; write a name")
            elif (key := _text(key_node.value)) in own:
                self._report_double(own[key][0], key_node, (*place, key))
            else:
                own[key] = (key_node, value_node)
        return own | {key: entry for key, entry in merged.items() if key not in own}

    def _merge_sources(self, node: yaml.Node, place: Place) -> list[yaml.MappingNode]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if all(isinstance(source, yaml.MappingNode) for source in sources):
            return list(sources)
        message = f"got no mapping on line {_line(node)}; allowed: <<: *anchor"
        self.errors.add((*place, "<<"), message)
        return []

    def _report_double(self, first: yaml.Node, second: yaml.Node, place: Place) -> None:
        if id(second) not in self._reported:
            self._reported.add(id(second))
            lines = f"on line {_line(first)} and again on {_line(second)}"
            self.errors.add(place, f"is given twice, {lines}; keep one of them")

    def _spend(self, node: yaml.Node) -> None:
        """Counts what is read, so that anchors of anchors of anchors cannot fill the memory."""
        self._spent += _COST_OF_A_VALUE + len(node.value)
        if self._spent > LARGEST:
            raise _too_large(f"{self.heading}, with its anchors followed,")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _decode(content: bytes, heading: str) -> str:
    if len(content) > LARGEST:
        raise _too_large(heading)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{heading} is no UTF-8 text (line {line}); save it as UTF-8") from error


def _too_large(what: str) -> InputError:
    return InputError(f"{what} is too long; allowed: {LARGEST} characters")


def _parse_error(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return f"line {line}, column {column}: the character #x{error.character:04x} is not allowed"
    mark = error.problem_mark or error.context_mark
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}"


def _text(text: str) -> str:
    # JSON, which is YAML too, writes some characters as a pair of surrogates.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_SCALARS: dict[str, tuple[Callable[[str], JsonValue], str]] = {
    "null": (lambda _: None, "null"),
    "bool": (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    "int": (lambda text: int(text, 0 if text[:2] in ("0o", "0x") else 10), "an integer"),
    "float": (lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())), "a number"),
    "str": (_text, "text"),
}
"""How a scalar of each kind is read, and what is allowed there."""
_KEY_TAGS = {_TAG + kind for kind in _SCALARS}
