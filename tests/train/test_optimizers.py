import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnist_ray.space.optimizers import OPTIMIZERS, SCHEDULES
from mnist_ray.train.optimizers import KerasOptimizer, LossScaleOptimizer

pytestmark = pytest.mark.usefixtures("tensorflow")

RATE = 0.01
STEPS = 12


class Bounded(keras.constraints.Constraint):
    def __call__(self, weights: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(weights, -0.05, 0.05)


def small_model(constraint: keras.constraints.Constraint | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=constraint)]
    )


def gradients(model: keras.Model) -> list[list[tf.Tensor]]:
    """For each step one for each variable, some of them 0."""
    rng = np.random.default_rng(1)
    return [
        [
            tf.constant(rng.normal(size=v.shape) * (rng.random(v.shape) < 0.8), tf.float32)
            for v in model.trainable_variables
        ]
        for _ in range(STEPS)
    ]


def keras_optimizer(name: str, **arguments: Any) -> keras.Optimizer:
    own = getattr(keras.optimizers, OPTIMIZERS[name].keras_name)
    return own(learning_rate=RATE, **arguments)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("constraint", [None, Bounded()])
def test_steps_are_those_of_keras_own_apply(
    name: str, constraint: keras.constraints.Constraint | None
) -> None:
    ours, keras_own = small_model(constraint), small_model(constraint)
    optimizer = KerasOptimizer(name, ours)
    reference = keras_optimizer(name)
    step = tf.function(optimizer.apply)
    for of_step in gradients(ours):
        step(of_step, tf.constant(RATE))
        reference.apply(of_step, keras_own.trainable_variables)
    for mine, theirs in zip(weights(ours), weights(keras_own), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)
    start = small_model(constraint)
    assert not np.allclose(weights(ours)[0], weights(start)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("adamw", {"weight_decay": 0.1}),
        ("adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.01, "weight_decay": 0.2}),
        ("adam", {"amsgrad": True, "global_clipnorm": 0.5}),
        ("sgd", {"momentum": 0.9, "nesterov": True, "clipvalue": 0.1}),
        ("rmsprop", {"centered": True, "clipnorm": 0.3, "weight_decay": 0.1}),
        ("sgd", {"gradient_accumulation_steps": 3, "weight_decay": 0.1}),
        ("nadam", {"use_ema": True, "ema_momentum": 0.5}),
        ("lion", {"use_ema": True, "ema_overwrite_frequency": 5}),
        ("muon", {"exclude_layers": ["dense"], "adam_weight_decay": 0.1}),
        ("sgd", {"loss_scale_factor": 4.0}),
    ],
)
def test_arguments_do_what_they_do_in_keras(name: str, arguments: dict[str, Any]) -> None:
    ours, keras_own, without = small_model(), small_model(), small_model()
    optimizer = KerasOptimizer(name, ours, arguments)
    plain = KerasOptimizer(name, without)
    reference = keras_optimizer(name, **arguments)
    step = tf.function(optimizer.apply)
    for of_step in gradients(ours):
        step(of_step, tf.constant(RATE))
        plain.apply(of_step, tf.constant(RATE))
        reference.apply(of_step, keras_own.trainable_variables)
    optimizer.finish()
    reference.finalize_variable_values(keras_own.trainable_variables)
    for mine, theirs in zip(weights(ours), weights(keras_own), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)
    assert not np.allclose(weights(ours)[0], weights(without)[0], rtol=1e-4)


def test_a_fixed_loss_scale_scales_the_loss() -> None:
    optimizer = KerasOptimizer("sgd", small_model(), {"loss_scale_factor": 4.0})
    assert float(optimizer.scale(tf.constant(2.0))) == 8.0


