"""A model and its optimizer as compiled graphs, kept from one trial to the next.

The figures are those of Keras' own `compile` and `fit` for the same weights and batches, up to
rounding. What differs is how the work reaches the processor:

- One call of a compiled graph takes many batches, as uint8 images.
- Adam updates each variable in one fused pass instead of a dozen operations (see `optimizers`).
- The next trial of the same architecture uses the same graph: the weights and the random state of
  a fresh model are copied into it. Tracing a graph takes longer than a small trial.
"""

import gc
import json
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mnist_ray.ledger.record import Classes
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Cell
from mnist_ray.train import graph_state, keras_settings, models
from mnist_ray.train.memory import give_back_memory
from mnist_ray.train.optimizers import LossScale, optimizer_for
from mnist_ray.train.placed_images import PlacedImages

_EVALUATION_BATCH = 32
"""Images evaluated at a time. Measured on one core: for the shifted CNN, 32 are as fast as 250 and
1.6 times as fast as 8; for the feed-forward network it makes no difference."""

_KEPT_BYTES = 64 << 20
"""Bytes of variables that the kept models may have together, beside the newest."""


class CompiledModel:
    """A model and its optimizer, compiled for training and evaluation, that can start again.

    Attributes:
        model: the Keras model that is trained.
    """

    def __init__(self, cell: Cell, *, classes: int, seed: int, code: Code) -> None:
        self._cell, self._classes, self._code = cell, classes, code
        self._seed(seed)
        self.model = self._build()
        self._optimizer = optimizer_for(cell.training.optimizer, self.model)
        self._loss_scale = LossScale() if cell.training.precision == "mixed_float16" else None
        slots = [*self._optimizer.slots, *(self._loss_scale.slots if self._loss_scale else [])]
        # Every optimizer fills a slot with one value at the start.
        self._slots = {slot.ref(): slot.numpy().flat[0] for slot in slots}
        self._step, self._forward = self._train_batch, self._evaluate_batch
        if tf.config.get_visible_devices("GPU"):
            # XLA on a GPU only: on CPUs it makes convolutions twice as slow.
            self._step = tf.function(self._train_batch, jit_compile=True)
            self._forward = tf.function(self._evaluate_batch, jit_compile=True)
        images = tf.TensorSpec((None, None, cell.canvas, cell.canvas), tf.uint8)
        labels = tf.TensorSpec((None, None), tf.int32)
        rate = tf.TensorSpec((), tf.float32)
        self._train_graph = tf.function(self._train_batches, input_signature=[images, labels, rate])
        self._evaluate_graph = tf.function(self._evaluate_batches, input_signature=[images, labels])
        self._compile()

    @property
    def state(self) -> list[tf.Variable]:
        """All that training changes: weights, random state and optimizer slots."""
        state = [variable.value for variable in self.model.variables]
        state += [slot.deref() for slot in self._slots]
        for graph in self._graphs if self._is_custom else ():
            state += graph_state.other_variables(graph, state)
        return state

    @cached_property
    def is_restorable(self) -> bool:
        """Whether a trial goes on with the same figures where `state` is brought back."""
        if not self._is_custom:
            return True
        state = self.state
        return not any(graph_state.has_hidden_state(graph, state) for graph in self._graphs)

    @property
    def size(self) -> int:
        """Bytes of its variables."""
        return sum(math.prod(variable.shape) * variable.dtype.size for variable in self.state)

    def restart(self, seed: int) -> None:
        """Set weights, random state and optimizer to those of a new model made with `seed`.

        For built-in architectures only: a custom one may give another graph.
        """
        self._seed(seed)
        fresh = self._build()
        for variable, new in zip(self.model.variables, fresh.variables, strict=True):
            variable.assign(new)
        del fresh, new
        # Keras models contain reference cycles: collect now, so that two never coexist.
        gc.collect()
        for slot, start in self._slots.items():
            slot.deref().assign(tf.fill(slot.deref().shape, start))
        self._compile()

    def train(
        self, placed_images: PlacedImages, order: NDArray[np.integer[Any]], cell: Cell
    ) -> tuple[float, float]:
        """Take one step for each batch of `order`; the mean loss and accuracy over the epoch."""
        rate = cell.training.learning_rate
        loss, correct = 0.0, 0
        for images, labels in placed_images.chunks(order, cell.training.batch_size):
            chunk_loss, chunk_correct = self._train_graph(images, labels, rate)
            loss += float(chunk_loss)
            correct += int(chunk_correct)
        return loss / len(order), correct / len(order)

    def evaluate(
        self, placed_images: PlacedImages, order: NDArray[np.integer[Any]]
    ) -> tuple[float, Classes]:
        """The mean loss on the images in `order`, and the predicted class of each."""
        loss, predictions = 0.0, []
        for images, labels in placed_images.chunks(order, _EVALUATION_BATCH):
            chunk_loss, classes = self._evaluate_graph(images, labels)
            loss += float(chunk_loss)
            predictions.append(classes.numpy())
        return loss / len(order), np.concatenate(predictions)

    @property
    def _is_custom(self) -> bool:
        return self._cell.builder not in models.BUILT_IN

    @property
    def _graphs(self) -> list[Any]:
        graphs = self._train_graph, self._evaluate_graph
        return [graph.get_concrete_function() for graph in graphs]

    def _seed(self, seed: int) -> None:
        """Seed all that draws random numbers while the model is built.

        For a built-in architecture that is Keras, which takes its seeds from Python's generator.
        `keras.utils.set_random_seed` also seeds TensorFlow, which then discards what it has
        compiled: half of a short trial.
        """
        if self._is_custom:
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(seed)
        else:
            random.seed(seed)

    def _compile(self) -> None:
        """Trace and compile both graphs, by calls without a batch, which change nothing."""
        images = np.empty((0, 1, self._cell.canvas, self._cell.canvas), np.uint8)
        labels = np.empty((0, 1), np.int32)
        self._train_graph(images, labels, 0.0)
        self._evaluate_graph(images, labels)

    def _build(self) -> keras.Model:
        with _dtype_policy(self._cell.training.precision):
            return models.build(
                self._cell.builder,
                self._cell.hyperparameters,
                input_shape=(self._cell.canvas, self._cell.canvas, 1),
                classes=self._classes,
                modules=self._code.get(self._cell.builder),
            )

    def _probabilities(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        scaled = tf.cast(images, tf.float32)[..., tf.newaxis] / 255.0
        return tf.cast(self.model(scaled, training=training), tf.float32)

    def _train_batch(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            probabilities = self._probabilities(images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.add_n([tf.reduce_mean(losses), *self.model.losses])
            scaled = self._loss_scale.scale(loss) if self._loss_scale else loss
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if self._loss_scale:
            self._loss_scale.step(gradients, lambda true: self._optimizer.apply(true, rate))
        else:
            self._optimizer.apply(gradients, rate)
        return loss * tf.cast(tf.size(labels), tf.float32), _correct(probabilities, labels)

    def _train_batches(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = tf.constant(0.0), tf.constant(0)
        for batch in tf.range(tf.shape(images)[0]):
            batch_loss, batch_correct = self._step(images[batch], labels[batch], rate)
            loss += batch_loss
            correct += batch_correct
        return loss, correct

    def _evaluate_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities = self._probabilities(images, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        return tf.reduce_sum(losses), tf.argmax(probabilities, axis=-1, output_type=tf.int32)

    def _evaluate_batches(
        self, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss = tf.constant(0.0)
        predictions = tf.TensorArray(tf.int32, size=tf.shape(images)[0])
        for batch in tf.range(tf.shape(images)[0]):
            batch_loss, classes = self._forward(images[batch], labels[batch])
            loss += batch_loss
            predictions = predictions.write(batch, classes)
        return loss, predictions.concat()


def _correct(probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    predictions = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(predictions, labels), tf.int32))


@contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class CompiledModelCache:
    """The compiled models of this process, kept for later trials."""

    def __init__(self) -> None:
        self._kept: dict[str, CompiledModel] = {}

    def start(self, cell: Cell, *, classes: int, seed: int, code: Code) -> CompiledModel:
        """A compiled model of `cell` with new weights, drawn with `seed`."""
        keras_settings.reset()
        name = self._name(cell, classes)
        compiled_model = self._kept.pop(name, None)
        if compiled_model:
            compiled_model.restart(seed)
        else:
            self._make_room()
            compiled_model = CompiledModel(cell, classes=classes, seed=seed, code=code)
        if cell.builder in models.BUILT_IN:  # A custom one may give another graph each time.
            self._kept[name] = compiled_model
        return compiled_model

    @staticmethod
    def _name(cell: Cell, classes: int) -> str:
        training = [cell.training.optimizer, cell.training.precision]
        graph = [cell.builder, cell.hyperparameters, cell.canvas, classes, training]
        return json.dumps(graph, sort_keys=True)

    def _make_room(self) -> None:
        while sum(compiled_model.size for compiled_model in self._kept.values()) > _KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        # Keras models contain reference cycles: collect now, so that the last one is gone.
        gc.collect()
        give_back_memory()
