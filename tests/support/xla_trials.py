"""Small trials that XLA compiles on a CPU, beside those of the plain graph."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from small_trials import (
    DENSE,
    IMAGES,
    cell_results,
    checkpoint_of,
    keras_model,
    run,
    trial_of,
    weights,
)

from mnist_ray.data.dataset import Dataset
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrialRun

DENSE_WITH_DROPOUT = {**DENSE, "dropout": 0.4}


def with_xla(
    architecture: dict[str, Any],
    *,
    dataset: Dataset = IMAGES,
    folder: Path | None = None,
    **more: Any,
) -> TrialRun:
    """A trial of three epochs that XLA has compiled."""
    trial = trial_of(architecture, dataset=dataset, epochs=3, jit_compile=True, **more)
    trained = run(trial, dataset=dataset, folder=folder)
    assert trained.xla_error is None
    return trained


def losses(trained: TrialRun) -> list[float]:
    epochs = [asdict(epoch) for epoch in trained.epochs]
    training = [value for epoch in epochs for value in epoch.values() if value is not None]
    return [*training, trained.evaluate(trained.trial.cell.shift).loss]


def assert_xla_trains_as_the_plain_graph(
    architecture: dict[str, Any],
    *,
    dataset: Dataset = IMAGES,
    folder: Path | None = None,
    **more: Any,
) -> None:
    compiled = with_xla(architecture, dataset=dataset, folder=folder, **more)
    trial = trial_of(architecture, dataset=dataset, epochs=3, **more)
    plain = run(trial, dataset=dataset, folder=folder)
    np.testing.assert_allclose(losses(compiled), losses(plain), rtol=1e-5)
    pairs = zip(weights(keras_model(compiled)), weights(keras_model(plain)), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def assert_it_goes_on_from_a_checkpoint(precision: str) -> None:
    trial = trial_of(DENSE_WITH_DROPOUT, epochs=2, jit_compile=True, precision=precision)
    begun = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    begun.train_epoch()
    elsewhere = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    elsewhere.restore(checkpoint_of(begun))
    while not elsewhere.is_trained:
        elsewhere.train_epoch()
    assert cell_results(elsewhere) == cell_results(run(trial))
