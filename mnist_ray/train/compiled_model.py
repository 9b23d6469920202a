"""A model and its optimizer as compiled graphs, kept from one trial to the next.

The figures are those of Keras' own `compile` and `fit` for the same weights and batches, up to
rounding. What differs is how the work reaches the processor:

- One call of a compiled graph takes many batches, as uint8 images.
- Adam updates each variable in one fused pass instead of a dozen operations (see `optimizers`).
- The next trial of the same architecture uses the same graph, with the weights and the random
  state of a fresh model (see `fresh_state`). Tracing a graph takes longer than a small trial.
"""

import gc
import json
import logging
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
from mnist_ray.space.training import Training
from mnist_ray.train import graph_state, keras_settings, models
from mnist_ray.train.device import uses_xla
from mnist_ray.train.fresh_state import FreshState, NotReproducibleError, SlotStart, first_values
from mnist_ray.train.gradient_step import GradientStep
from mnist_ray.train.learning_rates import learning_rates
from mnist_ray.train.memory import give_back_memory
from mnist_ray.train.placed_images import PlacedImages
from mnist_ray.train.plain_graph import PlainGraph
from mnist_ray.train.xla_program import NotCompilableError, XlaProgram

_LOG = logging.getLogger(__name__)

_KEPT_BYTES = 64 << 20
"""Bytes of variables that the kept models may have together, beside the newest."""


