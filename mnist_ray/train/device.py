"""How TensorFlow computes in this process."""

import gc

import tensorflow as tf

from mnist_ray.train.memory import drop_code_of_import, give_back_memory


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
    tf.config.experimental.enable_op_determinism()
    # Imported modules stay for good: searching them for garbage after each trial would take longer
    # than a small trial.
    gc.collect()
    gc.freeze()
    give_back_memory()
    drop_code_of_import()


def device_name() -> str:
    """The name of the GPU that this process computes on, or "CPU"."""
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return str(details.get("device_name", "GPU"))
