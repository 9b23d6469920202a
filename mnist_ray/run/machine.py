"""What a machine has for trials: versions, memory, GPUs and their libraries.

Beside the standard library it imports `versions` alone: the functions of both are also sent to
nodes of a cluster, where nothing of this project need be installed.
"""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnist_ray.ledger.versions import installed_version

COMPARED_PACKAGES = ("ray", "tensorflow", "keras", "numpy", "pandas", "pyarrow")
"""Packages that must have one version throughout a cluster: they pickle objects or determine the
figures.
"""

_TENSORFLOW_LIMIT_SECONDS = 60.0

# A child process: TensorFlow takes seconds and 500 MB, and would hold on to the GPUs.
_ASK_TENSORFLOW = """
import json, tensorflow
build = tensorflow.sysconfig.get_build_info()
gpus = len(tensorflow.config.list_physical_devices("GPU"))
print("FOUND", json.dumps({"gpus": gpus, "build": build}))
"""


@dataclass(frozen=True)
class Machine:
    """A machine, as one of its processes sees it; sizes are bytes."""

    name: str
    python_version: str
    packages: dict[str, str | None]
    """Version of each of `COMPARED_PACKAGES`, None where it is not installed."""
    memory: int
    """What is there, or what a container may use."""
    shared_memory: int | None
    """What is free of /dev/shm; None where there is none (macOS)."""
    gpus: list[str]
    """Names of the NVIDIA GPUs, whether TensorFlow can use them or not."""
    tensorflow_gpus: int | None
    """How many GPUs TensorFlow sees; None where it does not start."""
    tensorflow_error: str
    """Why it does not start."""
    bfloat16: tuple[str, ...] | None = None
    """The instructions of its CPU for bfloat16, by Linux' names; None where it does not say."""
    cuda: dict[str, str] = field(default_factory=dict)
    """Versions, as far as they are known: `driver`, the newest CUDA that it supports
    (`driver_cuda`), the lowest compute capability of the GPUs (`capability`), the CUDA and cuDNN
    that TensorFlow was built for (`built_cuda`, `built_cudnn`), the lowest compute capability that
    it was built for (`built_capability`), and each of NVIDIA's packages that is installed."""


def describe_machine() -> dict[str, Any]:
    """The fields of `Machine`, in plain types that any version of Python unpickles.

    Takes as long as importing TensorFlow does: 3 to 10 s.
    """
    tensorflow, error = _ask_tensorflow()
    return {
        "name": socket.gethostname(),
        "python_version": platform.python_version(),
        "packages": {name: installed_version(name) for name in COMPARED_PACKAGES},
        "memory": _memory(),
        "shared_memory": _free_shared_memory(),
        "gpus": gpu_names(),
        "tensorflow_gpus": tensorflow.get("gpus"),
        "tensorflow_error": error,
        "bfloat16": _bfloat16_instructions(),
        "cuda": _cuda(tensorflow.get("build", {})),
    }


def _memory() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        Path("/sys/fs/cgroup/memory.max"),
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ]
    given = [limit.read_text().strip() for limit in limits if limit.is_file()]
    return min([physical, *(int(limit) for limit in given if limit.isdigit())])


def _free_shared_memory() -> int | None:
    return shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None  # noqa: S108


def _bfloat16_instructions() -> tuple[str, ...] | None:
    description = Path("/proc/cpuinfo")
    lines = description.read_text().splitlines() if description.is_file() else []
    for line in lines:
        if line.startswith(("flags", "Features")):
            return tuple(
                name for name in ("avx512_bf16", "amx_bf16", "bf16") if name in line.split()
            )
    return None


def smallest_gpu_memory() -> int | None:
    """Bytes of the smallest NVIDIA GPU's memory; None where none says what it has."""
    sizes = [size for size in _ask_gpus("memory.total") if size.isdigit()]
    return min(map(int, sizes)) * 2**20 if sizes else None


def gpu_driver() -> str | None:
    """The version of the NVIDIA driver; None where there is none."""
    return next(iter(_ask_gpus("driver_version")), None)


def gpu_names() -> list[str]:
    """The names of the NVIDIA GPUs, whether TensorFlow can use them or not."""
    return _ask_gpus("name")


def _ask_gpus(quantity: str) -> list[str]:
    """What nvidia-smi says of each card: sizes in MiB, without their unit."""
    query = ["nvidia-smi", f"--query-gpu={quantity}", "--format=csv,noheader,nounits"]
    return output_of(query).strip().splitlines()


def output_of(command: list[str], *, limit_seconds: float = 20) -> str:
    """What a program prints; empty where it fails, takes longer, or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_seconds)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _cuda(build: dict[str, Any]) -> dict[str, str]:
    """The versions that `Machine.cuda` holds; `build` is what TensorFlow says of itself."""
    capabilities = [each for each in _ask_gpus("compute_cap") if re.fullmatch(r"\d+\.\d+", each)]
    built_for = [re.sub(r"\D", "", each) for each in build.get("cuda_compute_capabilities", [])]
    found = {
        "driver": gpu_driver() or "",
        "driver_cuda": _driver_cuda(),
        "capability": min(capabilities, default="", key=float),
        "built_cuda": build.get("cuda_version", ""),
        "built_cudnn": build.get("cudnn_version", ""),
        "built_capability": f"{min(map(int, built_for)) / 10}" if built_for else "",
        **{
            name: package.version
            for package in importlib.metadata.distributions()
            if (name := package.name or "").startswith("nvidia-")
        },
    }
    return {name: version for name, version in found.items() if version}


def _driver_cuda() -> str:
    """The newest CUDA that the driver supports; it stands in nvidia-smi's heading alone."""
    found = re.search(r"CUDA Version:\s*([\d.]+)", output_of(["nvidia-smi"]))
    return found[1] if found else ""


def _ask_tensorflow() -> tuple[dict[str, Any], str]:
    """What TensorFlow says of the GPUs and of its build; or nothing, and why it does not start."""
    # Ray hides the GPUs from a task that asks for none; the child shall see what the machine has.
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        child = subprocess.run(
            [sys.executable, "-c", _ASK_TENSORFLOW],
            capture_output=True,
            text=True,
            env=environment,
            timeout=_TENSORFLOW_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {}, f"not imported after {_TENSORFLOW_LIMIT_SECONDS:g} s"
    for line in child.stdout.splitlines():
        if line.startswith("FOUND "):
            return json.loads(line.removeprefix("FOUND ")), ""
    return {}, last_words(child)


def last_words(child: "subprocess.CompletedProcess[str]") -> str:
    """The last line that a program wrote to its standard error, or else its exit code."""
    return (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
