from pathlib import Path
from typing import Any

import pytest
from made_up import made_up_space
from walking import DATASET_INFO

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import modules_of
from mnist_ray.space.space import Cell
from mnist_ray.train.cell_check import check_cells

SUBCLASSED = """
import atexit
import os

import keras

print("what a module prints is not taken for an answer")
os.write(1, b"I0: nor what a library writes")
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


def cells_that_build(folder: Path, *builders: str) -> list[Cell]:
    """The cells of a space whose file lies in `folder`, with an architecture for each builder."""
    architectures = {f"mine{i}": {"build": name, "width": 3} for i, name in enumerate(builders)}
    changes = {"architectures": {"feed_forward": {}, **architectures}}
    return made_up_space(changes, source=folder / "space.yaml").cells((8, 8))


@pytest.mark.parametrize("training", [{}, {"optimizer": "lion"}], ids=["default", "by name"])
def test_built_in_architectures_and_plain_trainings_start_no_process(
    training: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts(*_: object, **__: object) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr("subprocess.run", starts)
    check_cells(cells_trained_by(**training), DATASET_INFO, {})


def test_a_model_that_talks_is_accepted_and_one_without_probabilities_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine_talking.py").write_text(SUBCLASSED)
    builders = ["mine_talking:build", "mine_talking:without_softmax"]
    cells = cells_that_build(tmp_path, *builders)
    code = {builder: modules_of(builder, tmp_path) for builder in builders}
    with pytest.raises(InputError, match=r"without_softmax gave .* no probabilities.*softmax"):
        check_cells(cells, DATASET_INFO, code)


def test_a_model_that_takes_down_its_process_is_refused_with_its_last_words(tmp_path: Path) -> None:
    lines = ["import os", "def build(shape, classes, width):", "    os.write(1, b'I0: loading')"]
    lines += ["    os.write(2, b'no such luck')", "    os._exit(7)"]
    (tmp_path / "mine_dying.py").write_text("\n".join(lines))
    cells = cells_that_build(tmp_path, "mine_dying:build")
    code = {"mine_dying:build": modules_of("mine_dying:build", tmp_path)}
    with pytest.raises(InputError, match=r"mine_dying:build: .* ended with code 7: .*no such luck"):
        check_cells(cells, DATASET_INFO, code)


# Trainings

COSINE = {"schedule": "CosineDecay", "initial_learning_rate": 0.003}


def cells_trained_by(**training: Any) -> list[Cell]:
    return made_up_space({"training": training}).cells((8, 8))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"optimizer": {"grid_search": ["adam", {"name": "sgd", "momentum": 2}]}},
            r'training.optimizer: Keras cannot use .*"momentum": 2.*ValueError.*momentum',
        ),
        (
            {"learning_rate": {**COSINE, "decay_steps": {"grid_search": ["epoch", 0]}}},
            r"training.learning_rate: .*CosineDecay.*",
        ),
        (
            {"learning_rate": {**COSINE, "decay_steps": 2, "alpha": -1.0}},
            r"gives -.* in step [23] of epoch 1; .* at least 0",
        ),
    ],
    ids=["an argument that Keras refuses", "no steps", "a negative rate"],
)
def test_what_keras_cannot_use_is_refused_before_anything_starts(
    training: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_cells(cells_trained_by(**training), DATASET_INFO, {})
