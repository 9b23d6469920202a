"""Settings of Keras and TensorFlow that hold for a whole process."""

import keras
import tensorflow as tf

_AT_START = (
    keras.config.floatx(),
    keras.config.epsilon(),
    keras.config.image_data_format(),
    keras.config.dtype_policy(),
)


def reset() -> None:
    """Undo what the user's modules of an earlier trial have set."""
    floatx, epsilon, image_data_format, dtype_policy = _AT_START
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_dtype_policy(dtype_policy)
    tf.config.run_functions_eagerly(False)