class CompiledModel:
    """A model and its optimizer, compiled for training and evaluation, that can start again.

    Attributes:
        model: the Keras model that is trained.
        xla_error: why XLA cannot compile the model, so that the plain graph trains it; None where
            it can, or is not asked to.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        classes: int,
        seed: int,
        dropout_seed: int,
        code: Code,
        xla_error: str | None = None,
    ) -> None:
        self.xla_error = xla_error
        self._cell, self._classes, self._code = cell, classes, code
        self.model = self._fresh(seed, dropout_seed)
        self._step = GradientStep(self.model, cell.training)
        self._slots = {slot.ref(): self._start_of(slot) for slot in self._step.slots}
        self._fresh_state: FreshState | None = None
        self._compiled_for: set[tuple[int, ...]] = set()
        self._plain_graph = PlainGraph(self._step, cell.canvas_shape, is_pure=not self._is_custom)
        self._program: PlainGraph | XlaProgram = self._plain_graph
        if uses_xla(cell.training.jit_compile) and xla_error is None:
            # A custom layer may look across the batch, as batch normalization does.
            self._program = XlaProgram(self._step, cell.canvas, pads=not self._is_custom)

    @property
    def state(self) -> list[tf.Variable]:
        """All that training changes: weights, random state and optimizer slots."""
        state = [variable.value for variable in self.model.variables]
        state += [slot.deref() for slot in self._slots]
        for graph in self._plain_graph.graphs if self._is_custom else ():
            state += graph_state.other_variables(graph, state)
        return state

    @cached_property
    def is_restorable(self) -> bool:
        """Whether a trial goes on with the same figures where `state` is brought back."""
        if not self._is_custom:
            return True
        state = self.state
        return not any(
            graph_state.has_hidden_state(graph, state) for graph in self._plain_graph.graphs
        )

    @property
    def size(self) -> int:
        """Bytes of its variables."""
        return sum(math.prod(variable.shape) * variable.dtype.size for variable in self.state)

    def restart(self, seed: int, dropout_seed: int) -> None:
        """Set weights, random state and optimizer to those of a new model made with these seeds.

        For built-in architectures only: a custom one may give another graph.
        """
        if self._fresh_state:
            self._fresh_state.restart(seed, dropout_seed)
        else:
            self._rebuild(seed, dropout_seed)
            # Keras models contain reference cycles: collect now, so that two never coexist.
            gc.collect()

    def _rebuild(self, seed: int, dropout_seed: int) -> None:
        """Restart by a second model, and learn from it how to do without one."""
        self._seed(seed)
        slots = [(slot.deref(), start) for slot, start in self._slots.items()]
        try:
            fresh_state = FreshState(self.model, slots, built=self._build(), seed=seed)
        except NotReproducibleError as reason:
            _LOG.info("Each trial of %s builds a model: %s", self._cell.builder, reason)
            fresh = self._fresh(seed, dropout_seed)
            for variable, new in zip(self.model.variables, fresh.variables, strict=True):
                variable.assign(new)
            for slot, start in slots:
                slot.assign(first_values(slot, start))
        else:
            fresh_state.restart(seed, dropout_seed)
            self._fresh_state = fresh_state

    def compile(self, placed_images: PlacedImages, trained: int) -> None:
        """Compile for epochs of `trained` images and for evaluation; nothing is trained yet.

        Where XLA cannot compile the model, the plain graph takes its place. A kept model is
        compiled already, unless the images or batches are of other sizes.
        """
        batch_size = self._cell.training.batch_size
        sizes = (*placed_images.images.shape, trained, batch_size)
        if sizes in self._compiled_for:
            return
        try:
            self._program.compile(placed_images, trained, batch_size)
        except NotCompilableError as error:
            self.xla_error = str(error)
            _LOG.warning("XLA cannot compile %s, so it is not used: %s", self._cell.builder, error)
            self._program = self._plain_graph
            self._program.compile(placed_images, trained, batch_size)
        self._compiled_for.add(sizes)

    def train(
        self,
        placed_images: PlacedImages,
        order: NDArray[np.integer[Any]],
        training: Training,
        *,
        epoch: int,
    ) -> tuple[float, float]:
        """Take one step for each batch of `order`; the mean loss and accuracy over the epoch.

        `epoch` counts from 0. After the last one the model has its final weights.
        """
        rates = learning_rates(training, len(order), epoch)
        loss, correct = self._program.train(placed_images, order, training.batch_size, rates=rates)
        if epoch + 1 == training.epochs:
            self._step.finish()
        return loss / len(order), correct / len(order)

    def evaluate(
        self, placed_images: PlacedImages, order: NDArray[np.integer[Any]]
    ) -> tuple[float, Classes]:
        """The mean loss on the images in `order`, and the predicted class of each."""
        loss, predictions = self._program.evaluate(placed_images, order)
        return loss / len(order), predictions

    def _start_of(self, slot: tf.Variable) -> SlotStart:
        """What fills a slot of the optimizer in the beginning, or the variable that it copies."""
        values = slot.numpy()
        if (values == values.flat[0]).all():
            return values.flat[0]
        same = (v for v in self.model.trainable_variables if np.array_equal(v.numpy(), values))
        return next(same)

    @property
    def _is_custom(self) -> bool:
        return self._cell.builder not in models.BUILT_IN

    def _fresh(self, seed: int, dropout_seed: int) -> keras.Model:
        """A new model made with `seed`; its seed generators as made with `dropout_seed`.

        Keras' seed generators are what dropout draws from.
        """
        states: list[NDArray[Any]] = []
        if dropout_seed != seed:
            self._seed(dropout_seed)
            states = [variable.numpy() for variable in _seed_generators(self._build())]
        self._seed(seed)
        model = self._build()
        if states:
            for variable, state in zip(_seed_generators(model), states, strict=True):
                variable.assign(state)
        return model

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

    def _build(self) -> keras.Model:
        with _dtype_policy(self._cell.training.precision):
            return models.build(
                self._cell.builder,
                self._cell.hyperparameters,
                input_shape=self._cell.input_shape,
                classes=self._classes,
                modules=self._code.get(self._cell.builder),
            )


def _seed_generators(model: keras.Model) -> list[Any]:
    """The states of its seed generators."""
    return [each for each in model.variables if each.path.endswith("seed_generator_state")]


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
        self._xla_errors: dict[str, str] = {}

    def start(
        self,
        cell: Cell,
        placed_images: PlacedImages,
        *,
        trained: int,
        classes: int,
        seed: int,
        dropout_seed: int,
        code: Code,
    ) -> CompiledModel:
        """A compiled model of `cell` with new weights.

        Args:
            cell: what is trained.
            placed_images: what it is trained on.
            trained: how many of them an epoch takes; the others are for validation.
            classes: of the data set.
            seed: of the weights, and of all else that a model draws but dropout.
            dropout_seed: of dropout.
            code: the modules of custom architectures.
        """
        keras_settings.reset()
        name = self._name(cell, classes)
        compiled_model = self._kept.pop(name, None)
        if compiled_model:
            compiled_model.restart(seed, dropout_seed)
        else:
            self._make_room()
            error = self._xla_errors.get(name)
            seeds = {"seed": seed, "dropout_seed": dropout_seed}
            compiled_model = CompiledModel(
                cell, classes=classes, code=code, xla_error=error, **seeds
            )
        compiled_model.compile(placed_images, trained)
        if compiled_model.xla_error:
            self._xla_errors[name] = compiled_model.xla_error
        if cell.builder in models.BUILT_IN:  # A custom one may give another graph each time.
            self._kept[name] = compiled_model
        return compiled_model

    @staticmethod
    def _name(cell: Cell, classes: int) -> str:
        optimizer = [cell.training.optimizer_name, cell.training.optimizer_arguments]
        training = [optimizer, cell.training.precision, cell.training.jit_compile]
        graph = [cell.builder, cell.hyperparameters, cell.input_shape, classes, training]
        return json.dumps(graph, sort_keys=True)

    def _make_room(self) -> None:
        while sum(compiled_model.size for compiled_model in self._kept.values()) > _KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        # Keras models contain reference cycles: collect now, so that the last one is gone.
        gc.collect()
        give_back_memory()
