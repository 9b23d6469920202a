"""A model with its optimizer, and one step of it along a gradient."""

from collections.abc import Callable

import keras
import tensorflow as tf

from mnist_ray.space.training import Training
from mnist_ray.train.optimizers import LossScale, optimizer_for


class GradientStep:
    """Trains a model, one batch at a time.

    Attributes:
        model: the Keras model that is trained.
        slots: all that the optimizer and the loss scale remember from one step to the next.
    """

    def __init__(self, model: keras.Model, training: Training) -> None:
        self.model = model
        self._optimizer = optimizer_for(
            training.optimizer_name, model, training.optimizer_arguments
        )
        self._loss_scale = LossScale() if training.precision == "mixed_float16" else None
        self.slots = [*self._optimizer.slots, *(self._loss_scale.slots if self._loss_scale else [])]

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
            scaled = self._loss_scale.scale(scaled) if self._loss_scale else scaled
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if self._loss_scale:
            self._loss_scale.step(gradients, lambda true: self._optimizer.apply(true, rate))
        else:
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
