"""Tests of `mnist_ray.view.formats`."""

import pytest

from mnist_ray.view.formats import duration, interval


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
