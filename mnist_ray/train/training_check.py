"""Optimizers and schedules with arguments are checked by Keras before a sweep starts."""

import json
from collections.abc import Sequence

from mnist_ray.space.space import Cell
from mnist_ray.space.training import Schedule, Training
from mnist_ray.train.child_check import answer_parent, check_in_child


def check_trainings(cells: Sequence[Cell], *, train_images: int) -> None:
    """Take a step with each optimizer that has arguments, and ask each schedule for its rates.

    Raises:
        InputError: Keras refuses the arguments, or a rate is negative or not finite.
    """
    trainings = {
        json.dumps(cell.training.to_data(), sort_keys=True): cell.training
        for cell in cells
        if cell.training.has_keras_arguments
    }
    if trainings:
        request = ([*trainings.values()], train_images)
        check_in_child(
            "mnist_ray.train.training_check", request, what="training: optimizer and learning_rate"
        )


def _first_fault(trainings: Sequence[Training], train_images: int) -> str | None:
    return next((fault for each in trainings if (fault := _fault(each, train_images))), None)


def _fault(training: Training, train_images: int) -> str | None:
    try:
        _take_step(training)
    except Exception as error:
        return _refused("optimizer", training.to_data()["optimizer"], error)
    schedule = training.learning_rate
    if not isinstance(schedule, Schedule):
        return None
    try:
        return _fault_of_rates(schedule, training, train_images)
    except Exception as error:
        return _refused("learning_rate", schedule.to_data(), error)


def _take_step(training: Training) -> None:
    import keras
    import tensorflow as tf

    from mnist_ray.train.optimizers import optimizer_for

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    optimizer = optimizer_for(training.optimizer_name, model, training.optimizer_arguments)
    gradients = [tf.ones_like(variable.value) for variable in model.trainable_variables]
    optimizer.apply(gradients, tf.constant(0.001))
    optimizer.finish()


def _fault_of_rates(schedule: Schedule, training: Training, train_images: int) -> str | None:
    import numpy as np

    from mnist_ray.train.learning_rates import learning_rates

    trained = training.trained(train_images)
    for epoch in range(training.epochs):
        rates = learning_rates(training, trained, epoch)
        wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
        if len(wrong):
            return (
                f"training.learning_rate: {json.dumps(schedule.to_data())} gives "
                f"{rates[wrong[0]]:g} in step {wrong[0] + 1} of epoch {epoch + 1}; a learning rate "
                "must be a number of at least 0"
            )
    return None


def _refused(key: str, given: object, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return f"training.{key}: Keras can't use {json.dumps(given)}: {type(error).__name__}: {reason}"


if __name__ == "__main__":
    answer_parent(_first_fault)
