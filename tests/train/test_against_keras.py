"""Trials trained as plain Keras trains them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_trials import (
    COLOUR_IMAGES,
    CONVOLUTIONAL,
    DENSE,
    IMAGES,
    cell_results,
    keras_model,
    placed_training_images,
    run,
    scaled,
    trial_of,
    weights,
)

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.record import Epoch
from mnist_ray.plan.seeds import trial_seeds
from mnist_ray.plan.trial import Trial
from mnist_ray.space.custom_code import modules_of
from mnist_ray.train import models
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")


def plain_keras(
    trial: Trial, dataset: Dataset, folder: Path | None = None
) -> tuple[keras.Model, list[Epoch]]:
    """The same trial by `compile` and `fit`, batch by batch the same."""
    cell, training = trial.cell, trial.cell.training
    seeds = trial_seeds(trial.seed, trial.index)
    keras.utils.set_random_seed(seeds.weights)
    code = {cell.builder: modules_of(cell.builder, folder)} if folder else {}
    model = models.build(cell, classes=dataset.classes, code=code)
    optimizer = keras.optimizers.get(training.optimizer)
    optimizer.learning_rate = training.learning_rate
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images = scaled(placed_training_images(trial, dataset))
    labels = dataset.train_labels
    split = int(len(labels) * (1 - training.validation_split))
    validation = (images[split:], labels[split:]) if split < len(labels) else None
    epochs = []
    for stream in seeds.shuffle.spawn(training.epochs):
        order = np.random.default_rng(stream).permutation(split)
        history = model.fit(
            images[order],
            labels[order],
            batch_size=training.batch_size,
            validation_data=validation,
            shuffle=False,
            verbose=0,
        ).history
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        epoch = Epoch(*(history[name][0] if name in history else None for name in names))
        if epoch.validation_loss is not None:  # Keras adds what regularization costs.
            epoch = replace(epoch, validation_loss=epoch.validation_loss - float(sum(model.losses)))
        epochs.append(epoch)
    return model, epochs


def assert_as_plain_keras(trained: TrialRun, dataset: Dataset, folder: Path | None = None) -> None:
    model, epochs = plain_keras(trained.trial, dataset, folder)
    for mine, theirs in zip(weights(keras_model(trained)), weights(model), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5)
    figures = [[v for v in asdict(e).values() if v is not None] for e in trained.epochs]
    expected = [[v for v in asdict(e).values() if v is not None] for e in epochs]
    np.testing.assert_allclose(figures, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "variant", "training"),
    [
        (DENSE, {}, {}),
        (CONVOLUTIONAL, {"shift": 3}, {"epochs": 2}),
        (DENSE, {}, {"validation_split": 0.0, "batch_size": 200}),
    ],
    ids=["dense", "convolutional, shifted, two epochs", "one batch larger than the training set"],
)
def test_weights_and_figures_are_those_of_plain_keras(
    architecture: dict[str, Any], variant: dict[str, int], training: dict[str, Any]
) -> None:
    trained = run(trial_of(architecture, variant=variant, **training))
    assert len(trained.epochs) == training.get("epochs", 1)
    assert_as_plain_keras(trained, IMAGES)


@pytest.mark.parametrize("architecture", [DENSE, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_images_in_colour_are_trained_on_as_by_plain_keras(architecture: dict[str, Any]) -> None:
    trial = trial_of(architecture, dataset=COLOUR_IMAGES, variant={"shift": 2}, epochs=2)
    assert_as_plain_keras(run(trial, dataset=COLOUR_IMAGES), COLOUR_IMAGES)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw"])
def test_another_optimizer_trains_as_in_plain_keras(optimizer: str) -> None:
    assert_as_plain_keras(run(trial_of(optimizer=optimizer, epochs=3)), IMAGES)


OWN = """
import keras
from keras import layers

def build(shape, classes, *, width):
    return keras.Sequential([
        keras.Input(shape), layers.Flatten(),
        layers.Dense(width, use_bias=False, kernel_regularizer="l2", kernel_constraint="max_norm"),
        layers.BatchNormalization(), layers.ReLU(), layers.Dense(classes, activation="softmax"),
    ])
"""


def test_a_users_own_model_with_all_that_keras_offers_trains_as_in_plain_keras(
    tmp_path: Path,
) -> None:
    (tmp_path / "own_training.py").write_text(OWN)
    trial = trial_of({"build": "own_training:build", "width": 7}, epochs=2)
    compiled_models = CompiledModelCache()
    first, again = (run(trial, compiled_models, folder=tmp_path) for _ in range(2))
    assert first.parameters == 36 * 7 + 4 * 7 + 8 * 3
    assert cell_results(again) == cell_results(run(trial, folder=tmp_path))
    assert_as_plain_keras(again, IMAGES, tmp_path)
