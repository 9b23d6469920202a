"""The memory that a training process takes, of its machine and of a GPU."""

import ctypes
import mmap
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import tensorflow as tf


def give_back_memory() -> None:
    """Return the C library's free memory to the system, before something large is made."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def drop_code_of_import() -> None:
    """Drop machine code from this process' memory (Linux) until it is run again.

    Importing TensorFlow runs 200 MB of code that no trial needs. What is needed after all is read
    from its file again.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for line in Path("/proc/self/maps").read_text().splitlines():
            place, permissions, _, _, file, *_ = line.split()
            if permissions == "r-xp" and file != "0":
                first, last = (int(address, 16) for address in place.split("-"))
                size = ctypes.c_size_t(last - first)
                libc.madvise(ctypes.c_void_p(first), size, mmap.MADV_DONTNEED)


def reset_peak_memory() -> None:
    """Measure the peak from here on (Linux): a worker reports the peak of each of its trials."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The peak of this process' resident memory, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # There is none on Windows.

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
