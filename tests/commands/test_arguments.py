import argparse

import pytest

from mnist_ray._command import integer
from mnist_ray.sweep import SweepOptions


def test_an_integer_from_the_least_on_is_taken() -> None:
    assert integer(least=0)("0") == 0
    assert integer(least=1)("12") == 12


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "many", ""])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        integer(least=1)(text)
    assert str(refused.value) == f"{text!r} given, an integer from 1 on allowed"


def test_the_command_that_goes_on_has_what_was_asked_for_and_not_how_it_was_shown() -> None:
    options = SweepOptions(
        space="my space.yaml", trials=5, gpus_per_trial=0.25, log=["mlflow", "wandb"], quiet=True
    )
    assert options.command_again() == (
        "mnist-ray sweep 'my space.yaml' --trials 5 --gpus-per-trial 0.25 --log mlflow --log wandb"
    )
    assert SweepOptions().command_again() == "mnist-ray sweep"
    # From Python one tracker may stand alone.
    assert SweepOptions(log="mlflow").command_again() == "mnist-ray sweep --log mlflow"
