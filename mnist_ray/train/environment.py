"""Environment variables of the processes of a sweep."""

import contextlib
import os
from collections.abc import Iterator, Mapping

WORKER_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The memory of a step goes back when the step is over, in huge pages that make it cheap to take
    # again. TensorFlow's own pool keeps 300 MB that the shifted CNN needs for a moment only.
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",
    # All but the largest blocks are kept for the next step. Left to itself, the C library comes to
    # that too, but after up to 60 steps of the shifted CNN, some of them at half the speed.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"
    f":glibc.malloc.mmap_threshold={32 << 20}:glibc.malloc.trim_threshold={128 << 20}",
}
"""What a process that trains must find in its environment when it starts."""


@contextlib.contextmanager
def environment_restored() -> Iterator[None]:
    """Give this process the environment variables back that it had before the block.

    A notebook's kernel goes on after a sweep, which sets variables for Ray and for trackers.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        restore(before)


def restore(variables: Mapping[str, str]) -> None:
    """Give this process these environment variables, and no others."""
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
