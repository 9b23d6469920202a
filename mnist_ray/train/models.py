"""The architectures: from hyperparameters to an uncompiled Keras model.

Every model takes float32 images in [0, 1], of shape (batch, height, width, channels), and gives
class probabilities, of shape (batch, classes).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import UserModule
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


def build(
    builder: str,
    hyperparameters: Mapping[str, Any],
    *,
    input_shape: InputShape,
    classes: int,
    modules: Mapping[str, UserModule] | None = None,
) -> keras.Model:
    """A fresh model of the architecture `builder`.

    Args:
        builder: a name in `BUILT_IN`, or "module:function" of a custom architecture, called as
            `function(input_shape, classes, **hyperparameters)`.
        hyperparameters: keyword arguments of the builder.
        input_shape: height, width, and 1 channel for grey images or 3 for colour.
        classes: number of classes.
        modules: those of a custom architecture, which are executed anew.

    Raises:
        InputError: a custom architecture cannot be imported, or does not give a model with output
            of shape (batch, classes).
    """
    if builder in BUILT_IN:
        return BUILT_IN[builder](input_shape, classes, **hyperparameters)
    function = _custom_builder(builder, modules or {})
    model = function(input_shape, classes, **hyperparameters)
    _check_custom_model(builder, model, input_shape=input_shape, classes=classes)
    return model


def _custom_builder(builder: str, modules: Mapping[str, UserModule]) -> Callable[..., keras.Model]:
    module_name, _, function_name = builder.partition(":")
    try:
        module = custom_modules.execute(module_name, modules)
    except Exception as error:
        place = modules[module_name].file if module_name in modules else "sys.path"
        raise InputError(
            f"build: {builder}: the module {module_name!r} can't be imported from {place} "
            f"({type(error).__name__}: {error})."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = ", ".join(name for name, value in vars(module).items() if callable(value))
        raise InputError(
            f"build: {builder}: the module {module_name!r} has no function {function_name!r}. "
            f"It has: {names or 'none'}."
        )
    return function  # type: ignore[no-any-return]


def _check_custom_model(
    builder: str, model: object, *, input_shape: InputShape, classes: int
) -> None:
    if not isinstance(model, keras.Model):
        raise InputError(
            f"build: {builder} gave a {type(model).__name__}; it must give a keras.Model."
        )
    # Called, since a subclassed model has neither variables nor an output shape before.
    output = model(keras.Input(input_shape))
    shape = getattr(output, "shape", f"of a {type(output).__name__}")
    if shape != (None, classes):
        raise InputError(
            f"build: {builder} gave a model with output shape {shape}; it must be "
            f"(None, {classes}): the probabilities of the {classes} classes."
        )
