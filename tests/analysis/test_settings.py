"""Tests of `mnist_ray.analysis.settings`: which settings differ."""

from mnist_ray.analysis.settings import varying, varying_by_family


def test_names_with_several_values_come_in_order_of_appearance() -> None:
    settings = [{"b": 1, "a": [1, 2], "c": "x"}, {"a": [1, 3], "b": 2, "c": "x"}]
    assert varying(settings) == ["b", "a"]
    assert varying(settings[:1]) == varying([]) == []


def test_what_is_missing_is_no_value_and_null_is_one() -> None:
    assert varying([{"a": 1}, {}]) == []
    assert varying([{"a": 1}, {"a": None}]) == ["a"]


def test_values_of_different_kinds_differ() -> None:
    assert varying([{"a": 1, "b": True, "c": "1"}, {"a": 1.0, "b": 1, "c": 1}]) == ["a", "b", "c"]


def test_families_are_looked_at_on_their_own() -> None:
    settings = [("x", {"a": 1, "b": 1}), ("y", {"a": 2, "b": 1}), ("y", {"a": 2, "b": 2})]
    assert varying_by_family(settings) == {"x": [], "y": ["b"]}
