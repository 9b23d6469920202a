import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_ray.errors import InputError
from mnist_ray.space.yaml_text import LARGEST, read_yaml, write_yaml


def data_of(text: str) -> dict[str, object]:
    data, errors = read_yaml(text.encode(), "x.yaml")
    errors.raise_any("x.yaml")
    return dict(data)


def message_of(content: bytes | str) -> str:
    try:
        _, errors = read_yaml(content.encode() if isinstance(content, str) else content, "x.yaml")
        errors.raise_any("x.yaml")
    except InputError as error:
        return str(error)
    pytest.fail("nothing was refused")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("3", 3),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("-.inf", float("-inf")),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("", None),
        ("~", None),
        ("yes", "yes"),
        ("no", "no"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1e-3'", "1e-3"),
        ("!!str 3", "3"),
        ("!!float 3", 3.0),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(written: str, meant: object) -> None:
    value = data_of(f"a: {written}")["a"]
    assert value == meant
    assert type(value) is type(meant)


def test_keys_are_text_as_written() -> None:
    assert list(data_of("{1: a, null: b, yes: c, 1e-3: d}")) == ["1", "null", "yes", "1e-3"]


def test_anchors_and_merge_keys_are_followed_and_own_keys_win() -> None:
    data = data_of(
        """
        a: &a {x: 1, y: 1}
        b: &b {y: 2, z: 2}
        merged: {<<: [*a, *b], x: 9}
        same: *a
        """
    )
    assert data["merged"] == {"x": 9, "y": 1, "z": 2}
    assert data["same"] == {"x": 1, "y": 1}


def test_every_place_knows_its_line() -> None:
    lines = read_yaml(b"a:\n  b: [1,\n    2]\nc: 3\n", "x.yaml")[1].lines
    assert lines[("a",)] == 1
    assert lines[("a", "b")] == 2
    assert lines[("a", "b", 1)] == 3
    assert lines[("c",)] == 4


def test_keys_given_twice_are_reported_at_any_depth_with_both_lines() -> None:
    message = message_of("a: 1\nb:\n  - c: 1\n    d: 2\n    c: 3\na: 2\n")
    assert "2 errors" in message
    assert "a: is given twice, on line 1 and again on 6" in message
    assert "b[0].c: is given twice, on line 3 and again on 5" in message


def test_a_key_written_in_two_ways_is_the_same_key() -> None:
    assert "given twice" in message_of('a: 1\n"a": 2')


def test_a_key_given_twice_behind_an_anchor_is_reported_once() -> None:
    assert message_of("a: &a {x: 1, x: 2}\nb: *a\nc: {<<: *a}").count("given twice") == 1


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system", "!!python/name:os.system", "!mine", "!!binary", "!!set"],
)
def test_tags_are_refused_and_run_nothing(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = message_of(f"first: 1\nname: {tag} [touch ran]")
    assert not Path("ran").exists()
    assert "line 2, name: got the tag" in message
    assert tag.lstrip("!") in message
    assert "without a tag" in message


def test_a_tag_that_its_value_does_not_fit_is_refused() -> None:
    assert 'a: got "abc"; allowed: an integer' in message_of("a: !!int abc")
    assert 'a: got "abc"; allowed: a number' in message_of("a: !!float abc")
    assert 'a: got "abc"; allowed: true or false' in message_of("a: !!bool abc")


def test_an_integer_too_long_for_python_is_refused() -> None:
    assert "allowed: an integer" in message_of("a: " + "9" * 5000)


def test_half_of_a_surrogate_pair_becomes_a_character_that_can_be_written() -> None:
    assert data_of(r'{"\ud800": "\ud800"}') == {"\ufffd": "\ufffd"}


def test_json_is_read_too() -> None:
    data = {"a": [1, 1e-7, True, None, "\U00010000 \u2028"], "\U0001f600": {}}
    assert data_of(json.dumps(data)) == data


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        ("a: [1\nb: 2", "line 2, column 2", "',' or ']'"),
        ("a: 1\n\tb: 2", "line 2, column 1", "cannot start any token"),
        ("a: *missing", "line 1, column 4", "undefined alias"),
        ("a: 1\nb: \x07", "line 2, column 4", "character #x0007"),
        ("a: 1\n---\nb: 2", "line 2, column 1", "another document"),
    ],
)
def test_what_does_not_parse_is_reported_with_line_and_column(
    content: str, place: str, problem: str
) -> None:
    message = message_of(content)
    assert message.startswith("x.yaml is no YAML: ")
    assert place in message
    assert problem in message


@pytest.mark.parametrize("content", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_reported_as_such(content: str) -> None:
    assert message_of(content).startswith("x.yaml is empty")


@pytest.mark.parametrize(("content", "shown"), [("- 1\n- 2", "[1, 2]"), ("hello", '"hello"')])
def test_anything_but_a_mapping_at_the_top_is_refused(content: str, shown: str) -> None:
    assert f"holds {shown}; allowed: a mapping, such as" in message_of(content)


def test_text_that_is_not_utf_8_is_refused_with_its_line() -> None:
    assert "no UTF-8 text (line 2); save it as UTF-8" in message_of(b"a: 1\nb: \xff")
    assert data_of("\ufeffa: 1") == {"a": 1}  # a byte order mark is no error


@pytest.mark.parametrize("nested", ["[{}]", "{{<<: [{}]}}"])
def test_anchors_of_anchors_do_not_fill_the_memory(nested: str) -> None:
    levels = ["a0: &a0 {x: 1}"]
    levels += [
        f"a{level}: &a{level} " + nested.format(", ".join([f"*a{level - 1}"] * 9))
        for level in range(1, 10)
    ]
    assert "with its anchors followed, is too long" in message_of("\n".join(levels))


def test_lists_in_lists_without_end_are_refused() -> None:
    assert "nested too deeply" in message_of("a: " + "[" * 1000 + "]" * 1000)


def test_an_anchor_that_holds_itself_is_refused() -> None:
    assert "holds itself" in message_of("a: &a [*a]")


def test_a_file_longer_than_any_search_space_is_refused() -> None:
    assert f"allowed: {LARGEST} characters" in message_of("#" * (LARGEST + 1))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["1e-3", "yes", "null", "<<", "012", "~", ".inf", "a: b", "# c", ""])
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(st.dictionaries(TEXT, SCALARS | st.lists(SCALARS) | st.dictionaries(TEXT, SCALARS)))
def test_what_is_written_reads_back_the_same(data: dict[str, object]) -> None:
    read, errors = read_yaml(write_yaml(data).encode(), "x.yaml")  # type: ignore[arg-type]
    assert repr(read) == repr(data)
    errors.raise_any("x.yaml")
