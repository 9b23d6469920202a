"""Custom architectures are built, and Keras' arguments used, before a sweep starts."""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mnist_ray.errors import InputError
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.architecture import BUILT_IN
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Cell
from mnist_ray.space.training import Schedule, Training
from mnist_ray.train.child_process import check_in_child


def check_cells(cells: Sequence[Cell], dataset_info: DatasetInfo, code: Code) -> None:
    """Try what only Keras can say, in a child process.

    The model of each cell with a custom architecture is built. Each optimizer that has arguments
    takes a step, and each schedule is asked for its rates.

    Raises:
        InputError: an architecture cannot be imported, does not take its hyperparameters, or gives
            no model whose outputs are probabilities; Keras refuses arguments; or a rate is negative
            or not finite.
    """
    custom = [cell for cell in cells if cell.builder not in BUILT_IN]
    trainings = {
        json.dumps(cell.training.to_data(), sort_keys=True): cell.training
        for cell in cells
        if cell.training.has_keras_arguments
    }
    subjects = [f"build: {cell.builder}" for cell in custom]
    subjects += ["training: optimizer and learning_rate"] * len(trainings)
    request = (custom, [*trainings.values()], dataset_info, code)
    check_in_child(_check_all, *request, subjects=subjects)


# In the child process


def _check_all(
    custom: Sequence[Cell], trainings: Sequence[Training], dataset_info: DatasetInfo, code: Code
) -> Iterator[None]:
    from mnist_ray.train import device

    for cell in custom:
        _check_model(cell, dataset_info.classes, code)
        yield
    device.restore_settings()
    for training in trainings:
        _check_training(training, dataset_info.train_images)
        yield


def _check_model(cell: Cell, classes: int, code: Code) -> None:
    from mnist_ray.train import models

    try:
        built = models.build(cell, classes=classes, code=code)
        black = np.zeros((2, *cell.input_shape), np.float32)
        output = np.asarray(built(black, training=False), np.float32)
    except InputError:
        raise
    except Exception as error:
        given = json.dumps(cell.hyperparameters)
        raise InputError(
            f"build: {cell.builder} failed with {type(error).__name__}: {error}. It was "
            f"called as function({cell.input_shape}, {classes}, **{given})."
        ) from error
    if not (np.all(output >= 0) and np.allclose(output.sum(axis=-1), 1, atol=0.02)):
        raise InputError(
            f"build: {cell.builder} gave a model whose outputs are no probabilities: for a "
            f"black image they are {output[0].tolist()}. They must be at least 0 and sum to 1: "
            'end it with activation="softmax".'
        )


def _check_training(training: Training, train_images: int) -> None:
    _try("optimizer", training.to_data()["optimizer"], lambda: _take_step(training))
    schedule = training.learning_rate
    if isinstance(schedule, Schedule):
        given = schedule.to_data()
        _try("learning_rate", given, lambda: _check_rates(training, train_images))


def _try(key: str, given: object, use: Callable[[], None]) -> None:
    try:
        use()
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"training.{key}: Keras cannot use {json.dumps(given)}: "
            f"{type(error).__name__}: {reason}"
        ) from error


def _take_step(training: Training) -> None:
    import keras
    import tensorflow as tf

    from mnist_ray.train.optimizers import KerasOptimizer

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    optimizer = KerasOptimizer(training.optimizer_name, model, training.optimizer_arguments)
    gradients = [tf.ones_like(variable.value) for variable in model.trainable_variables]
    optimizer.apply(gradients, tf.constant(0.001))
    optimizer.finish()


def _check_rates(training: Training, train_images: int) -> None:
    from mnist_ray.train.learning_rates import learning_rates

    trained = training.trained(train_images)
    for epoch in range(training.epochs):
        rates = learning_rates(training, trained, epoch)
        wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
        if len(wrong):
            given = json.dumps(training.to_data()["learning_rate"])
            raise InputError(
                f"training.learning_rate: {given} gives {rates[wrong[0]]:g} in step "
                f"{wrong[0] + 1} of epoch {epoch + 1}; a learning rate must be a number of at "
                "least 0"
            )
