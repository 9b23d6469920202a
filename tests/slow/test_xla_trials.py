"""Trials that XLA compiles on a CPU: those that tests/train/test_xla.py does not try."""

from typing import Any

import pytest
from small_trials import CONVOLUTIONAL, DENSE, run, trial_of
from xla_trials import (
    assert_it_goes_on_from_a_checkpoint,
    assert_xla_trains_as_the_plain_graph,
    with_xla,
)

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize(
    ("architecture", "more"),
    [(DENSE, {"batch_size": 200, "validation_split": 0.0}), (CONVOLUTIONAL, {})],
    ids=["one batch", "pooling"],
)
def test_xla_trains_as_the_plain_graph(architecture: dict[str, Any], more: dict[str, Any]) -> None:
    assert_xla_trains_as_the_plain_graph(architecture, **more)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_xla_trains_with_other_optimizers_as_the_plain_graph(optimizer: str) -> None:
    assert_xla_trains_as_the_plain_graph(CONVOLUTIONAL, optimizer=optimizer)


@pytest.mark.parametrize("precision", ["mixed_bfloat16"])
def test_xla_trains_in_mixed_precision(precision: str) -> None:
    first = with_xla(CONVOLUTIONAL, precision=precision).epochs[0]
    expected = run(trial_of(CONVOLUTIONAL, precision=precision)).epochs[0]
    assert first.train_loss == pytest.approx(expected.train_loss, rel=1e-2)


def test_a_trial_under_xla_goes_on_from_a_checkpoint() -> None:
    assert_it_goes_on_from_a_checkpoint("mixed_float16")  # It has the most state.
