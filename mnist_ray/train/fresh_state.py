"""A trained model is set back to what a newly built one would be, without building one.

Building a Keras model takes longer than training a small one. What it leaves behind is little: each
layer draws a seed from Python's generator, and makes its first weights of it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

SlotStart = Any
"""How a variable of an optimizer begins: filled with one number, or as a copy of a weight."""


class NotReproducibleError(Exception):
    """What building a model leaves behind does not follow from its layers' initializers alone."""


@dataclass(frozen=True)
class _Start:
    """How one variable of a model begins. It does not keep that variable alive."""

    path: str
    values: Callable[[tf.Tensor], tf.Tensor]
    """Its first values, of the seed."""
    seed: int | None = None
    """What it is made of; None where it always begins alike."""
    is_of_generator: bool = False
    """Whether it is the state of a generator, such as that of dropout."""


class FreshState:
    """Sets a model, and the slots of its optimizer, to the state of new ones.

    One call of a graph does all of it. That gives the same bits as building, which is tried when
    the object is made.
    """

    def __init__(
        self,
        model: keras.Model,
        slots: Sequence[tuple[tf.Variable, SlotStart]],
        *,
        built: keras.Model,
        seed: int,
    ) -> None:
        """Find out how `built` came about, and set `model` to the same state.

        Args:
            model: what is set back.
            slots: the variables of the optimizer, and how each begins.
            built: a model of the same architecture that has just been built.
            seed: of Python's generator, which building alone has used since.

        Raises:
            NotReproducibleError: there is more to it than the layers' initializers.
        """
        starts = [_start(variable, built) for variable in built.variables]
        self._draws = sum(start.seed is not None for start in starts)
        expected = random.Random(seed)  # noqa: S311
        drawn = [_draw(expected) for _ in range(self._draws)]
        if expected.getstate() != random.getstate():
            raise NotReproducibleError(f"other than {self._draws} seeds were drawn")
        self._starts = [
            (variable, start, _place(start, drawn))
            for variable, start in zip(model.variables, starts, strict=True)
        ]
        self._slots = slots
        seeds = tf.TensorSpec((self._draws,), tf.int64)
        restart = tf.function(self._restart, input_signature=[seeds, seeds])
        self._graph = restart.get_concrete_function()
        self.restart(seed, seed)
        for variable, new in zip(model.variables, built.variables, strict=True):
            if variable.numpy().tobytes() != new.numpy().tobytes():
                raise NotReproducibleError(f"{variable.path} begins otherwise")

    def restart(self, seed: int, dropout_seed: int) -> None:
        """Set all to the state of a model that is built with `seed`.

        The seed generators, from which dropout draws, are those of one built with `dropout_seed`.
        """
        self._graph(self._seeds(seed), self._seeds(dropout_seed))

    def _seeds(self, seed: int) -> tf.Tensor:
        generator = random.Random(seed)  # noqa: S311
        return tf.constant([_draw(generator) for _ in range(self._draws)], tf.int64, (self._draws,))

    def _restart(self, of_weights: tf.Tensor, of_generators: tf.Tensor) -> None:
        for variable, start, place in self._starts:
            seeds = of_generators if start.is_of_generator else of_weights
            variable.assign(start.values(seeds[place]))
        for slot, start_of_slot in self._slots:
            slot.assign(first_values(slot, start_of_slot))


def first_values(slot: tf.Variable, start: SlotStart) -> tf.Tensor:
    """What `slot` begins with; the weights have their first values already."""
    if isinstance(start, keras.Variable):
        return tf.identity(start.value)
    return tf.fill(slot.shape, tf.constant(start, slot.dtype))


class _GivenSeed(keras.random.SeedGenerator):  # type: ignore[misc]
    """What an initializer takes for a generator; it gives one seed, which is a tensor."""

    def __init__(self, seed: tf.Tensor) -> None:
        # Not the parent's, which would make a variable.
        self._seed = seed

    def next(self, ordered: bool = True) -> tf.Tensor:
        return tf.stack([self._seed, tf.zeros_like(self._seed)])


def _draw(generator: random.Random) -> int:
    """A seed, as Keras draws it for whatever is not given one."""
    return generator.randint(1, int(1e9))


def _place(start: _Start, drawn: Sequence[int]) -> int:
    """Which of the drawn seeds a variable is made of; any, where it is made of none."""
    if start.seed is None:
        return 0
    if drawn.count(start.seed) != 1:
        raise NotReproducibleError(f"the seed of {start.path} was not drawn")
    return drawn.index(start.seed)


def _start(variable: keras.Variable, model: keras.Model) -> _Start:
    for layer in model.layers:
        generator = getattr(layer, "seed_generator", None)
        if generator is not None and generator.state is variable:
            seed = int(variable.numpy()[0])
            return _Start(variable.path, lambda given: _GivenSeed(given).next(), seed, True)
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        if initializer is not None and any(variable is own for own in layer.weights):
            return _initialized(variable, initializer)
    raise NotReproducibleError(f"no layer says how {variable.path} begins")


def _initialized(variable: keras.Variable, initializer: Any) -> _Start:
    shape, dtype = tuple(variable.shape), variable.dtype
    settings = initializer.get_config()
    if "seed" not in settings:
        return _Start(variable.path, lambda _: initializer(shape, dtype=dtype))

    def values(given: tf.Tensor) -> tf.Tensor:
        with_seed = type(initializer).from_config({**settings, "seed": _GivenSeed(given)})
        return with_seed(shape, dtype=dtype)

    return _Start(variable.path, values, initializer.seed)
