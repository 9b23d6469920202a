"""Trials of custom architectures: what else than the weights a trial may depend on."""

import shutil
import sys
from pathlib import Path

import pytest
from small_trials import IMAGES, cell_results, run, started, trial_of

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
    begun.save(tmp_path)
    elsewhere = started(trial, folder=tmp_path)
    elsewhere.restore(tmp_path)
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


# Trials in one process

SHARED = {
    "shared_initializer": """
INITIALIZER = keras.initializers.HeNormal()

def layer():
    return keras.layers.Dense(5, kernel_initializer=INITIALIZER)
""",
    "shared_counter": """
BUILT = []

def layer():
    BUILT.append(1)
    return keras.layers.Dense(5, activation="relu" if len(BUILT) == 1 else None)
""",
    "shared_cache": """
@functools.cache
def rate():
    return random.random()

def layer():
    return keras.layers.Dropout(rate())
""",
    "shared_generators": """
NUMPY, PYTHON = np.random.default_rng(3), random.Random(4)

def layer():
    seeds = NUMPY.integers(1000), PYTHON.randrange(1000), np.random.randint(1000)
    return keras.layers.GaussianNoise(0.5, seed=int(sum(seeds)))
""",
    "shared_layer_seed": """
SEEDS = keras.random.SeedGenerator(5)
TENSORFLOW = tf.random.Generator.from_seed(6)

class Noise(keras.layers.Layer):
    def call(self, inputs, training=False):
        noise = keras.random.normal((5,), seed=SEEDS) + TENSORFLOW.normal((5,))
        return inputs + noise if training else inputs

def layer():
    return keras.Sequential([keras.layers.Dense(5), Noise()])
""",
    "shared_global_state": """
class Noise(keras.layers.Layer):
    def call(self, inputs, training=False):
        if not training:
            return inputs
        numpy = tf.numpy_function(lambda: np.random.normal(size=5).astype("f4"), [], tf.float32)
        return inputs + tf.random.normal((5,)) + keras.random.normal((5,)) + tf.reshape(numpy, (5,))

def layer():
    return keras.Sequential([keras.layers.Dense(5), Noise()])
""",
    "shared_names": """
def layer():
    layer = keras.layers.Dense(5)
    layer.kernel_initializer = keras.initializers.HeNormal(sum(layer.name.encode()))
    return layer
""",
    "shared_settings": """
keras.config.set_epsilon(keras.config.epsilon() * 100)

def layer():
    return keras.layers.Dense(5, kernel_initializer=keras.initializers.RandomNormal(
        stddev=1e5 * keras.config.epsilon()))
""",
}
IMPORTS = """
import functools
import random
import keras
import numpy as np
import tensorflow as tf
"""
BUILDER = """
import keras
{importing}

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(), {layer}(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


WAYS = {
    "beside": ("import {helper}", "{helper}"),
    "lazily": ("", "__import__('{helper}')"),
    "at_run_time": ("import importlib", "importlib.import_module('{helper}')"),
    "in_a_package": ("from . import {helper}", "{helper}"),
}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "beside") for name in SHARED),
        *(("shared_counter", way) for way in WAYS if way != "beside"),
    ],
)
def test_a_trial_is_the_same_whatever_ran_in_the_process_before(
    name: str, way: str, tmp_path: Path
) -> None:
    helper = f"{name}_{way}"
    package = f"package_of_{helper}" if way == "in_a_package" else ""
    (tmp_path / package).mkdir(exist_ok=True)
    (tmp_path / package / f"{helper}.py").write_text(IMPORTS + SHARED[name])
    importing, module = (part.format(helper=helper) for part in WAYS[way])
    source = BUILDER.format(importing=importing, layer=f"{module}.layer")
    (tmp_path / package / f"of_{helper}.py").write_text(source)
    builder = ".".join(filter(None, [package, f"of_{helper}:build"]))

    def trial(index: int) -> Trial:
        return trial_of({"build": builder}, index=index, epochs=2)

    compiled_models = CompiledModelCache()
    alone = cell_results(run(trial(1), folder=tmp_path))
    run(trial(0), compiled_models, folder=tmp_path)
    run(trial_of(), compiled_models)
    assert cell_results(run(trial(1), compiled_models, folder=tmp_path)) == alone
    other = cell_results(run(trial(2), compiled_models, folder=tmp_path))
    assert other[2][0] != alone[2][0]


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


def test_a_file_that_bears_the_name_of_one_of_pythons_modules_is_not_trained_unhashed(
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
