"""Trials of custom architectures: what else than the weights a trial may depend on."""

from pathlib import Path

import pytest
from small_trials import IMAGES, cell_results, run, trial_of

from mnist_ray.plan.trial import Trial
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

NOISY = """
import keras
import numpy as np
import tensorflow as tf

class Noise(keras.layers.Layer):
    def call(self, inputs, training=False):
        return tf.ensure_shape(inputs + {noise}, inputs.shape) if training else inputs

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(), Noise(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""

NOISE_IN_VARIABLES = {
    "keras_random": "keras.random.normal(tf.shape(inputs))",
}
NOISE_ELSEWHERE = {
    "tensorflow_kernel": "tf.random.normal(tf.shape(inputs))",
    "numpy": "tf.numpy_function(lambda x: np.random.normal(size=x.shape), [inputs], tf.float32)",
    "python": "tf.py_function(lambda: np.float32(np.random.normal()), [], tf.float32)",
}


def noisy_trial(folder: Path, module: str, noise: str) -> Trial:
    (folder / f"{module}.py").write_text(NOISY.format(noise=noise))
    return trial_of({"build": f"{module}:build"}, epochs=3)


def started(trial: Trial, folder: Path) -> TrialRun:
    return TrialRun(trial, IMAGES, compiled_models=CompiledModelCache(), folder=folder)


@pytest.mark.parametrize("name", NOISE_IN_VARIABLES)
def test_a_restored_trial_draws_what_an_undisturbed_one_draws(name: str, tmp_path: Path) -> None:
    trial = noisy_trial(tmp_path, f"noisy_{name}", NOISE_IN_VARIABLES[name])
    begun = started(trial, tmp_path)
    begun.train_epoch()
    assert begun.is_restorable
    begun.save(tmp_path)
    elsewhere = started(trial, tmp_path)
    elsewhere.restore(tmp_path)
    while not elsewhere.is_trained:
        elsewhere.train_epoch()
    assert cell_results(elsewhere) == cell_results(run(trial, folder=tmp_path))


@pytest.mark.parametrize("name", NOISE_ELSEWHERE)
def test_what_no_checkpoint_can_hold_is_not_restorable(name: str, tmp_path: Path) -> None:
    trial = noisy_trial(tmp_path, f"noisy_{name}", NOISE_ELSEWHERE[name])
    assert not started(trial, tmp_path).is_restorable
    with_layers_of_keras = trial_of({"build": "cnn", "filters": [3], "dropout": 0.4})
    assert started(with_layers_of_keras, tmp_path).is_restorable


COUNTED = """
from pathlib import Path
import keras

class Counted(keras.layers.Layer):
    def call(self, inputs):
        with (Path(__file__).parent / "calls.txt").open("a") as calls:
            calls.write("called ")
        return inputs

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), Counted(), keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


def test_a_trial_is_compiled_when_it_is_set_up(tmp_path: Path) -> None:
    (tmp_path / "counted_calls.py").write_text(COUNTED)
    trial = trial_of({"build": "counted_calls:build"}, epochs=2)
    under_way = started(trial, tmp_path)
    before = (tmp_path / "calls.txt").read_text()
    while not under_way.is_trained:
        under_way.train_epoch()
    under_way.evaluate(0)
    assert (tmp_path / "calls.txt").read_text() == before
