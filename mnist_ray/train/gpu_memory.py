"""How much of a GPU's memory this process takes."""

import shutil
import subprocess

import tensorflow as tf


class GpuMemory:
    """The memory of the first GPU that TensorFlow sees, if it sees any."""

    def __init__(self) -> None:
        """Make TensorFlow start on the GPU, and measure what that takes.

        NVIDIA's driver is asked for it, since TensorFlow knows only of its tensors. Another process
        that starts at the same moment is counted as well.
        """
        self._exists = bool(tf.config.get_visible_devices("GPU"))
        self._of_cuda = 0
        if self._exists:
            before = _used_bytes()
            matrix = tf.ones((8, 8))
            tf.matmul(matrix, matrix).numpy()
            self._of_cuda = max(0, _used_bytes() - before)

    def reset(self) -> None:
        """Measure the peak from here on."""
        if self._exists:
            tf.config.experimental.reset_memory_stats("GPU:0")

    def peak(self) -> int | None:
        """Bytes of the most tensors at a time, and of CUDA itself; None without a GPU."""
        if not self._exists:
            return None
        return self._of_cuda + int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def _used_bytes() -> int:
    """What all processes take of all GPUs; 0 where NVIDIA's driver does not say."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    query = [program, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(int(size) for size in listing.split() if size.isdigit()) << 20
