from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from made_up import made_up_space

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import modules_of
from mnist_ray.space.space import Cell
from mnist_ray.train import models

pytestmark = pytest.mark.usefixtures("tensorflow")


def cell_of(builder: str, size: int, **hyperparameters: Any) -> Cell:
    space = made_up_space({"architectures": {"it": {"build": builder, **hyperparameters}}})
    return space.cells((size, size))[0]


def built(architecture: str, size: int, **hyperparameters: Any) -> keras.Model:
    return models.build(cell_of(architecture, size, **hyperparameters), classes=10)


@pytest.mark.parametrize(
    ("architecture", "size", "hyperparameters", "parameters"),
    [
        ("feed_forward", 28, {}, 535_818),
        ("cnn", 28, {}, 3_985_162),
        ("feed_forward", 48, {}, 1_314_058),
        ("cnn", 48, {}, 14_470_922),
        ("cnn", 28, {"pool_stride": 2}, 225_034),
    ],
)
def test_the_usual_models_have_exactly_their_number_of_parameters(
    architecture: str, size: int, hyperparameters: dict[str, Any], parameters: int
) -> None:
    assert built(architecture, size, **hyperparameters).count_params() == parameters


@pytest.mark.parametrize(
    ("architecture", "hyperparameters"),
    [
        ("feed_forward", {"hidden_units": []}),
        ("feed_forward", {"hidden_units": [7, 5, 3], "dropout": 0.3}),
        ("cnn", {"filters": [2, 3], "dropout": 0.0}),
        ("cnn", {"filters": [2], "kernel_size": 5, "pool_size": 3, "dense_units": 4}),
    ],
)
def test_models_give_probabilities_of_the_classes(
    architecture: str, hyperparameters: dict[str, Any]
) -> None:
    images = np.random.default_rng(0).random((3, 12, 12, 1), np.float32)
    output = built(architecture, 12, **hyperparameters)(images).numpy()
    assert output.shape == (3, 10)
    np.testing.assert_allclose(output.sum(axis=1), 1, rtol=1e-6)


def test_dropout_stands_after_each_hidden_layer_and_only_where_asked_for() -> None:
    def kinds(model: keras.Model) -> list[str]:
        return [type(layer).__name__ for layer in model.layers]

    assert kinds(built("feed_forward", 8, dropout=0.2)) == [
        "Flatten",
        *["Dense", "Dropout"] * 2,
        "Dense",
    ]
    assert "Dropout" not in kinds(built("feed_forward", 8))
    assert kinds(built("cnn", 28))[-3:] == ["Dense", "Dropout", "Dense"]
    assert "Dropout" not in kinds(built("cnn", 28, dropout=0.0))


def test_the_notebooks_models_have_its_activations_and_strides() -> None:
    convolution, pooling = built("cnn", 28).layers[:2]
    assert (convolution.kernel_size, convolution.strides) == ((3, 3), (1, 1))
    assert (pooling.pool_size, pooling.strides) == ((2, 2), (1, 1))
    activations = [layer.activation.__name__ for layer in built("feed_forward", 28).layers[1:]]
    assert activations == ["relu", "relu", "softmax"]


# Architectures of the user's own

SOURCE = """
import keras
from keras import layers

def build(shape, classes, *, width):
    return keras.Sequential([
        keras.Input(shape), layers.Flatten(), layers.Dense(width, activation="relu"),
        layers.BatchNormalization(), layers.Dense(classes, activation="softmax"),
    ])

def too_few(shape, classes, *, width):
    return build(shape, classes - 1, width=width)

def an_image(shape, classes, *, width):
    return keras.Sequential([keras.Input(shape), layers.Conv2D(classes, 3, padding="same")])

def two_outputs(shape, classes, *, width):
    images = keras.Input(shape)
    flat = layers.Flatten()(images)
    return keras.Model(images, [layers.Dense(classes)(flat), layers.Dense(classes)(flat)])

class Subclassed(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.flatten, self.dense = layers.Flatten(), layers.Dense(classes, activation="softmax")
    def call(self, images):
        return self.dense(self.flatten(images))

def subclassed(shape, classes, *, width):
    return Subclassed(classes)

def a_function(shape, classes, *, width):
    return lambda images: images

width = 3
"""


def own(folder: Path, name: str, module: str = "own_models") -> keras.Model:
    (folder / "own_models.py").write_text(SOURCE)
    builder = f"{module}:{name}"
    code = {builder: modules_of(builder, folder)}
    return models.build(cell_of(builder, 6, width=5), classes=10, code=code)


def test_a_users_own_architecture_is_called_with_its_hyperparameters(tmp_path: Path) -> None:
    # 36 pixels to 5 units, 4 numbers for each in the batch normalization, 10 classes.
    assert own(tmp_path, "build").count_params() == 37 * 5 + 4 * 5 + 6 * 10


def test_a_subclassed_model_has_its_variables_when_it_is_handed_out(tmp_path: Path) -> None:
    assert own(tmp_path, "subclassed").count_params() == 37 * 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_few", r"output shape \(None, 9\); it must be \(None, 10\)"),
        ("an_image", r"output shape \(None, 6, 6, 10\); it must be \(None, 10\)"),
        ("two_outputs", r"output shape of a list; it must be \(None, 10\)"),
        ("a_function", "gave a function; it must give a keras.Model"),
        ("width", "no function 'width'. It has: .*build"),
        ("missing", "no function 'missing'. It has: .*build"),
    ],
)
def test_what_gives_no_probabilities_of_the_classes_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        own(tmp_path, name)
    assert str(refused.value).startswith(f"build: own_models:{name}")


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("own_missing", None, "no module 'own_missing'"),
        ("own_broken", "def build(:", "SyntaxError"),
        ("own_needy", "import a_package_that_is_not_there", "a_package_that_is_not_there"),
        ("own_failing", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_the_reason(
    tmp_path: Path, module: str, source: str | None, reason: str
) -> None:
    if source is not None:
        (tmp_path / f"{module}.py").write_text(source)
    with pytest.raises(InputError, match=f"{module!r}.*{reason}|{reason}") as refused:
        own(tmp_path, "build", module)
    assert str(tmp_path) in str(refused.value)
