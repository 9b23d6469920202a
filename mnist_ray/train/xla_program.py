"""Training and evaluation as programs that XLA compiles: many steps in one, for GPUs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mnist_ray.train.learning_rates import Rates
from mnist_ray.train.optimizers import KerasOptimizer
from mnist_ray.train.placed_images import Order, PlacedImages, in_batches
from mnist_ray.train.pooling import without_scatter
from mnist_ray.train.training_graph import Sums, TrainingGraph, classes_of, probabilities_of

_EVALUATION_BATCH = 128
"""Images evaluated at a time: a forward pass of 128 takes less memory than a step with 32."""
_EVALUATION_BATCHES = 16
_EVALUATION_BLOCK = _EVALUATION_BATCHES * _EVALUATION_BATCH
"""Images in every call, so that one program evaluates every set of images."""

_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
)
"""What XLA raises for an operation that it does not have, or for a device that it does not have."""


class NotCompilableError(Exception):
    """XLA cannot compile the model; nothing has been trained yet."""


class XlaProgram(TrainingGraph):
    """A whole epoch is one program: a loop over its batches, with the images on the device.

    On a GPU, a step of a small model takes less time than starting it from Python does.
    """

    def __init__(self, optimizer: KerasOptimizer, canvas: int, *, pads: bool) -> None:
        """Compile nothing yet.

        Args:
            optimizer: that of the model.
            canvas: height and width of what the model sees, in pixels.
            pads: whether a smaller last batch is filled up with images that do not count. One
                program less is compiled then, but layers that look across a batch would see them.
        """
        super().__init__(optimizer)
        self._canvas, self._pads = canvas, pads
        self._model = without_scatter(optimizer.model)
        # Kept, since a variable that a custom layer makes lives only as long as they do.
        self._train_program = tf.function(self._train_epoch, jit_compile=True)
        self._evaluate_program = tf.function(self._evaluate_block, jit_compile=True)
        self._programs: dict[Any, Callable[..., Sums]] = {}

    def compile(self, placed_images: PlacedImages, trained: int, batch_size: int) -> None:
        """Compile training and evaluation, by calls in which no image counts.

        Raises:
            NotCompilableError: XLA lacks an operation of the model.
        """
        try:
            for indices, _ in in_batches(np.arange(trained), batch_size, pads=self._pads):
                self._train(placed_images, indices, 0, np.zeros(len(indices), np.float32))
            self._evaluate(placed_images, np.zeros(1, int), 0)
        except _REFUSALS as error:
            raise NotCompilableError(error.message.splitlines()[0]) from error

    def _training_calls(
        self, placed_images: PlacedImages, order: Order, batch_size: int
    ) -> Iterator[tuple[int, Callable[[Rates], Sums]]]:
        for indices, counted in in_batches(order, batch_size, pads=self._pads):
            yield len(indices), partial(self._train, placed_images, indices, counted)

    def _evaluated(self, placed_images: PlacedImages, order: Order) -> Iterator[Sums]:
        for start in range(0, len(order), _EVALUATION_BLOCK):
            part = order[start : start + _EVALUATION_BLOCK]
            yield self._evaluate(placed_images, part, len(part))

    def _train(
        self, placed_images: PlacedImages, indices: Order, counted: int, rates: Rates
    ) -> Sums:
        arguments = (tf.constant(indices, tf.int32), tf.constant(counted), tf.constant(rates))
        return self._call(self._train_program, *placed_images.on_device, *arguments)

    def _evaluate(self, placed_images: PlacedImages, indices: Order, counted: int) -> Sums:
        block = placed_images.part(np.resize(indices, _EVALUATION_BLOCK))
        return self._call(self._evaluate_program, *block.on_device, tf.constant(counted))

    def _call(self, function: Any, *arguments: tf.Tensor) -> Sums:
        # Kept by shape here, since TensorFlow warns where one function is traced often.
        key = function, *(tuple(argument.shape) for argument in arguments)
        if key not in self._programs:
            self._programs[key] = function.get_concrete_function(*arguments)
        return self._programs[key](*arguments)

    def _train_epoch(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        offsets: tf.Tensor,
        order: tf.Tensor,
        counted: tf.Tensor,
        rates: tf.Tensor,
    ) -> Sums:
        loss, correct = tf.constant(0.0), tf.constant(0)
        steps, size = order.shape
        if counted > 0:
            # Not `for batch in tf.range(steps)`: its condition has two parts, so that XLA does not
            # see how long the loop is, and a GPU would ask the host after each step.
            batch = tf.constant(0)
            while batch < steps:
                chosen = order[batch]
                placed = self._place(tf.gather(images, chosen), tf.gather(offsets, chosen))
                counts = _counts(batch, size, counted)
                batch_loss, batch_correct = self._train_batch(
                    placed, tf.gather(labels, chosen), counts, rates[batch]
                )
                loss += batch_loss
                correct += batch_correct
                batch += 1
        return loss, correct

    def _train_batch(
        self, images: tf.Tensor, labels: tf.Tensor, counts: tf.Tensor, rate: tf.Tensor
    ) -> Sums:
        size = tf.reduce_sum(tf.cast(counts, tf.float32))

        def forward() -> tuple[tf.Tensor, tf.Tensor]:
            probabilities = probabilities_of(self._model, images, training=True)
            return _cross_entropy(probabilities, labels, counts) / size, probabilities

        loss, probabilities = self._optimizer.minimize(forward, rate)
        correct = tf.equal(classes_of(probabilities), labels) & counts
        return loss * size, tf.reduce_sum(tf.cast(correct, tf.int32))

    def _evaluate_block(
        self, images: tf.Tensor, labels: tf.Tensor, offsets: tf.Tensor, counted: tf.Tensor
    ) -> Sums:
        loss = tf.constant(0.0)
        predictions = tf.TensorArray(tf.int32, size=_EVALUATION_BATCHES)
        batch = tf.constant(0)
        while batch < _EVALUATION_BATCHES:
            chosen = batch * _EVALUATION_BATCH + tf.range(_EVALUATION_BATCH)
            placed = self._place(tf.gather(images, chosen), tf.gather(offsets, chosen))
            probabilities = probabilities_of(self._model, placed, training=False)
            counts = _counts(batch, _EVALUATION_BATCH, counted)
            loss += _cross_entropy(probabilities, tf.gather(labels, chosen), counts)
            predictions = predictions.write(batch, classes_of(probabilities))
            batch += 1
        return loss, predictions.stack()

    def _place(self, images: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
        """Put each image at its offset on a black canvas, as `data.placement.place` does."""
        height, width, *channels = images.shape[1:]
        if height == width == self._canvas:
            return images
        rows = tf.range(self._canvas) - offsets[:, :1]
        columns = tf.range(self._canvas) - offsets[:, 1:]
        row_hits = (rows >= 0) & (rows < height)
        column_hits = (columns >= 0) & (columns < width)
        placed = tf.gather(images, tf.clip_by_value(rows, 0, height - 1), batch_dims=1)
        columns = tf.clip_by_value(columns, 0, width - 1)
        placed = tf.gather(placed, columns, axis=2, batch_dims=1)
        inside = row_hits[:, :, tf.newaxis] & column_hits[:, tf.newaxis, :]
        for _ in channels:
            inside = inside[..., tf.newaxis]
        return tf.where(inside, placed, tf.zeros_like(placed))


def _counts(batch: tf.Tensor, size: int, counted: tf.Tensor) -> tf.Tensor:
    """Which images of a batch are among the first `counted` of all, bool [size]."""
    return batch * size + tf.range(size) < counted


def _cross_entropy(probabilities: tf.Tensor, labels: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """The summed loss of the images that count.

    By one-hot labels: what picks the probability of the right class by its index has a gradient
    that scatters.
    """
    targets = tf.one_hot(labels, probabilities.shape[-1])
    losses = keras.losses.categorical_crossentropy(targets, probabilities)
    return tf.reduce_sum(tf.where(counts, losses, tf.zeros_like(losses)))
