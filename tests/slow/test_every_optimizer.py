"""Every one of Keras' optimizers in whole trials: kept programs, checkpoints, XLA."""

from typing import Any

import pytest
from small_trials import DENSE, IMAGES, cell_results, checkpoint_of, run, trial_of
from xla_trials import assert_xla_trains_as_the_plain_graph

from mnist_ray.space.optimizers import OPTIMIZERS
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

WITH_ARGUMENTS: list[dict[str, Any]] = [
    {"name": "adamw", "weight_decay": 0.1, "amsgrad": True, "clipnorm": 0.5},
    {"name": "sgd", "momentum": 0.9, "gradient_accumulation_steps": 2},
    {"name": "rmsprop", "centered": True, "use_ema": True, "ema_overwrite_frequency": 3},
    {"name": "adam", "loss_scale_factor": 8.0, "global_clipnorm": 1.0},
]
EVERY = [*OPTIMIZERS, *WITH_ARGUMENTS]


WITHOUT_ADAFACTOR = [optimizer for optimizer in EVERY if optimizer != "adafactor"]
"""Keras' Adafactor divides 0 by 0 where a row and a column of a gradient are 0, which happens in
float16, and with XLA in these trials."""


def name_of(optimizer: Any) -> str:
    return str(optimizer if isinstance(optimizer, str) else optimizer["name"] + " with arguments")


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("optimizer", WITHOUT_ADAFACTOR, ids=name_of)
def test_a_kept_program_and_a_checkpoint_change_no_bit(optimizer: Any, precision: str) -> None:
    trials = [
        trial_of(DENSE, index=index, epochs=2, optimizer=optimizer, precision=precision)
        for index in range(3)
    ]
    compiled_models = CompiledModelCache()
    kept = [cell_results(run(trial, compiled_models)) for trial in trials]
    alone = cell_results(run(trials[2]))
    assert kept[2] == alone != kept[1]
    begun = TrialRun(trials[2], IMAGES, compiled_models=CompiledModelCache())
    begun.train_epoch()
    elsewhere = TrialRun(trials[2], IMAGES, compiled_models=CompiledModelCache())
    elsewhere.restore(checkpoint_of(begun))
    elsewhere.train_epoch()
    assert cell_results(elsewhere) == alone


@pytest.mark.parametrize("optimizer", WITHOUT_ADAFACTOR, ids=name_of)
def test_xla_trains_as_the_plain_graph(optimizer: Any) -> None:
    assert_xla_trains_as_the_plain_graph(DENSE, optimizer=optimizer)
