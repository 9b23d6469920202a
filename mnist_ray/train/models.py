"""The architectures: from hyperparameters to an uncompiled Keras model.

Every model takes float32 images in [0, 1], of shape (batch, height, width, channels), and gives
class probabilities, of shape (batch, classes).
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Cell
from mnist_ray.train import custom_modules

InputShape = tuple[int, int, int]


def feed_forward(
    input_shape: InputShape, classes: int, *, hidden_units: Sequence[int], dropout: float
) -> keras.Model:
    """A dense layer of ReLU units for each of `hidden_units`, with dropout after it if not 0."""
    stack = [keras.Input(input_shape), layers.Flatten(name="flatten")]
    for number, units in enumerate(hidden_units, start=1):
        stack.append(layers.Dense(units, activation="relu", name=f"hidden_{number}"))
        if dropout:
            stack.append(layers.Dropout(dropout, name=f"dropout_{number}"))
    return keras.Sequential([*stack, _probabilities(classes)], name="feed_forward")


def cnn(
    input_shape: InputShape,
    classes: int,
    *,
    filters: Sequence[int],
    kernel_size: int,
    pool_size: int,
    pool_stride: int,
    dense_units: int,
    dropout: float,
) -> keras.Model:
    """A convolution and a max pooling for each of `filters`, then a dense layer with dropout.

    Convolutions have stride 1. Neither convolutions nor poolings are padded.
    """
    stack = [keras.Input(input_shape)]
    for number, channels in enumerate(filters, start=1):
        stack += [
            layers.Conv2D(channels, kernel_size, activation="relu", name=f"convolution_{number}"),
            layers.MaxPooling2D(pool_size, strides=pool_stride, name=f"pooling_{number}"),
        ]
    stack += [
        layers.Flatten(name="flatten"),
        layers.Dense(dense_units, activation="relu", name="hidden"),
    ]
    if dropout:
        stack.append(layers.Dropout(dropout, name="dropout"))
    return keras.Sequential([*stack, _probabilities(classes)], name="cnn")


def _probabilities(classes: int) -> keras.Layer:
    # In float32 under mixed precision too: a softmax in 16 bits would round the loss.
    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")


BUILT_IN: dict[str, Callable[..., keras.Model]] = {"feed_forward": feed_forward, "cnn": cnn}


def build(cell: Cell, *, classes: int, code: Code | None = None) -> keras.Model:
    """A fresh model of the cell's architecture, for images of that many classes.

    A custom architecture is called as `function(input_shape, classes, **hyperparameters)`. Its
    modules, which `code` has, are executed anew.

    Raises:
        InputError: a custom architecture cannot be imported, or does not give a model with output
            of shape (batch, classes).
    """
    builder, arguments = cell.builder, (cell.input_shape, classes)
    if builder in BUILT_IN:
        return BUILT_IN[builder](*arguments, **cell.hyperparameters)
    modules = (code or {}).get(builder, {})
    function = custom_modules.function_of(builder, modules, what=f"build: {builder}")
    return _checked(function(*arguments, **cell.hyperparameters), cell, classes=classes)


def _checked(model: object, cell: Cell, *, classes: int) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise InputError(
            f"build: {cell.builder} gave a {type(model).__name__}; it must give a keras.Model."
        )
    # Called, since a subclassed model has neither variables nor an output shape before.
    output = model(keras.Input(cell.input_shape))
    shape = getattr(output, "shape", f"of a {type(output).__name__}")
    if shape != (None, classes):
        raise InputError(
            f"build: {cell.builder} gave a model with output shape {shape}; it must be "
            f"(None, {classes}): the probabilities of the {classes} classes."
        )
    return model
