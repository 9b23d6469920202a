"""A trained model is set back to what a newly built one would be, without building one.

Building a Keras model takes longer than training a small one. It changes little state: each layer
draws a seed from Python's generator, and makes its first weights from it.
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class NotReproducibleError(Exception):
    """The state of a new model does not follow from its layers' initializers alone."""


class FreshState:
    """Sets a model, and the slots of its optimizer, to the state of new ones.

    One call of a graph does all of it. That gives the same bits as building, which is tried when
    the model is set back for the first time.
    """

    def __init__(
        self, model: keras.Model, slots: Sequence[tf.Variable], *, seed: int, dropout_seed: int
    ) -> None:
        """Remember how each variable begins.

        Args:
            model: has just been built, with these seeds as `restart` takes them.
            slots: the variables of its optimizer, which has taken no step yet.
        """
        self._model, self._first = model, (seed, dropout_seed)
        self._slots = [(slot, _start_of(slot, model)) for slot in slots]
        self._checksums = [zlib.crc32(variable.numpy()) for variable in model.variables]

    def restart(self, seed: int, dropout_seed: int) -> None:
        """Set all to the state of a model that is built with `seed`.

        The seed generators, from which dropout draws, are those of one built with `dropout_seed`.

        Raises:
            NotReproducibleError: the state depends on more than the layers' initializers.
        """
        self._graph(self._drawn(seed), self._drawn(dropout_seed))

    @cached_property
    def _graph(self) -> Any:
        seeds = tf.TensorSpec((len(self._model.variables),), tf.int64)
        restart = tf.function(self._restart, input_signature=[seeds, seeds])
        graph = restart.get_concrete_function()
        graph(*map(self._drawn, self._first))
        for variable, checksum in zip(self._model.variables, self._checksums, strict=True):
            if zlib.crc32(variable.numpy()) != checksum:
                raise NotReproducibleError(f"{variable.path} begins otherwise")
        return graph

    def _drawn(self, seed: int) -> tf.Tensor:
        """Seeds as Keras draws them for whatever is not given one; enough for all variables."""
        generator = random.Random(seed)  # noqa: S311
        return tf.constant(
            [generator.randint(1, int(1e9)) for _ in self._model.variables], tf.int64
        )

    def _restart(self, of_weights: tf.Tensor, of_generators: tf.Tensor) -> None:
        draws = iter(zip(tf.unstack(of_weights), tf.unstack(of_generators), strict=True))
        for variable in self._model.variables:
            variable.assign(_first_values(variable, self._model, draws))
        for slot, start in self._slots:
            is_copy = isinstance(start, keras.Variable)
            slot.assign(start.value if is_copy else tf.fill(slot.shape, start))


def _start_of(slot: tf.Variable, model: keras.Model) -> Any:
    """The number that initially fills an optimizer's slot, or the weight that it copies."""
    values = slot.numpy()
    if (values == values.flat[0]).all():
        return values.flat[0]
    return next(v for v in model.trainable_variables if np.array_equal(v.numpy(), values))


def _first_values(
    variable: keras.Variable, model: keras.Model, draws: Iterator[tuple[tf.Tensor, tf.Tensor]]
) -> tf.Tensor:
    """What a variable begins with; what is made of a seed takes the next one of `draws`."""
    for layer in model.layers:
        generator = getattr(layer, "seed_generator", None)
        if generator is not None and generator.state is variable:
            _, of_generators = next(draws)
            return _GivenSeed(of_generators).next()
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        if initializer is not None and any(variable is own for own in layer.weights):
            settings = initializer.get_config()
            if "seed" in settings:
                of_weights, _ = next(draws)
                given = {**settings, "seed": _GivenSeed(of_weights)}
                initializer = type(initializer).from_config(given)
            return initializer(tuple(variable.shape), dtype=variable.dtype)
    raise NotReproducibleError(f"no layer says how {variable.path} begins")


class _GivenSeed(keras.random.SeedGenerator):  # type: ignore[misc]
    """What an initializer takes for a generator; it gives one seed, which is a tensor."""

    def __init__(self, seed: tf.Tensor) -> None:
        # Not the parent's, which would make a variable.
        self._seed = seed

    def next(self, ordered: bool = True) -> tf.Tensor:
        return tf.stack([self._seed, tf.zeros_like(self._seed)])
