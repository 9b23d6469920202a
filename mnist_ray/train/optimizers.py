"""Keras' optimizers, as the compiled graphs use them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import keras
import tensorflow as tf

from mnist_ray.space.optimizers import OPTIMIZERS
from mnist_ray.space.training import Training

_BASE: Any = keras.optimizers.Optimizer.__bases__[-1]
"""Arguments of every one of Keras' optimizers, whichever class computes the step."""


class _OnOneDevice(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Keras' optimizers without their support for several devices.

    Inside a `tf.function`, that calls the distribution strategy's `merge_call`, which keeps the
    weights and slots of every model of the process in memory.
    """

    _apply_weight_decay = _BASE._apply_weight_decay
    _backend_update_step = _BASE._backend_update_step
    _backend_increment_gradient_accumulators = _BASE._backend_increment_gradient_accumulators
    _overwrite_model_variables_with_average_value = (
        _BASE._overwrite_model_variables_with_average_value
    )


class _Fused(_OnOneDevice):
    """Adam in one pass over each variable, where Keras takes a dozen operations."""

    def _backend_update_step(
        self, grads: Sequence[tf.Tensor], variables: Sequence[keras.Variable], rate: tf.Tensor
    ) -> None:
        steps = tf.cast(self.iterations.value + 1, tf.float32)
        powers = {
            "beta1_power": tf.pow(self.beta_1, steps),
            "beta2_power": tf.pow(self.beta_2, steps),
        }
        moments = zip(variables, self._momentums, self._velocities, grads, strict=True)
        for variable, first, second, gradient in moments:
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=first.value.handle,
                v=second.value.handle,
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
                **powers,
            )


_FUSED_ARGUMENTS = frozenset({"weight_decay", "beta_1", "beta_2", "epsilon"})
"""With any other arguments, Adam and AdamW are Keras' own."""


@cache
def _keras_class(name: str, base: type[_OnOneDevice]) -> Any:
    own = getattr(keras.optimizers, OPTIMIZERS[name].keras_name)
    return type(own.__name__, (own, base), {})


class KerasOptimizer:
    """One of Keras' optimizers, of the trainable variables of a model.

    Attributes:
        model: the Keras model that is trained.
        slots: all that it remembers from one step to the next.
    """

    def __init__(
        self, name: str, model: keras.Model, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """A new one.

        Args:
            name: of Keras' class, in lower-case letters.
            model: what is trained.
            arguments: of Keras' class; the others have Keras' own defaults.

        Raises:
            Exception: whatever Keras raises for values that it does not take.
        """
        given = dict(arguments or {})
        is_fused = name in ("adam", "adamw") and given.keys() <= _FUSED_ARGUMENTS
        keras_class = _keras_class(name, _Fused if is_fused else _OnOneDevice)
        self.model = model
        # Keras asks for the rate at each step: the one that the step was given.
        self._optimizer = keras_class(learning_rate=lambda: self._rate, **given)
        self._optimizer.build(model.trainable_variables)
        self.slots = [variable.value for variable in self._optimizer.variables]

    def minimize(
        self, forward: Callable[[], tuple[tf.Tensor, tf.Tensor]], rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one step against the gradient of the loss that `forward` gives.

        Args:
            forward: gives the loss, without what the layers add to it, and the probabilities.
            rate: the learning rate.

        Returns:
            The loss, with what the layers add to it, and the probabilities.
        """
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            loss, probabilities = forward()
            loss = tf.add_n([loss, *self.model.losses])
            scaled = self.scale(loss)
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        self.apply([tf.convert_to_tensor(gradient) for gradient in gradients], rate)
        return loss, probabilities

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss whose gradients `apply` takes."""
        return self._optimizer.scale_loss(loss)

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Take one step along `gradients`, one for each variable."""
        self._rate = learning_rate
        self._optimizer.apply(gradients)

    def finish(self) -> None:
        """Give the variables the values that they have after the last step of a training."""
        self._optimizer.finalize_variable_values(self.model.trainable_variables)


class LossScaleOptimizer(KerasOptimizer):
    """Dynamic loss scaling for float16 gradients, by the rule of Keras' `LossScaleOptimizer`.

    The scale starts at 2**15 and doubles after 2,000 consecutive steps with finite gradients. If a
    gradient is not finite, the scale is halved and the weights stay as they are.
    """

    def __init__(
        self, name: str, model: keras.Model, arguments: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(name, model, arguments)
        self._scale = tf.Variable(2.0**15)
        self._finite_steps = tf.Variable(0, dtype=tf.int64)  # GPUs have no kernel for int32.
        self.slots += [self._scale, self._finite_steps]

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """`loss`, large enough that its gradients do not vanish in float16."""
        return super().scale(loss) * self._scale

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(each)) for each in gradients])

        def take() -> tf.Tensor:
            unscaled = [gradient / self._scale for gradient in gradients]
            KerasOptimizer.apply(self, unscaled, learning_rate)
            steps = self._finite_steps.assign_add(1)
            double = tf.equal(steps, 2000)
            self._scale.assign(tf.where(double, self._scale * 2.0, self._scale))
            return self._finite_steps.assign(tf.where(double, tf.zeros_like(steps), steps))

        def skip() -> tf.Tensor:
            self._scale.assign(self._scale / 2.0)
            return self._finite_steps.assign(0)

        tf.cond(finite, take, skip)


def optimizer_of(model: keras.Model, training: Training) -> KerasOptimizer:
    """A new optimizer, as `training` asks for it."""
    is_scaled = training.precision == "mixed_float16"
    kind = LossScaleOptimizer if is_scaled else KerasOptimizer
    return kind(training.optimizer_name, model, training.optimizer_arguments)
