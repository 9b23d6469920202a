"""An architecture that changes Keras itself: the trials of the others are as without it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from running import Place, opened, write_images, write_space

import mnist_ray

CHANGES_KERAS = """
import os

import keras

os.environ["CHANGED"] = "yes"
_call = keras.initializers.GlorotUniform.__call__

def call(self, shape, dtype=None):
    return 0.1 * _call(self, shape, dtype)

keras.initializers.GlorotUniform.__call__ = call

def build(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])

other = build
"""
BUILT_IN = {"feed_forward": {"hidden_units": [8]}}
FIGURES = ["key", "test_accuracy", "test_loss", "validation_accuracy"]


def figures_of_the_built_in(
    place: Place, name: str, architectures: Mapping[str, Mapping[str, object]], *, at_a_time: int
) -> list[dict[str, object]]:
    space = {
        "name": name,
        "dataset": "small.npz",
        "architectures": architectures,
        "variants": {"centered": {}},
        "training": {"epochs": 2},
        "trials": 2,
    }
    write_space(place.folder / f"{name}.yaml", space)
    ended = place.run(f"{name}.yaml", "--max-concurrent", str(at_a_time), "--cpus-per-trial", "1")
    assert ended.code == 0, ended
    trials = mnist_ray.load_trials(place.folder / "results" / name)
    assert set(trials["status"]) == {"finished"}
    assert len(trials) == 2 * len(architectures)
    built_in = trials[trials["architecture"] == "feed_forward"]
    figures: list[dict[str, object]] = built_in[FIGURES].sort_values("key").to_dict("records")
    return figures


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_an_architecture_that_changes_keras_leaves_the_figures_of_others_alone(
    tmp_path: Path, at_a_time: int
) -> None:
    write_images(tmp_path / "small.npz", train=200, test=100)
    (tmp_path / "p.py").write_text(CHANGES_KERAS)
    with opened(tmp_path) as place:
        alone = figures_of_the_built_in(place, "alone", BUILT_IN, at_a_time=1)
        mixed = {"p": {"build": "p:build"}, **BUILT_IN, "q": {"build": "p:other"}}
        among_others = figures_of_the_built_in(place, "mixed", mixed, at_a_time=at_a_time)
    assert among_others == alone
