"""The memory of a process that trains."""

import ctypes
import mmap
from contextlib import suppress
from pathlib import Path


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
