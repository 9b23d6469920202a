"""What trains and evaluates a model: a graph that takes many batches in one call."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from mnist_ray.ledger.record import Classes
from mnist_ray.train.learning_rates import Rates
from mnist_ray.train.optimizers import KerasOptimizer
from mnist_ray.train.placed_images import Order, PlacedImages

Sums = tuple[tf.Tensor, tf.Tensor]
"""Of some batches: the summed loss, then how many images are classified correctly, or the class of
each."""


class TrainingGraph(ABC):
    """Compiled from a model and its optimizer."""

    def __init__(self, optimizer: KerasOptimizer) -> None:
        """Compile nothing yet."""
        self._optimizer = optimizer

    @abstractmethod
    def compile(self, placed_images: PlacedImages, trained: int, batch_size: int) -> None:
        """Compile for epochs of `trained` images and for evaluation; nothing is trained yet."""

    @abstractmethod
    def _training_calls(
        self, placed_images: PlacedImages, order: Order, batch_size: int
    ) -> Iterator[tuple[int, Callable[[Rates], Sums]]]:
        """What trains a part of the batches of `order`, given their rates, and their number."""

    @abstractmethod
    def _evaluated(self, placed_images: PlacedImages, order: Order) -> Iterator[Sums]:
        """The parts of `order`, evaluated; the last one may have more classes than images."""

    def train(
        self, placed_images: PlacedImages, order: Order, batch_size: int, *, rates: Rates
    ) -> tuple[float, float]:
        """Take one step for each batch of `order`, with its rate; the mean loss and accuracy."""
        loss, correct, done = 0.0, 0, 0
        for steps, call in self._training_calls(placed_images, order, batch_size):
            part_loss, part_correct = call(rates[done : done + steps])
            loss += float(part_loss)
            correct += int(part_correct)
            done += steps
        return loss / len(order), correct / len(order)

    def evaluate(self, placed_images: PlacedImages, order: Order) -> tuple[float, Classes]:
        """The mean loss on the images in `order`, and the predicted class of each."""
        loss, predictions = 0.0, []
        for part_loss, classes in self._evaluated(placed_images, order):
            loss += float(part_loss)
            predictions.append(classes.numpy().ravel())
        return loss / len(order), np.concatenate(predictions)[: len(order)]


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
