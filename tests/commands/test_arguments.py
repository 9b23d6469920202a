import argparse

import pytest

from mnist_ray._command import integer


def test_an_integer_from_the_least_on_is_taken() -> None:
    assert integer(least=0)("0") == 0
    assert integer(least=1)("12") == 12


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "many", ""])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        integer(least=1)(text)
    assert str(refused.value) == f"{text!r} given, an integer from 1 on allowed"
