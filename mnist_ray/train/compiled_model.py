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
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from mnist_ray.plan.seeds import TrialSeeds
from mnist_ray.plan.trial import Trial
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Cell
from mnist_ray.space.training import Training
from mnist_ray.train import device, graph_state, models
from mnist_ray.train.fresh_state import FreshState, NotReproducibleError
from mnist_ray.train.learning_rates import learning_rates
from mnist_ray.train.memory import give_back_memory
from mnist_ray.train.optimizers import optimizer_of
from mnist_ray.train.placed_images import Order, PlacedImages
from mnist_ray.train.plain_graph import PlainGraph
from mnist_ray.train.training_graph import TrainingGraph
from mnist_ray.train.xla_program import NotCompilableError, XlaProgram

_LOG = logging.getLogger(__name__)

_KEPT_BYTES = 64 << 20
"""Bytes of variables that the kept models may have together, beside the newest."""


class CompiledModel:
    """A model and its optimizer, compiled for training and evaluation, that can start again.

    Attributes:
        model: the Keras model that is trained.
        graph: what trains and evaluates it.
        fresh_state: sets it back to the state of a new one; None for a custom architecture, which
            may give another graph each time.
        xla_error: why XLA cannot compile the model, so that the plain graph trains it; None where
            it can, or is not asked to.
    """

    def __init__(
        self,
        cell: Cell,
        seeds: TrialSeeds,
        *,
        classes: int,
        code: Code,
        xla_error: str | None = None,
    ) -> None:
        self.xla_error = xla_error
        self._cell, self._classes, self._code = cell, classes, code
        self._is_built_in = cell.builder in models.BUILT_IN
        self.model = self._fresh(seeds)
        self._optimizer = optimizer_of(self.model, cell.training)
        self._compiled_for: set[tuple[int, ...]] = set()
        self._plain_graph = PlainGraph(
            self._optimizer, cell.canvas_shape, is_pure=self._is_built_in
        )
        self.graph: TrainingGraph = self._plain_graph
        if device.uses_xla(cell.training.jit_compile) and xla_error is None:
            # A custom layer may look across the batch, as batch normalization does.
            self.graph = XlaProgram(self._optimizer, cell.canvas, pads=self._is_built_in)
        self.fresh_state: FreshState | None = None
        if self._is_built_in:
            self.fresh_state = FreshState(
                self.model, self._optimizer.slots, seed=seeds.weights, dropout_seed=seeds.dropout
            )

    @property
    def state(self) -> list[tf.Variable]:
        """All that training changes: weights, random state and optimizer slots."""
        state = [variable.value for variable in self.model.variables]
        state += self._optimizer.slots
        for graph in self._custom_graphs:
            state += graph_state.other_variables(graph, state)
        return state

    @cached_property
    def is_restorable(self) -> bool:
        """Whether a trial goes on with the same figures where `state` is brought back."""
        state = self.state
        return not any(graph_state.has_hidden_state(graph, state) for graph in self._custom_graphs)

    @property
    def _custom_graphs(self) -> list[Any]:
        """Those that may have state of their own."""
        return [] if self._is_built_in else self._plain_graph.graphs

    @property
    def size(self) -> int:
        """Bytes of its variables."""
        return sum(math.prod(variable.shape) * variable.dtype.size for variable in self.state)

    def compile(self, placed_images: PlacedImages, trained: int, batch_size: int) -> None:
        """Compile for epochs of `trained` images and for evaluation; nothing is trained yet.

        Where XLA cannot compile the model, the plain graph takes its place. A kept model is
        compiled already, unless the images or batches are of other sizes.
        """
        sizes = (*placed_images.images.shape, trained, batch_size)
        if sizes in self._compiled_for:
            return
        try:
            self.graph.compile(placed_images, trained, batch_size)
        except NotCompilableError as error:
            self.xla_error = str(error)
            _LOG.warning("XLA cannot compile %s, so it is not used: %s", self._cell.builder, error)
            self.graph = self._plain_graph
            self.graph.compile(placed_images, trained, batch_size)
        self._compiled_for.add(sizes)

    def train(
        self, placed_images: PlacedImages, order: Order, training: Training, *, epoch: int
    ) -> tuple[float, float]:
        """Take one step for each batch of `order`; the mean loss and accuracy over the epoch.

        `epoch` counts from 0. After the last one the model has its final weights.
        """
        rates = learning_rates(training, len(order), epoch)
        figures = self.graph.train(placed_images, order, training.batch_size, rates=rates)
        if epoch + 1 == training.epochs:
            self._optimizer.finish()
        return figures

    def _fresh(self, seeds: TrialSeeds) -> keras.Model:
        """A new model. Its seed generators, which dropout draws from, are as `seeds` has them."""
        if seeds.dropout == seeds.weights:
            return self._build(seeds.weights)
        states = [variable.numpy() for variable in _seed_generators(self._build(seeds.dropout))]
        model = self._build(seeds.weights)
        for variable, state in zip(_seed_generators(model), states, strict=True):
            variable.assign(state)
        return model

    def _build(self, seed: int) -> keras.Model:
        """A new model, with all seeded that draws random numbers while it is built.

        For a built-in architecture that is Keras, which takes its seeds from Python's generator.
        `keras.utils.set_random_seed` also seeds TensorFlow, which then discards what it has
        compiled: half of a short trial.
        """
        if self._is_built_in:
            random.seed(seed)
        else:
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(seed)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self._cell.training.precision)
        try:
            return models.build(self._cell, classes=self._classes, code=self._code)
        finally:
            keras.config.set_dtype_policy(before)


def _seed_generators(model: keras.Model) -> list[Any]:
    """The states of its seed generators."""
    return [each for each in model.variables if each.path.endswith("seed_generator_state")]


class CompiledModelCache:
    """The compiled models of this process, kept for later trials."""

    def __init__(self) -> None:
        self._kept: dict[str, CompiledModel] = {}
        self._xla_errors: dict[str, str] = {}

    def start(
        self, trial: Trial, placed_images: PlacedImages, *, classes: int, code: Code
    ) -> CompiledModel:
        """A compiled model of the trial's cell with new weights.

        Args:
            trial: what is run.
            placed_images: what it is trained on, those for validation included.
            classes: of the data set.
            code: the modules of custom architectures.
        """
        device.restore_settings()
        cell, training = trial.cell, trial.cell.training
        name = self._name(cell, classes)
        compiled_model = self._restarted(name, trial)
        if compiled_model is None:
            self._make_room()
            compiled_model = CompiledModel(
                cell,
                trial.seeds,
                classes=classes,
                code=code,
                xla_error=self._xla_errors.get(name),
            )
        trained = training.trained(len(placed_images.images))
        compiled_model.compile(placed_images, trained, training.batch_size)
        if compiled_model.xla_error:
            self._xla_errors[name] = compiled_model.xla_error
        if compiled_model.fresh_state:
            self._kept[name] = compiled_model
        return compiled_model

    def _restarted(self, name: str, trial: Trial) -> CompiledModel | None:
        """The kept model of that name, if there is one, as a new one would be."""
        kept = self._kept.pop(name, None)
        if kept is None or kept.fresh_state is None:
            return None
        try:
            kept.fresh_state.restart(trial.seeds.weights, trial.seeds.dropout)
        except NotReproducibleError as reason:
            _LOG.info("Each trial of %s builds a model: %s", trial.cell.builder, reason)
            return None
        return kept

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
