"""The versions of driver, CUDA and cuDNN, compared with what TensorFlow was built for.

The libraries come with the extra `cuda`, as NVIDIA's packages; the driver is the machine's own.
"""

from collections.abc import Iterable, Mapping

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from mnist_ray.run.packages import range_faults

OLDEST_DRIVERS = {"11": "450.80.02", "12": "525.60.13", "13": "580.65.06"}
"""By CUDA's major version, on Linux: NVIDIA's release notes, "minor version compatibility"."""

_RELIABLE_COMPILER = "12.6.85"
_NEEDS_IT_FROM = "9.0"


def cuda_faults(found: Mapping[str, str], needed: Iterable[Requirement]) -> list[str]:
    """Each version that TensorFlow cannot work with, with what is allowed.

    Args:
        found: as `mnist_ray.run.machine.Machine.cuda`; what is not known is not a fault.
        needed: TensorFlow's own ranges of NVIDIA's packages.
    """
    major = _major(found)
    oldest_driver = OLDEST_DRIVERS.get(major, "")
    compiler = _package("cuda-nvcc", found)
    faults = []
    if _is_below(found.get("driver"), oldest_driver):
        faults.append(f"driver {found['driver']}, allowed from {oldest_driver} (CUDA {major})")
    if _is_below(found.get("capability"), found.get("built_capability", "")):
        faults.append(
            f"GPU of compute capability {found['capability']}, allowed from "
            f"{found['built_capability']}"
        )
    faults += range_faults((each for each in needed if each.name in found), found)
    is_recent_card = not _is_below(found.get("capability", "0"), _NEEDS_IT_FROM)
    if is_recent_card and _is_below(found.get(compiler), _RELIABLE_COMPILER):
        # https://github.com/openxla/xla/pull/19927
        faults.append(
            f"{compiler} {found[compiler]} computes wrong results on GPUs of compute capability "
            f"{_NEEDS_IT_FROM} and above, allowed from {_RELIABLE_COMPILER}"
        )
    return faults


def cuda_in_words(found: Mapping[str, str]) -> str:
    """What is here, and what TensorFlow was built for."""
    driver = f"driver {found.get('driver', 'of unknown version')}"
    if "driver_cuda" in found:
        driver += f" (up to CUDA {found['driver_cuda']})"
    libraries = [
        f"{label} {found.get(_package(name, found), 'of unknown version')}"
        for label, name in {"CUDA": "cuda-runtime", "cuDNN": "cudnn"}.items()
    ]
    built = f"built for CUDA {found.get('built_cuda')} and cuDNN {found.get('built_cudnn')}"
    words = f"{', '.join([driver, *libraries])}; TensorFlow was {built}"
    compiler = _package("cuda-nvcc", found)
    # A driver says `12.9` of the CUDA that it supports, where the compiler is of `12.9.86`.
    if _is_below(found.get("driver_cuda"), ".".join(found.get(compiler, "").split(".")[:2])):
        words += (
            f". The driver is older than the compiler ({compiler} {found[compiler]}): it works, "
            "but XLA compiles more slowly"
        )
    return words


def _major(found: Mapping[str, str]) -> str:
    return found.get("built_cuda", "").partition(".")[0]


def _package(name: str, found: Mapping[str, str]) -> str:
    """The name under which NVIDIA publishes a library for TensorFlow's CUDA."""
    return f"nvidia-{name}-cu{_major(found)}"


def _is_below(version: str | None, least: str) -> bool:
    """Whether both are known and the first is the lower one."""
    try:
        return bool(version and least) and Version(version or "") < Version(least)
    except InvalidVersion:
        return False
