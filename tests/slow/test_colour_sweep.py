"""A sweep of one's own colour images with class names, through the real command."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running import Place, opened, write_space

import mnist_ray

SPACE = {
    "name": "shapes",
    "dataset": "shapes.npz",
    "architectures": {
        "feed_forward": {"hidden_units": [8]},
        "cnn": {"filters": [4], "pool_stride": 2, "dense_units": 8},
        "mine": {"build": "own:build"},
    },
    "variants": {"centered": {}, "shifted": {"shift": 2}},
    "trials": 1,
}
OWN = """
from keras import Input, Sequential, layers

def build(shape, classes):
    assert shape[2] == 3
    return Sequential([Input(shape), layers.GlobalMaxPooling2D(),
                       layers.Dense(classes, activation="softmax")])
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    rng = np.random.default_rng(0)
    # The classes differ in colour alone.
    labels = rng.integers(0, 3, 400)
    images = rng.integers(0, 60, (400, 8, 8, 3), dtype=np.uint8)
    images[np.arange(400), 2:6, 2:6, labels] += 180
    np.savez_compressed(
        tmp_path / "shapes.npz",
        x_train=images[:300],
        y_train=labels[:300],
        x_test=images[300:],
        y_test=labels[300:],
        class_names=np.array(["red", "green", "blue"]),
    )
    (tmp_path / "own.py").write_text(OWN)
    write_space(tmp_path / "shapes.yaml", {**SPACE, "training": {"epochs": 8}})
    with opened(tmp_path) as place:
        yield place


def test_every_kind_of_architecture_learns_colours(place: Place) -> None:
    ended = place.run("shapes.yaml")
    assert ended.code == 0, ended
    report = mnist_ray.load_report(place.folder / "results" / "shapes")
    assert len(report) == 6
    assert report["mean_test_accuracy"].min() > 0.6, report  # By chance 1/3.
    # A dense layer of 8 on 8x8 pixels of three values, and its three classes.
    dense = report[(report.architecture == "feed_forward") & (report.variant == "centered")]
    assert dense["parameters"].item() == (8 * 8 * 3 + 1) * 8 + 9 * 3
    page = (place.folder / "results" / "shapes" / "report.html").read_text()
    assert "The hardest images" in page
    assert "green" in page
