from pathlib import Path

import pytest
from made_up import made_up_space

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import modules_of
from mnist_ray.space.space import Cell
from mnist_ray.train.builder_check import check_builders

SUBCLASSED = """
import atexit
import keras

print("what a module prints is not taken for an answer")
atexit.register(print, "nor what it prints at its end")

class Net(keras.Model):
    def __init__(self, classes, width):
        super().__init__()
        self.stack = keras.Sequential([
            keras.layers.Flatten(),
            keras.layers.Dense(width),
            keras.layers.Dense(classes, activation="softmax"),
        ])
    def call(self, images):
        return self.stack(images)

def build(shape, classes, width):
    return Net(classes, width)

def without_softmax(shape, classes, width):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(),
                             keras.layers.Dense(classes, bias_initializer="ones")])
"""


def cells_of(folder: Path, *builders: str) -> list[Cell]:
    """The cells of a space whose file lies in `folder`, with an architecture for each builder."""
    architectures = {f"mine{i}": {"build": name, "width": 3} for i, name in enumerate(builders)}
    changes = {"architectures": {"feed_forward": {}, **architectures}}
    return made_up_space(changes, source=folder / "space.yaml").cells((8, 8))


def test_built_in_architectures_need_no_check(tmp_path: Path) -> None:
    check_builders(cells_of(tmp_path), classes=10, code={})


def test_a_model_that_talks_is_accepted_and_one_without_probabilities_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine_talking.py").write_text(SUBCLASSED)
    builders = ["mine_talking:build", "mine_talking:without_softmax"]
    cells = cells_of(tmp_path, *builders)
    code = {builder: modules_of(builder, tmp_path) for builder in builders}
    with pytest.raises(InputError, match=r"without_softmax gave .* no probabilities.*softmax"):
        check_builders(cells, classes=10, code=code)
