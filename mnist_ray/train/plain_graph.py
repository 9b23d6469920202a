"""Training and evaluation as plain TensorFlow graphs, without XLA: the fastest on CPUs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_ray.train.learning_rates import Rates
from mnist_ray.train.optimizers import KerasOptimizer
from mnist_ray.train.placed_images import Order, PlacedImages
from mnist_ray.train.training_graph import Sums, TrainingGraph, classes_of, probabilities_of

_EVALUATION_BATCH = 32
"""Images evaluated at a time. Measured on one core: for the shifted CNN, 32 are as fast as 250 and
1.6 times as fast as 8; for the feed-forward network it makes no difference."""


class PlainGraph(TrainingGraph):
    """Takes uint8 images on their canvases."""

    def __init__(
        self, optimizer: KerasOptimizer, canvas_shape: tuple[int, ...], *, is_pure: bool
    ) -> None:
        """Compile nothing yet.

        Args:
            optimizer: that of the model.
            canvas_shape: of an image as the model sees it: (height, width), and 3 in colour.
            is_pure: whether evaluation changes nothing in the model.
        """
        super().__init__(optimizer)
        self._is_pure = is_pure
        self._batches = (
            tf.TensorSpec((None, None, *canvas_shape), tf.uint8),
            tf.TensorSpec((None, None), tf.int32),
        )
        # Kept, since a variable that a custom layer makes lives only as long as they do.
        self._train_function = tf.function(self._train_batches)
        self._evaluate_function = tf.function(self._evaluate_batches)

    # One graph of each: finding the right one takes a third of the time of a small call.

    @cached_property
    def _train_graph(self) -> Any:
        rates = tf.TensorSpec((None,), tf.float32)
        return self._train_function.get_concrete_function(*self._batches, rates)

    @cached_property
    def _evaluate_graph(self) -> Any:
        return self._evaluate_function.get_concrete_function(*self._batches)

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

    def _training_calls(
        self, placed_images: PlacedImages, order: Order, batch_size: int
    ) -> Iterator[tuple[int, Callable[[Rates], Sums]]]:
        for images, labels in placed_images.chunks(order, batch_size):
            yield len(images), partial(self._train_graph, images, labels)

    def _evaluated(self, placed_images: PlacedImages, order: Order) -> Iterator[Sums]:
        for images, labels in placed_images.chunks(order, _EVALUATION_BATCH):
            yield self._evaluate_graph(images, labels)

    def _train_batch(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> Sums:
        def forward() -> tuple[tf.Tensor, tf.Tensor]:
            probabilities = probabilities_of(self._optimizer.model, images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            return tf.reduce_mean(losses), probabilities

        loss, probabilities = self._optimizer.minimize(forward, rate)
        correct = tf.equal(classes_of(probabilities), labels)
        total = loss * tf.cast(tf.size(labels), tf.float32)
        return total, tf.reduce_sum(tf.cast(correct, tf.int32))

    def _train_batches(self, images: tf.Tensor, labels: tf.Tensor, rates: tf.Tensor) -> Sums:
        loss, correct = tf.constant(0.0), tf.constant(0)
        for batch in tf.range(tf.shape(images)[0]):
            batch_loss, batch_correct = self._train_batch(
                images[batch], labels[batch], rates[batch]
            )
            loss += batch_loss
            correct += batch_correct
        return loss, correct

    def _evaluate_batches(self, images: tf.Tensor, labels: tf.Tensor) -> Sums:
        loss = tf.constant(0.0)
        predictions = tf.TensorArray(tf.int32, size=tf.shape(images)[0])
        with self._weights_cast_once():
            for batch in tf.range(tf.shape(images)[0]):
                probabilities = probabilities_of(
                    self._optimizer.model, images[batch], training=False
                )
                losses = keras.losses.sparse_categorical_crossentropy(labels[batch], probabilities)
                loss += tf.reduce_sum(losses)
                predictions = predictions.write(batch, classes_of(probabilities))
        return loss, predictions.concat()

    def _weights_cast_once(self) -> AbstractContextManager[Any]:
        """Under mixed precision, weights in the type that a layer computes in.

        Keras itself casts them for every batch. Of evaluating the shifted CNN in bfloat16, that
        took more than half of the time.
        """
        scope = keras.StatelessScope()
        layers = self._optimizer.model.layers if self._is_pure else []
        for layer in layers:
            if layer.compute_dtype != layer.variable_dtype:
                for weight in layer.trainable_variables:
                    scope.add_update((weight, tf.cast(weight.value, layer.compute_dtype)))
        return scope if scope.state_mapping else nullcontext()
