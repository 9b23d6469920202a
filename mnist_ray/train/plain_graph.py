"""Training and evaluation as plain TensorFlow graphs, without XLA: the fastest on CPUs."""

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mnist_ray.ledger.record import Classes
from mnist_ray.train.gradient_step import GradientStep, classes_of, probabilities_of, train_in_parts
from mnist_ray.train.learning_rates import Rates
from mnist_ray.train.placed_images import PlacedImages

_EVALUATION_BATCH = 32
"""Images evaluated at a time. Measured on one core: for the shifted CNN, 32 are as fast as 250 and
1.6 times as fast as 8; for the feed-forward network it makes no difference."""


class PlainGraph:
    """One call of a graph takes many batches, as uint8 images."""

    def __init__(self, step: GradientStep, canvas_shape: tuple[int, ...], *, is_pure: bool) -> None:
        """Compile nothing yet.

        Args:
            step: what is trained.
            canvas_shape: of an image as the model sees it: (height, width), and 3 in colour.
            is_pure: whether evaluation changes nothing in the model.
        """
        self._step, self._is_pure = step, is_pure
        images = tf.TensorSpec((None, None, *canvas_shape), tf.uint8)
        labels = tf.TensorSpec((None, None), tf.int32)
        rates = tf.TensorSpec((None,), tf.float32)
        # Functions of one graph each: to look for the right one takes a third of a small call.
        self._train_function = tf.function(
            self._train_batches, input_signature=[images, labels, rates]
        )
        self._evaluate_function = tf.function(
            self._evaluate_batches, input_signature=[images, labels]
        )

    @cached_property
    def _train_graph(self) -> Any:
        return self._train_function.get_concrete_function()

    @cached_property
    def _evaluate_graph(self) -> Any:
        return self._evaluate_function.get_concrete_function()

    @property
    def graphs(self) -> list[Any]:
        """The concrete functions of training and evaluation."""
        return [self._train_graph, self._evaluate_graph]

    def compile(self, placed_images: PlacedImages, trained: int, batch_size: int) -> None:
        """Trace and compile both graphs, by calls without a batch, which change nothing."""
        images = np.empty((0, 1, *placed_images.canvas_shape), np.uint8)
        labels = np.empty((0, 1), np.int32)
        self._train_graph(images, labels, np.empty(0, np.float32))
        self._evaluate_graph(images, labels)

    def train(
        self,
        placed_images: PlacedImages,
        order: NDArray[np.integer[Any]],
        batch_size: int,
        *,
        rates: Rates,
    ) -> tuple[float, int]:
        """Take one step for each batch of `order`; the summed loss and the correct images.

        `rates` has the learning rate of each step.
        """
        return train_in_parts(placed_images.chunks(order, batch_size), rates, self._train_graph)

    def evaluate(
        self, placed_images: PlacedImages, order: NDArray[np.integer[Any]]
    ) -> tuple[float, Classes]:
        """The summed loss on the images in `order`, and the predicted class of each."""
        loss, predictions = 0.0, []
        for images, labels in placed_images.chunks(order, _EVALUATION_BATCH):
            chunk_loss, classes = self._evaluate_graph(images, labels)
            loss += float(chunk_loss)
            predictions.append(classes.numpy())
        return loss, np.concatenate(predictions)

    def _train_batch(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def forward() -> tuple[tf.Tensor, tf.Tensor]:
            probabilities = probabilities_of(self._step.model, images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            return tf.reduce_mean(losses), probabilities

        loss, probabilities = self._step.take(forward, rate)
        correct = tf.equal(classes_of(probabilities), labels)
        total = loss * tf.cast(tf.size(labels), tf.float32)
        return total, tf.reduce_sum(tf.cast(correct, tf.int32))

    def _train_batches(
        self, images: tf.Tensor, labels: tf.Tensor, rates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = tf.constant(0.0), tf.constant(0)
        for batch in tf.range(tf.shape(images)[0]):
            batch_loss, batch_correct = self._train_batch(
                images[batch], labels[batch], rates[batch]
            )
            loss += batch_loss
            correct += batch_correct
        return loss, correct

    def _evaluate_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities = probabilities_of(self._step.model, images, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        return tf.reduce_sum(losses), classes_of(probabilities)

    def _evaluate_batches(
        self, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss = tf.constant(0.0)
        predictions = tf.TensorArray(tf.int32, size=tf.shape(images)[0])
        with self._weights_cast_once():
            for batch in tf.range(tf.shape(images)[0]):
                batch_loss, classes = self._evaluate_batch(images[batch], labels[batch])
                loss += batch_loss
                predictions = predictions.write(batch, classes)
        return loss, predictions.concat()

    def _weights_cast_once(self) -> AbstractContextManager[Any]:
        """Under mixed precision, weights in the type that a layer computes in.

        Keras itself casts them for every batch. Of evaluating the shifted CNN in bfloat16, that
        took more than half of the time.
        """
        scope = keras.StatelessScope()
        layers = self._step.model.layers if self._is_pure else []
        for layer in layers:
            if layer.compute_dtype != layer.variable_dtype:
                for weight in layer.trainable_variables:
                    scope.add_update((weight, tf.cast(weight.value, layer.compute_dtype)))
        return scope if scope.state_mapping else nullcontext()
