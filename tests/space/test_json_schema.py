"""The JSON Schema that editors check search spaces by."""

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from mnist_ray.space.json_schema import schema_text, shipped_schema, space_schema
from mnist_ray.space.space import shipped_spaces
from mnist_ray.space.yaml_text import read_yaml

ROOT = Path(__file__).parent.parent.parent
VALIDATOR = Draft7Validator(space_schema())
SPACE: dict[str, Any] = {
    "name": "mine",
    "architectures": {"cnn": {}, "feed_forward": None},
    "variants": {"centered": None, "shifted": {"shift": 20}},
}


def documented() -> list[str]:
    """The whole search spaces in README and docs."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S)
    ]
    return [block for block in blocks if re.search("^architectures:", block, re.M)]


def errors_of(data: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(data)]


def test_it_is_a_json_schema() -> None:
    Draft7Validator.check_schema(space_schema())


def test_the_shipped_file_is_what_the_models_give_now() -> None:
    made = schema_text()
    assert shipped_schema().read_text() == made, "mnist-ray schema > search_spaces/schema.json"


@pytest.mark.parametrize("path", shipped_spaces().values(), ids=lambda path: path.stem)
def test_a_shipped_space_names_it_and_agrees_with_it(path: Path) -> None:
    place = path.read_text().splitlines()[0].partition("# yaml-language-server: $schema=")[2]
    assert path.parent / place == shipped_schema()
    assert not errors_of(read_yaml(path.read_bytes(), path.name)[0])


def test_the_documented_spaces_agree_with_it() -> None:
    assert documented()
    for text in documented():
        assert not errors_of(read_yaml(text.encode(), "documented")[0]), text


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"trials": {"at_least": 5, "at_most": 100, "until_ci95": 0.002}},
        {"training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "epochs": {"choice": [1, 2]}}},
        {"architectures": {"small": {"build": "cnn", "filters": [8, 16]}}},
        {"architectures": {"mine": {"build": "my.module:build", "width": 3, "kind": "wide"}}},
        {"architectures": {"feed_forward": {"build": "my_module:build_model", "width": [1, 2]}}},
        {"architectures": {"mine": {"build": "a:b", "width": {"quniform": [1, 9, 2]}}}},
        {"until": {"difference": ["cnn", "feed_forward"], "ci95": 0.01}},
    ],
)
def test_what_a_file_may_say_is_right(change: dict[str, Any]) -> None:
    assert not errors_of({**SPACE, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"trails": 3},
        {"trials": 0},
        {"trials": {"at_least": 5}},
        {"name": "a b"},
        {"architectures": {}},
        {"architectures": {"cnn": {"filtres": [8]}}},
        {"architectures": {"mine": {}}},
        {"architectures": {"mine": {"build": "cnn", "width": 3}}},
        {"architectures": {"mine": {"build": "no function"}}},
        {"architectures": {"cnn": {"filters": {"uniform": [1, 2]}}}},
        {"variants": {"shifted": {"shfit": 3}}},
        {"training": {"epochs": 1.5}},
        {"training": {"epochs": {"choise": [1, 2]}}},
        {"training": {"learning_rate": {"loguniform": [0, 1]}}},
        {"training": {"optimizer": {"choice": ["adam", "sdg"]}}},
        {"search": {"algoritm": "random"}},
    ],
)
def test_what_a_file_may_not_say_is_wrong(change: dict[str, Any]) -> None:
    assert errors_of({**SPACE, **change})


@pytest.mark.parametrize("missing", ["name", "architectures", "variants"])
def test_what_is_required_is_missed(missing: str) -> None:
    assert errors_of({key: value for key, value in SPACE.items() if key != missing})


def test_every_key_says_what_it_means() -> None:
    schema = space_schema()
    sections = {"space": schema, **schema["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section.get("properties", {}).items()
        if not field.get("description", "Allowed").partition("Allowed")[0]
    ]
    assert silent == []
