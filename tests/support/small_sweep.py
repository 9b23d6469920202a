"""A sweep of six small cells, on real handwriting."""

from pathlib import Path

from running import write_images, write_space

TRAIN_IMAGES, TEST_IMAGES = 1000, 300

SPACE = {
    "name": "small",
    "dataset": "small.npz",
    "architectures": {
        "feed_forward": {"hidden_units": [32]},
        "cnn": {"filters": [4], "dense_units": 16, "dropout": 0.1},
        "mine": {"build": "own:build", "width": 24},
    },
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "training": {"learning_rate": 0.01},
    "trials": 2,
}
OWN = """
import keras

def build(input_shape, classes, width):
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(width, activation="tanh"),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


def write_small_sweep(folder: Path) -> None:
    """The search space small.yaml, its images and its own architecture."""
    write_space(folder / "small.yaml", SPACE)
    write_images(folder / "small.npz", train=TRAIN_IMAGES, test=TEST_IMAGES)
    (folder / "own.py").write_text(OWN)
