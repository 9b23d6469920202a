"""Custom architectures that keep something in their process from one trial to the next."""

from pathlib import Path

from small_trials import cell_results, run, trial_of

from mnist_ray.plan.trial import Trial
from mnist_ray.train.compiled_model import CompiledModelCache

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
CASES = [
    *((name, "beside") for name in SHARED),
    *(("shared_counter", way) for way in WAYS if way != "beside"),
]
"""What is shared, and the way to the module that it is in."""
QUICK_CASES = [
    ("shared_initializer", "beside"),
    ("shared_global_state", "beside"),
    ("shared_counter", "lazily"),
]
"""Those of `CASES` that are tried every time."""


def assert_the_same_whatever_ran_before(name: str, way: str, folder: Path) -> None:
    builder = _write_builder(name, way, folder)

    def trial(index: int) -> Trial:
        return trial_of({"build": builder}, index=index, epochs=2)

    compiled_models = CompiledModelCache()
    alone = cell_results(run(trial(1), folder=folder))
    run(trial(0), compiled_models, folder=folder)
    run(trial_of(), compiled_models)
    assert cell_results(run(trial(1), compiled_models, folder=folder)) == alone
    other = cell_results(run(trial(2), compiled_models, folder=folder))
    assert other[2][0] != alone[2][0]


def _write_builder(name: str, way: str, folder: Path) -> str:
    helper = f"{name}_{way}"
    package = f"package_of_{helper}" if way == "in_a_package" else ""
    (folder / package).mkdir(exist_ok=True)
    (folder / package / f"{helper}.py").write_text(IMPORTS + SHARED[name])
    importing, module = (part.format(helper=helper) for part in WAYS[way])
    source = BUILDER.format(importing=importing, layer=f"{module}.layer")
    (folder / package / f"of_{helper}.py").write_text(source)
    return ".".join(filter(None, [package, f"of_{helper}:build"]))
