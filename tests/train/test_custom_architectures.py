"""Trials of custom architectures: what else than the weights a trial may depend on."""

import shutil
import sys
from pathlib import Path

import pytest
import shared_state
from shared_state import BUILDER
from small_trials import IMAGES, cell_results, checkpoint_of, run, started, trial_of

from mnist_ray.plan.trial import Trial
from mnist_ray.space.custom_code import modules_of
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
    "tensorflow_generator": "GENERATOR.normal(tf.shape(inputs))",
    "seed_generator": "keras.random.normal(tf.shape(inputs), seed=SEEDS)",
}
GENERATORS = """
GENERATOR = tf.random.Generator.from_seed(5)
SEEDS = keras.random.SeedGenerator(6)
"""
NOISE_ELSEWHERE = {
    "tensorflow_kernel": "tf.random.normal(tf.shape(inputs))",
    "numpy": "tf.numpy_function(lambda x: np.random.normal(size=x.shape), [inputs], tf.float32)",
    "python": "tf.py_function(lambda: np.float32(np.random.normal()), [], tf.float32)",
}


def noisy_trial(folder: Path, module: str, noise: str) -> Trial:
    (folder / f"{module}.py").write_text(NOISY.format(noise=noise) + GENERATORS)
    return trial_of({"build": f"{module}:build"}, epochs=3)


@pytest.mark.parametrize("name", NOISE_IN_VARIABLES)
def test_a_restored_trial_draws_what_an_undisturbed_one_draws(name: str, tmp_path: Path) -> None:
    trial = noisy_trial(tmp_path, f"noisy_{name}", NOISE_IN_VARIABLES[name])
    begun = started(trial, folder=tmp_path)
    begun.train_epoch()
    assert begun.is_restorable
    elsewhere = started(trial, folder=tmp_path)
    elsewhere.restore(checkpoint_of(begun))
    while not elsewhere.is_trained:
        elsewhere.train_epoch()
    assert cell_results(elsewhere) == cell_results(run(trial, folder=tmp_path))


@pytest.mark.parametrize("name", NOISE_ELSEWHERE)
def test_what_no_checkpoint_can_hold_is_not_restorable(name: str, tmp_path: Path) -> None:
    trial = noisy_trial(tmp_path, f"noisy_{name}", NOISE_ELSEWHERE[name])
    assert not started(trial, folder=tmp_path).is_restorable
    with_layers_of_keras = trial_of({"build": "cnn", "filters": [3], "dropout": 0.4})
    assert started(with_layers_of_keras).is_restorable


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
    under_way = started(trial, folder=tmp_path)
    before = (tmp_path / "calls.txt").read_text()
    while not under_way.is_trained:
        under_way.train_epoch()
    under_way.evaluate(0)
    assert (tmp_path / "calls.txt").read_text() == before


# Trials in one process; more of them in tests/slow/test_shared_state.py


@pytest.mark.parametrize(("name", "way"), shared_state.QUICK_CASES)
def test_a_trial_is_the_same_whatever_ran_in_the_process_before(
    name: str, way: str, tmp_path: Path
) -> None:
    shared_state.assert_the_same_whatever_ran_before(name, way, tmp_path)


def test_a_built_in_architecture_is_the_same_after_one_that_changes_keras_settings(
    tmp_path: Path,
) -> None:
    alone = cell_results(run(trial_of()))
    (tmp_path / "of_settings.py").write_text(
        BUILDER.format(importing="keras.config.set_floatx('float64')", layer="keras.layers.Flatten")
        + "keras.config.set_epsilon(0.1)\nkeras.config.set_image_data_format('channels_first')\n"
        + "keras.config.set_dtype_policy('mixed_bfloat16')\n"
    )
    compiled_models = CompiledModelCache()
    run(trial_of({"build": "of_settings:build"}), compiled_models, folder=tmp_path)
    assert cell_results(run(trial_of(), compiled_models)) == alone


# The file that was hashed


def test_a_file_with_the_name_of_one_of_pythons_modules_is_not_trained_unhashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sched.py").write_text("scheduler = None")
    layer = "keras.layers.Dense(5 if sched.scheduler else 50)"
    source = BUILDER.replace("{layer}()", layer).format(importing="import sched")
    (tmp_path / "of_sched.py").write_text(source)
    trial = trial_of({"build": "of_sched:build"})
    code = {"of_sched:build": modules_of("of_sched:build", tmp_path)}
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    under_way = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache(), code=code)
    assert under_way.parameters == 37 * 5 + 6 * 3


def test_the_modules_that_were_hashed_are_trained_whatever_the_path_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("path", "hashed"):
        (tmp_path / folder).mkdir()
        source = BUILDER.format(importing="import of_helper", layer="of_helper.layer")
        (tmp_path / folder / "of_path.py").write_text(source)
        units = {"path": 50, "hashed": 5}[folder]
        helper = f"import keras\ndef layer(): return keras.layers.Dense({units})\n"
        (tmp_path / folder / "of_helper.py").write_text(helper)
    trial = trial_of({"build": "of_path:build"})
    code = {"of_path:build": modules_of("of_path:build", tmp_path / "hashed")}
    monkeypatch.syspath_prepend(tmp_path / "hashed")
    monkeypatch.syspath_prepend(tmp_path / "path")
    shutil.rmtree(tmp_path / "hashed")  # The content is what was hashed, not the place.
    under_way = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache(), code=code)
    assert under_way.parameters == 37 * 5 + 6 * 3
