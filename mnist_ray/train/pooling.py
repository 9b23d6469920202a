"""Max pooling whose gradient needs no scatter."""

import keras
import tensorflow as tf


class SlicedMaxPooling(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """The maximum of shifted slices of the input, to which its gradient goes back by addition.

    XLA makes a scatter of the gradient of TensorFlow's own max pooling. On a GPU a scatter adds by
    atomic operations, in an order that changes from run to run, and slowly in 16 bits; under
    TensorFlow's op determinism XLA refuses to compile it at all. Of equal values the first of a
    window gets the whole gradient, row by row, as with TensorFlow's own.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Pool float images [b, height, width, channels] that are not padded."""
        (high, wide), strides = self.pool_size, self.strides
        return _sliding_maximum(
            _sliding_maximum(inputs, axis=2, size=wide, stride=strides[1]),
            axis=1,
            size=high,
            stride=strides[0],
        )


def _sliding_maximum(inputs: tf.Tensor, *, axis: int, size: int, stride: int) -> tf.Tensor:
    count = (inputs.shape[axis] - size) // stride + 1

    def shifted(by: int) -> tf.Tensor:
        cut = [slice(None)] * 4
        cut[axis] = slice(by, by + (count - 1) * stride + 1, stride)
        return inputs[tuple(cut)]

    highest = shifted(0)
    for by in range(1, size):
        highest = tf.maximum(highest, shifted(by))
    return highest


def without_scatter(model: keras.Model) -> keras.Model:
    """A model with the same layers and weights, but for its max poolings, which are sliced.

    For a sequential model; another one is given back as it is, and so are poolings with padding.
    """
    if not isinstance(model, keras.Sequential):
        return model
    return keras.models.clone_model(model, clone_function=_sliced)


def _sliced(layer: keras.Layer) -> keras.Layer:
    is_plain = type(layer) is keras.layers.MaxPooling2D and layer.padding == "valid"
    if not is_plain or layer.data_format != "channels_last":
        return layer
    return SlicedMaxPooling.from_config(layer.get_config())
