"""A model with its optimizer, and one step of it along a gradient."""

from collections.abc import Callable, Iterable, Sized
from typing import Any

import keras
import tensorflow as tf

from mnist_ray.space.training import Training
from mnist_ray.train.learning_rates import Rates
from mnist_ray.train.optimizers import KerasOptimizer, LossScaleOptimizer


class GradientStep:
    """Trains a model, one batch at a time.

    Attributes:
        model: the Keras model that is trained.
        slots: all that the optimizer remembers from one step to the next.
    """

    def __init__(self, model: keras.Model, training: Training) -> None:
        self.model = model
        is_scaled = training.precision == "mixed_float16"
        self._optimizer = (LossScaleOptimizer if is_scaled else KerasOptimizer)(
            training.optimizer_name, model, training.optimizer_arguments
        )
        self.slots = self._optimizer.slots

    def take(
        self, forward: Callable[[], tuple[tf.Tensor, tf.Tensor]], rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one step against the gradient of the loss that `forward` gives.

        Args:
            forward: gives the loss, without what the layers add to it, and the probabilities.
            rate: the learning rate.

        Returns:
            The loss, with what the layers add to it, and the probabilities.
        """
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            loss, probabilities = forward()
            loss = tf.add_n([loss, *self.model.losses])
            scaled = self._optimizer.scale(loss)
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        self._optimizer.apply(gradients, rate)
        return loss, probabilities

    def finish(self) -> None:
        """Give the model what it ends a training with, such as averaged weights."""
        self._optimizer.finish()


def probabilities_of(model: keras.Model, images: tf.Tensor, *, training: bool) -> tf.Tensor:
    """Class probabilities, float32 [b, classes], of uint8 images on their canvases.

    Grey images are [b, canvas, canvas], those in colour [b, canvas, canvas, 3].
    """
    with_channels = images if images.shape.rank == 4 else images[..., tf.newaxis]
    scaled = tf.cast(with_channels, tf.float32) / 255.0
    return tf.cast(model(scaled, training=training), tf.float32)


def classes_of(probabilities: tf.Tensor) -> tf.Tensor:
    """The most probable class of each image, int32 [b]."""
    return tf.argmax(probabilities, axis=-1, output_type=tf.int32)


def train_in_parts(
    parts: Iterable[tuple[Sized, Any]],
    rates: Rates,
    train: Callable[..., tuple[tf.Tensor, tf.Tensor]],
) -> tuple[float, int]:
    """The summed loss and the correct images of an epoch that is trained part by part.

    Args:
        parts: what `train` takes; the first of each has the part's steps along its first axis.
        rates: the learning rate of each step of the epoch, float32 [steps].
        train: trains on a part, with the part's rates as its last argument.
    """
    loss, correct, steps = 0.0, 0, 0
    for of_steps, more in parts:
        end = steps + len(of_steps)
        part_loss, part_correct = train(of_steps, more, rates[steps:end])
        loss += float(part_loss)
        correct += int(part_correct)
        steps = end
    return loss, correct
