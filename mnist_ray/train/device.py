"""How TensorFlow and Keras compute in this process."""

import contextlib
import gc
import importlib.metadata

import keras
import tensorflow as tf

from mnist_ray.space.training import JitCompile
from mnist_ray.train.memory import drop_code_of_import, give_back_memory

_AT_START = (
    keras.config.floatx(),
    keras.config.epsilon(),
    keras.config.image_data_format(),
    keras.config.dtype_policy(),
)
"""Keras' settings before any module of the user's changes them."""


def configure(threads: int, *, gpus: bool = True) -> None:
    """Set up TensorFlow in this process, after all imports and before its first operation.

    Args:
        threads: CPU threads of a trial. They change the last bits of its figures.
        gpus: whether to compute on GPUs, where there are any.
    """
    if not gpus:
        tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.get_visible_devices("GPU"):
        # Trials share a card: each takes what it needs, not all there is.
        tf.config.experimental.set_memory_growth(gpu, True)
    if not tf.config.get_visible_devices("GPU"):
        # To the last bit the same on CPUs only: see docs/gpus.md for what it would cost on GPUs.
        tf.config.experimental.enable_op_determinism()
    # Imported modules stay for good: searching them for garbage after each trial would take longer
    # than a small trial.
    gc.collect()
    gc.freeze()
    give_back_memory()
    drop_code_of_import()


def restore_settings() -> None:
    """Undo what the user's modules of an earlier trial have set."""
    floatx, epsilon, image_data_format, dtype_policy = _AT_START
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_dtype_policy(dtype_policy)
    tf.config.run_functions_eagerly(False)


def tensorflow_device() -> str:
    """TensorFlow's name of the device that this process computes on."""
    return "GPU:0" if tf.config.get_visible_devices("GPU") else "CPU:0"


def uses_xla(jit_compile: JitCompile) -> bool:
    """Whether XLA compiles a model: where nothing else is asked for, on GPUs only.

    On CPUs it makes convolutions twice as slow.
    """
    if jit_compile == "auto":
        return bool(tf.config.get_visible_devices("GPU"))
    return jit_compile


def device_name() -> str:
    """The name of the GPU that this process computes on, or "CPU"."""
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return str(details.get("device_name", "GPU"))


def cudnn_version() -> str | None:
    """The version of cuDNN: as installed by pip, or else the one TensorFlow was built for."""
    for name in ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    built_for = tf.sysconfig.get_build_info().get("cudnn_version")
    return None if built_for is None else str(built_for)
