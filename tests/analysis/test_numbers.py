"""Tests of `mnist_ray.analysis.numbers`."""

import pytest

from mnist_ray.analysis.numbers import duration, interval, number, seconds_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (123, "2 min 03 s"),
        (599.6, "10 min"),
        (3599, "1 h 00 min"),
        (11_100, "3 h 05 min"),
        (172_800, "48 h"),
    ],
)
def test_a_duration_has_the_units_that_matter(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_interval_says_why_there_is_none() -> None:
    without = {"ci95_low": None, "ci95_high": None}
    assert interval({"ci95_low": 0.9, "ci95_high": 0.92}, 3) == "0.9000 to 0.9200"
    assert interval(without, 1) == "\N{EN DASH}"
    assert interval(without, 2) == "no spread seen in n = 2"


def test_numbers_have_one_minus_one_dash_and_no_negative_zero() -> None:
    assert number(-0.25, 2) == "\N{MINUS SIGN}0.25"
    assert number(-0.00001) == "0.0000"
    assert number(None) == "\N{EN DASH}"


def test_nothing_takes_no_time_at_all() -> None:
    assert [seconds_text(seconds) for seconds in (0.0, 0.049, 0.05, 12.34)] == [
        *("< 0.1", "< 0.1", "0.1", "12.3")
    ]
