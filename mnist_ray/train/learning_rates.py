"""The learning rate of each step of a training, by one of Keras' schedules or constant."""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mnist_ray.space.optimizers import SCHEDULES, STEPS
from mnist_ray.space.training import Schedule, Training

Rates = NDArray[np.float32]


def learning_rates(training: Training, trained: int, epoch: int) -> Rates:
    """The learning rate of each step of an epoch, float32 [steps].

    The steps of a schedule are those of all epochs so far. They are counted here and not in a
    compiled graph, so that a trial goes on with the right one wherever it starts again.

    Args:
        training: how the model is trained.
        trained: images that an epoch takes.
        epoch: from 0.
    """
    steps = math.ceil(trained / training.batch_size)
    schedule = training.learning_rate
    if not isinstance(schedule, Schedule):
        return np.full(steps, schedule, np.float32)
    arguments = _in_steps(schedule.arguments, steps, training.epochs)
    rates = _scheduled(schedule.schedule, json.dumps(arguments), steps * training.epochs)
    return rates[epoch * steps : (epoch + 1) * steps]


def _in_steps(arguments: Mapping[str, Any], steps: int, epochs: int) -> dict[str, Any]:
    """The arguments, with numbers of steps for `epoch` and `training`."""
    counts = {"epoch": steps, "training": steps * epochs}

    def counted(value: Any) -> Any:
        if isinstance(value, list):
            return [counted(item) for item in value]
        return counts[value] if isinstance(value, str) else value

    return {key: counted(value) if key in STEPS else value for key, value in arguments.items()}


@lru_cache(maxsize=16)
def _scheduled(name: str, arguments: str, steps: int) -> Rates:
    keras_class = getattr(keras.optimizers.schedules, SCHEDULES[name].keras_name)
    schedule = keras_class(**json.loads(arguments))

    def every_rate() -> tf.Tensor:
        return tf.map_fn(
            lambda step: tf.cast(schedule(step), tf.float32),
            tf.range(steps, dtype=tf.int64),
            fn_output_signature=tf.float32,
        )

    with tf.device("CPU:0"):
        rates: Rates = tf.function(every_rate)().numpy()
    return rates
