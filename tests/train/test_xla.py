"""The program of a GPU, which XLA compiles, on a CPU; more in tests/slow/test_xla_trials.py."""

import logging
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from small_trials import (
    COLOUR_IMAGES,
    CONVOLUTIONAL,
    DENSE,
    IMAGES,
    cell_results,
    run,
    state_of,
    trial_of,
)
from xla_trials import (
    DENSE_WITH_DROPOUT,
    assert_it_goes_on_from_a_checkpoint,
    assert_xla_trains_as_the_plain_graph,
    with_xla,
)

from mnist_ray.space.optimizers import OPTIMIZERS
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        (DENSE, {}),
        (DENSE, {"variant": {"shift": 3}, "batch_size": 31}),
        ({**CONVOLUTIONAL, "pool_size": 3, "pool_stride": 2}, {"variant": {"shift": 7}}),
        (DENSE, {"variant": {"shift": 2}, "dataset": COLOUR_IMAGES}),
        (CONVOLUTIONAL, {"optimizer": "sgd"}),
    ],
    ids=["dense", "shifted, whole batches", "pooling apart, shifted", "colour, shifted", "sgd"],
)
def test_xla_trains_as_the_plain_graph(architecture: dict[str, Any], more: dict[str, Any]) -> None:
    assert_xla_trains_as_the_plain_graph(architecture, **more)


def test_xla_trains_in_mixed_precision() -> None:
    first = with_xla(CONVOLUTIONAL, precision="mixed_float16").epochs[0]
    expected = run(trial_of(CONVOLUTIONAL, precision="mixed_float16")).epochs[0]
    assert first.train_loss == pytest.approx(expected.train_loss, rel=1e-2)


BATCH_WISE = """
from keras import layers, models

def build(shape, classes):
    return models.Sequential([
        layers.Input(shape), layers.Conv2D(3, 2, use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(classes, activation="softmax", kernel_regularizer="l2"),
    ])
"""


def test_layers_that_look_across_a_batch_see_no_images_that_fill_it_up(tmp_path: Path) -> None:
    (tmp_path / "batch_wise.py").write_text(BATCH_WISE)
    assert_xla_trains_as_the_plain_graph({"build": "batch_wise:build"}, folder=tmp_path)


def test_a_kept_program_starts_again_as_new() -> None:
    compiled_models = CompiledModelCache()
    trials = [trial_of(DENSE_WITH_DROPOUT, index=i, epochs=2, jit_compile=True) for i in (0, 1)]
    run(trials[0], compiled_models)
    assert cell_results(run(trials[1], compiled_models)) == cell_results(run(trials[1]))


def test_a_trial_under_xla_goes_on_from_a_checkpoint() -> None:
    assert_it_goes_on_from_a_checkpoint("float32")


# What XLA cannot compile

IN_PYTHON = """
import keras
import tensorflow as tf
from keras import layers

class InPython(keras.layers.Layer):
    def call(self, inputs):
        outputs = tf.numpy_function(lambda values: 2 * values, [inputs], inputs.dtype)
        return inputs + tf.stop_gradient(tf.ensure_shape(outputs, inputs.shape))

def build(shape, classes):
    return keras.Sequential([
        layers.Input(shape), layers.Flatten(), layers.Dense(9), InPython(),
        layers.Dense(classes, activation="softmax"),
    ])
"""


def test_what_xla_cannot_compile_is_trained_by_the_plain_graph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in_python.py").write_text(IN_PYTHON)
    architecture = {"build": "in_python:build"}
    compiled_models = CompiledModelCache()
    trial = trial_of(architecture, jit_compile=True, epochs=2)
    with caplog.at_level(logging.WARNING):
        first, again = (run(trial, compiled_models, folder=tmp_path) for _ in range(2))
    for trained in (first, again):
        assert "PyFunc" in (trained.xla_error or "")
        plain = run(trial_of(architecture, epochs=2), folder=tmp_path)
        assert cell_results(trained) == cell_results(plain)
        assert plain.xla_error is None
    (message,) = [line for line in caplog.messages if "PyFunc" in line]
    assert "in_python:build" in message


# What a GPU needs, as far as TensorFlow says


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
# Adafactor keeps whole numbers of 32 bits, which TensorFlow leaves on the CPU.
@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - {"adafactor"}))
def test_every_variable_has_a_place_on_a_gpu(optimizer: str, precision: str) -> None:
    trial = trial_of(DENSE_WITH_DROPOUT, optimizer=optimizer, precision=precision)
    started = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    assert dtypes_of_state(started) <= dtypes_of_gpu_variables()


def dtypes_of_state(trial: TrialRun) -> set[Any]:
    return {tf.as_dtype(variable.dtype) for variable in state_of(trial)}


def dtypes_of_gpu_variables() -> set[Any]:
    from tensorflow.python.framework.kernels import get_registered_kernels_for_op

    kernels = get_registered_kernels_for_op("VarHandleOp").kernel
    return {
        tf.as_dtype(dtype)
        for kernel in kernels
        if kernel.device_type in ("GPU", "DEFAULT")
        for constraint in kernel.constraint
        if constraint.name == "dtype"
        for dtype in constraint.allowed_values.list.type
    }