def test_the_tables_are_those_of_keras_signatures() -> None:
    beside = {"self", "learning_rate", "name", "kwargs", "args"}
    wrappers = {"LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "Optimizer"}

    def arguments(own: Any) -> tuple[set[str], set[str]]:
        parameters = inspect.signature(own.__init__).parameters
        named = {key: each for key, each in parameters.items() if key not in beside}
        required = {key for key, each in named.items() if each.default is each.empty}
        return required, named.keys() - required

    def signatures(module: Any, others: set[str]) -> dict[str, Any]:
        classes = {key: own for key, own in vars(module).items() if inspect.isclass(own)}
        return {key: arguments(own) for key, own in classes.items() if key not in others}

    schedules, base = keras.optimizers.schedules, {"LearningRateSchedule"}
    for table, expected in (
        (OPTIMIZERS, signatures(keras.optimizers, wrappers)),
        (SCHEDULES, signatures(schedules, base)),
    ):
        found = {e.keras_name: (set(e.required), set(e.optional)) for e in table.values()}
        assert found == expected


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"ftrl"}))  # It divides by the rate.
def test_the_learning_rate_is_what_each_step_is_given(name: str) -> None:
    model = small_model()
    before = weights(model)
    optimizer = KerasOptimizer(name, model)
    optimizer.apply(gradients(model)[0], tf.constant(0.0))
    for old, new in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_hold_all_that_a_later_step_depends_on(name: str) -> None:
    model = small_model()
    optimizer = KerasOptimizer(name, model)
    first, *rest = gradients(model)
    optimizer.apply(first, tf.constant(RATE))
    saved = [s.numpy() for s in optimizer.slots], weights(model)
    for of_step in rest:
        optimizer.apply(of_step, tf.constant(RATE))
    expected = weights(model)
    for slot, value in zip(optimizer.slots, saved[0], strict=True):
        slot.assign(value)
    for variable, value in zip(model.trainable_variables, saved[1], strict=True):
        variable.assign(value)
    for of_step in rest:
        optimizer.apply(of_step, tf.constant(RATE))
    for mine, theirs in zip(weights(model), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("sgd", {"rtol": 1e-6}), ("adamw", {"rtol": 1e-5, "atol": 2e-6})]
)
def test_the_loss_scale_follows_keras_own_rule(name: str, tolerance: dict[str, float]) -> None:
    # Keras' own, with what happens after 2,000 steps brought nearer in both.
    model, keras_own = small_model(), small_model()
    inner = keras.optimizers.get(name)
    inner.learning_rate = RATE
    reference = keras.optimizers.LossScaleOptimizer(inner)
    reference.build(keras_own.trainable_variables)
    optimizer = LossScaleOptimizer(name, model)
    reference.step_counter.assign(1990)
    optimizer.slots[-1].assign(1990)

    @tf.function
    def step(scaled: list[tf.Tensor]) -> None:
        optimizer.apply(scaled, tf.constant(RATE))

    for number, of_step in enumerate(gradients(model) * 2):
        of_step = [g * np.inf if number in (3, 15) else g for g in of_step]
        step(of_step)
        reference.apply(of_step, keras_own.trainable_variables)
        assert float(optimizer.scale(tf.constant(1.0))) == float(reference.dynamic_scale)
        for mine, theirs in zip(weights(model), weights(keras_own), strict=True):
            np.testing.assert_allclose(mine, theirs, **tolerance)


@pytest.mark.parametrize("overflows", [20, 140, 160])
def test_the_loss_scale_goes_as_low_as_keras_own(overflows: int) -> None:
    model, keras_own = small_model(), small_model()
    reference = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE))
    reference.build(keras_own.trainable_variables)
    optimizer = LossScaleOptimizer("sgd", model)
    finite = gradients(model)[0]
    infinite = [gradient * np.inf for gradient in finite]
    for of_step in [*[infinite] * overflows, finite]:
        optimizer.apply(of_step, tf.constant(RATE))
        reference.apply(of_step, keras_own.trainable_variables)
    assert float(optimizer.scale(tf.constant(1.0))) == float(reference.dynamic_scale) < 1
    for mine, theirs in zip(weights(model), weights(keras_own), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_the_loss_scale_doubles_after_2000_finite_steps() -> None:
    model = small_model()
    optimizer = LossScaleOptimizer("sgd", model)
    optimizer.slots[-1].assign(1998)
    seen = []
    for _ in range(3):
        optimizer.apply(gradients(model)[0], tf.constant(RATE))
        seen.append(float(optimizer.scale(tf.constant(1.0))))
    assert seen == [2.0**15, 2.0**16, 2.0**16]
