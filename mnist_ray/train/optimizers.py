"""Optimizers that update variables without Keras' `apply`."""

from collections.abc import Callable, Sequence
from typing import Protocol

import keras
import tensorflow as tf


class Optimizer(Protocol):
    """Updates variables without Keras' `apply`.

    Inside a `tf.function`, Keras' `apply` calls the distribution strategy's `merge_call`, which
    keeps the weights and slots of every model of the process in memory.
    """

    slots: list[tf.Variable]

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Take one step along `gradients`, one for each variable."""


class FusedAdam:
    """Adam as Keras defines it (beta 0.9 and 0.999, epsilon 1e-7), one pass over each variable.

    With a weight decay it is Keras' AdamW, which takes two passes: each step first shrinks every
    variable, biases included, by the share decay * learning rate (decoupled weight decay,
    https://arxiv.org/abs/1711.05101). The gradient, and so the moments, do not depend on the decay.
    """

    def __init__(
        self, variables: Sequence[keras.Variable], weight_decay: float | None = None
    ) -> None:
        self._variables, self._weight_decay = variables, weight_decay
        self._first = [tf.Variable(tf.zeros_like(variable.value)) for variable in variables]
        self._second = [tf.Variable(tf.zeros_like(variable.value)) for variable in variables]
        self._steps = tf.Variable(0, dtype=tf.int64)
        self.slots = [self._steps, *self._first, *self._second]

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        steps = tf.cast(self._steps.assign_add(1), tf.float32)
        powers = {"beta1_power": tf.pow(0.9, steps), "beta2_power": tf.pow(0.999, steps)}
        moments = zip(self._variables, self._first, self._second, gradients, strict=True)
        for variable, first, second, gradient in moments:
            if self._weight_decay is not None:
                variable.value.assign_sub(variable.value * self._weight_decay * learning_rate)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=first.handle,
                v=second.handle,
                lr=learning_rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
                **powers,
            )
        _constrain(self._variables)


class KerasOptimizer:
    """One of Keras' own optimizers, applied to one variable after the other."""

    def __init__(self, name: str, variables: Sequence[keras.Variable]) -> None:
        self._variables = variables
        self._optimizer = keras.optimizers.get(name)
        self._optimizer.build(variables)
        self.slots = [variable.value for variable in self._optimizer.variables]

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        for gradient, variable in zip(gradients, self._variables, strict=True):
            self._optimizer.update_step(gradient, variable, learning_rate)
        self._optimizer.iterations.assign_add(1)
        _constrain(self._variables)


def _constrain(variables: Sequence[keras.Variable]) -> None:
    """Apply the constraints of custom layers, as Keras' `apply` does after a step."""
    for variable in variables:
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable))


def optimizer_for(name: str, model: keras.Model) -> Optimizer:
    """A new optimizer of `model`'s trainable variables, by Keras' name for it."""
    if name in ("adam", "adamw"):
        weight_decay = keras.optimizers.get(name).weight_decay
        return FusedAdam(model.trainable_variables, weight_decay)
    return KerasOptimizer(name, model.trainable_variables)


class LossScale:
    """Dynamic loss scaling for float16 gradients, by the rule of Keras' `LossScaleOptimizer`.

    The scale starts at 2**15 and doubles after 2,000 consecutive steps with finite gradients. If a
    gradient is not finite, the scale is halved and the weights stay as they are.
    """

    def __init__(self) -> None:
        self._scale = tf.Variable(2.0**15)
        self._finite_steps = tf.Variable(0, dtype=tf.int64)  # GPUs have no kernel for int32.
        self.slots = [self._scale, self._finite_steps]

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """`loss`, large enough that its gradients do not vanish in float16."""
        return loss * self._scale

    def step(
        self, gradients: Sequence[tf.Tensor], apply: Callable[[list[tf.Tensor]], None]
    ) -> None:
        """Given the gradients of the scaled loss: if finite, `apply` those of the loss itself."""
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in gradients])

        def take() -> tf.Tensor:
            apply([gradient / self._scale for gradient in gradients])
            steps = self._finite_steps.assign_add(1)
            double = tf.equal(steps, 2000)
            self._scale.assign(tf.where(double, self._scale * 2.0, self._scale))
            return self._finite_steps.assign(tf.where(double, tf.zeros_like(steps), steps))

        def skip() -> tf.Tensor:
            self._scale.assign(self._scale / 2.0)
            return self._finite_steps.assign(0)

        tf.cond(finite, take, skip)
