"""Optimizers, as the compiled graphs use them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Protocol

import keras
import tensorflow as tf

from mnist_ray.space.optimizers import OPTIMIZERS


class Optimizer(Protocol):
    """Updates variables without Keras' handling of several devices.

    Inside a `tf.function`, that calls the distribution strategy's `merge_call`, which keeps the
    weights and slots of every model of the process in memory.
    """

    slots: list[tf.Variable]

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss whose gradients `apply` takes."""

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Take one step along `gradients`, one for each variable."""

    def finish(self) -> None:
        """Give the variables the values that they have after the last step of a training."""


class FusedAdam:
    """Adam as Keras defines it, in one pass over each variable.

    With a weight decay it is Keras' AdamW, which takes two passes: each step first shrinks every
    variable, biases included, by the share decay * learning rate (decoupled weight decay,
    https://arxiv.org/abs/1711.05101). The gradient, and so the moments, do not depend on the decay.
    """

    arguments: ClassVar = frozenset({"weight_decay", "beta_1", "beta_2", "epsilon"})
    """Those that it takes of the many of Keras' own."""

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        weight_decay: float | None = None,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        self._variables, self._weight_decay = variables, weight_decay
        self._beta_1, self._beta_2, self._epsilon = beta_1, beta_2, epsilon
        self._first = [tf.Variable(tf.zeros_like(variable.value)) for variable in variables]
        self._second = [tf.Variable(tf.zeros_like(variable.value)) for variable in variables]
        self._steps = tf.Variable(0, dtype=tf.int64)
        self.slots = [self._steps, *self._first, *self._second]

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        return loss

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        steps = tf.cast(self._steps.assign_add(1), tf.float32)
        powers = {
            "beta1_power": tf.pow(self._beta_1, steps),
            "beta2_power": tf.pow(self._beta_2, steps),
        }
        moments = zip(self._variables, self._first, self._second, gradients, strict=True)
        for variable, first, second, gradient in moments:
            if self._weight_decay is not None:
                variable.value.assign_sub(variable.value * self._weight_decay * learning_rate)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=first.handle,
                v=second.handle,
                lr=learning_rate,
                beta1=self._beta_1,
                beta2=self._beta_2,
                epsilon=self._epsilon,
                grad=gradient,
                **powers,
            )
        for variable in self._variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    def finish(self) -> None:
        pass


_BASE: Any = keras.optimizers.Optimizer.__bases__[-1]
"""Of all of Keras' optimizers, whatever computes."""


class _OnOneDevice(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Keras' optimizers without what is there for several devices."""

    _apply_weight_decay = _BASE._apply_weight_decay
    _backend_update_step = _BASE._backend_update_step
    _backend_increment_gradient_accumulators = _BASE._backend_increment_gradient_accumulators
    _overwrite_model_variables_with_average_value = (
        _BASE._overwrite_model_variables_with_average_value
    )


class KerasOptimizer:
    """One of Keras' own optimizers."""

    def __init__(
        self,
        name: str,
        variables: Sequence[keras.Variable],
        arguments: Mapping[str, Any],
    ) -> None:
        self._variables = list(variables)
        # Keras asks for the rate at each step: the one that the step was given.
        self._optimizer = _keras_class(name)(learning_rate=lambda: self._rate, **arguments)
        self._optimizer.build(self._variables)
        self.slots = [variable.value for variable in self._optimizer.variables]

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        return self._optimizer.scale_loss(loss)

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        self._rate = learning_rate
        self._optimizer.apply(gradients)

    def finish(self) -> None:
        self._optimizer.finalize_variable_values(self._variables)


@cache
def _keras_class(name: str) -> Any:
    own = getattr(keras.optimizers, OPTIMIZERS[name].keras_name)
    return type(own.__name__, (own, _OnOneDevice), {})


def optimizer_for(
    name: str, model: keras.Model, arguments: Mapping[str, Any] | None = None
) -> Optimizer:
    """A new optimizer of `model`'s trainable variables.

    Args:
        name: of Keras' class, in lower-case letters.
        model: what is trained.
        arguments: of Keras' class; the others have Keras' own defaults.

    Raises:
        Exception: whatever Keras raises for values that it does not take.
    """
    given = dict(arguments or {})
    if name in ("adam", "adamw") and given.keys() <= FusedAdam.arguments:
        decay = {"weight_decay": keras.optimizers.get(name).weight_decay}
        return FusedAdam(model.trainable_variables, **(decay | given))
    return KerasOptimizer(name, model.trainable_variables, given)


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
