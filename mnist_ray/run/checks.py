"""What the doctor examines: this machine, the data, the place of the results, and a cluster.

A check is a function that returns what it found. It raises `Unfit` where that is not good enough,
and `NotApplicable` where there is nothing to examine.
"""

import os
import platform
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

from mnist_ray.data.dataset import load_dataset
from mnist_ray.data.keras_cache import find_cached_mnist
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.versions import installed_version
from mnist_ray.run import cluster, packages
from mnist_ray.run.cluster_file import ClusterFile
from mnist_ray.run.cuda_versions import cuda_faults, cuda_in_words
from mnist_ray.run.device_trials import DeviceTrials
from mnist_ray.run.machine import COMPARED_PACKAGES, Machine

P = ParamSpec("P")
_RESULTS_LIMIT_SECONDS = 20.0
_NEEDED_MEMORY = 2 << 30
"""Bytes: one trial, its data and Ray beside it."""
_NEEDED_SHARED_MEMORY = 256 << 20
"""Bytes: MNIST in Ray's object store, which moves to the disk where it finds less."""

_INSTALL = "pip install -c constraints.txt ."
_INSTALL_CUDA = "pip install -c constraints.txt '.[cuda]'"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's answer."""

    name: str
    ok: bool | None
    """None where it does not apply."""
    found: str
    remedy: str = ""
    """What to do, where `ok` is False and `found` does not say it already."""


class Unfit(Exception):  # noqa: N818 - a finding, not an error of the program
    """What was found is not good enough; `remedy` says what to do, where the finding does not."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.remedy = remedy


class NotApplicable(Exception):  # noqa: N818 - a finding, not an error of the program
    """There is nothing to examine, and nothing wrong with that."""


def conclude(name: str, examine: Callable[P, str], *given: P.args, **named: P.kwargs) -> Check:
    """The check called `name`, of what `examine` is `given`."""
    try:
        return Check(name, True, examine(*given, **named))
    except NotApplicable as reason:
        return Check(name, None, str(reason))
    except Unfit as unfit:
        return Check(name, False, str(unfit), unfit.remedy)
    except InputError as error:
        return Check(name, False, str(error))


# This machine


def python() -> str:
    """Whether this Python is one that the project supports."""
    python, *_ = packages.read_requirements()
    for fault in packages.range_faults([python], packages.installed([python])):
        raise Unfit(fault, "Make an environment with such a Python: uv venv")
    return platform.python_version()


def installed_packages() -> str:
    """Whether every package that the project needs is here, within its range."""
    _, *needed = packages.read_requirements()
    if faults := packages.range_faults(needed, packages.installed(needed)):
        raise Unfit("; ".join(faults), _INSTALL)
    return ", ".join(f"{name} {installed_version(name)}" for name in COMPARED_PACKAGES)


def pins(*, for_cluster: bool, path: Path | None = None) -> str:
    """Whether the packages that matter are those of constraints.txt, which a cluster's nodes have.

    Without a cluster only the ranges matter, so a difference is shown but is not wrong.
    """
    path = path or packages.find_constraints()
    if path is None:
        raise NotApplicable("there is no constraints.txt beside the package")
    pinned = packages.read_constraints(path)
    matter = {package: pinned[package] for package in COMPARED_PACKAGES if package in pinned}
    found = {package: installed_version(package) for package in matter}
    differences = [
        f"{package} {found[package]} here, {pin} pinned"
        for package, pin in matter.items()
        if found[package] not in (None, pin)
    ]
    if not differences:
        return f"{', '.join(matter)} are as {path.name} pins them"
    if for_cluster:
        raise Unfit("; ".join(differences), f"pip install -c {path.name} .")
    raise NotApplicable(f"matters for a cluster only: {'; '.join(differences)}")


def memory(machines: Sequence[Machine]) -> str:
    """Whether the smallest machine can hold a trial."""
    least = min(machines, key=lambda one: one.memory)
    found = f"{_gib(least.memory)}{_of(least, machines)}"
    if least.memory < _NEEDED_MEMORY:
        remedy = f"A trial needs {_gib(_NEEDED_MEMORY)}: take a larger machine or raise its limit"
        raise Unfit(found, remedy)
    return found


def shared_memory(machines: Sequence[Machine]) -> str:
    """Whether Ray's object store, through which trials get their data, fits in /dev/shm."""
    sizes = [(one.shared_memory, one) for one in machines if one.shared_memory is not None]
    if not sizes:
        raise NotApplicable("this system has none; Ray uses files")
    least, where = min(sizes, key=lambda size: size[0])
    found = f"{_gib(least)} free{_of(where, machines)}"
    if least < _NEEDED_SHARED_MEMORY:
        raise Unfit(found, "In a container: docker run --shm-size=2g, or delete files")
    return found


def bfloat16(machines: Sequence[Machine]) -> str:
    """Whether every CPU has instructions for bfloat16, which make `mixed_bfloat16` worthwhile."""
    for one in machines:
        if one.bfloat16 is None:
            raise NotApplicable(f"the CPU{_of(one, machines)} does not say")
        if not one.bfloat16:
            raise NotApplicable(
                f"the CPU{_of(one, machines)} has no instructions for it (such as AVX512-BF16), so "
                "precision: mixed_bfloat16 need not be faster than float32"
            )
    names = ", ".join(dict.fromkeys(name for one in machines for name in one.bfloat16 or ()))
    return f"{names}; precision: mixed_bfloat16 can train faster here than float32"


def tensorflow(machines: Sequence[Machine]) -> str:
    """Whether TensorFlow starts, and sees every GPU that is there."""
    for one in machines:
        if one.tensorflow_gpus is None:
            raise Unfit(f"does not start{_of(one, machines)}: {one.tensorflow_error}", _INSTALL)
    for one in machines:
        if (one.tensorflow_gpus or 0) < len(one.gpus):
            raise Unfit(
                f"sees {one.tensorflow_gpus} of {len(one.gpus)} GPUs{_of(one, machines)}",
                f"{_INSTALL_CUDA} (not tensorflow-cpu), and see that nvidia-smi shows a driver "
                "that is new enough",
            )
    return _gpus_in_words(machines)


def cuda(machines: Sequence[Machine]) -> str:
    """Whether driver and CUDA's libraries are of versions that TensorFlow works with."""
    with_gpus = [one for one in machines if one.gpus]
    if not with_gpus:
        raise NotApplicable("needed for NVIDIA's GPUs only")
    needed = packages.cuda_requirements()
    faults = [
        f"{fault}{_of(one, machines)}"
        for one in with_gpus
        for fault in cuda_faults(one.cuda, needed)
    ]
    if faults:
        remedy = f"{_INSTALL_CUDA}; a newer driver: https://www.nvidia.com/drivers"
        raise Unfit(_shortened(faults), remedy)
    return "; ".join(dict.fromkeys(cuda_in_words(one.cuda) for one in with_gpus))


MACHINE_CHECKS: dict[str, Callable[[Sequence[Machine]], str]] = {
    "memory": memory,
    "/dev/shm": shared_memory,  # noqa: S108 - no file of ours
    "bfloat16": bfloat16,
    "TensorFlow": tensorflow,
    "CUDA": cuda,
}


def training(trained: DeviceTrials | None) -> str:
    """Whether every architecture trains in every precision, with XLA and without."""
    if trained is None:
        raise NotApplicable("done only where there is a GPU (on CPUs: --train cpu)")
    trials = trained.trials
    failed = [f"{trial.name}: {trial.result}" for trial in trials if isinstance(trial.result, str)]
    if failed:
        counted = f"{len(failed)} of {len(trials)} combinations do not train"
        raise Unfit(f"{counted}: {_shortened(failed)}", "See CUDA and TensorFlow above")
    return f"{len(trials)} combinations of architecture, precision and XLA train"


def mnist(path: str | None) -> str:
    """Whether MNIST is here; if not, what a sweep would do. Nothing is downloaded.

    Args:
        path: where it lies; else MNIST_RAY_DATA says so, else it is looked up in Keras' cache.
    """
    given = path or os.environ.get("MNIST_RAY_DATA")
    if given:
        source = "--data" if path else "MNIST_RAY_DATA"
        try:
            dataset = load_dataset("mnist", data=given)
        except InputError as error:
            raise Unfit(f"{source}: {error}") from error
        images = len(dataset.train_images) + len(dataset.test_images)
        return f"{given} ({source}): {images} images"
    cached = find_cached_mnist()
    if cached is not None:
        return f"MNIST in Keras' cache: {cached}"
    raise NotApplicable(
        "MNIST is not in Keras' cache. A sweep of MNIST would download it there (11 MB); without "
        "network, `notebook` runs on scikit-learn's digits when no space is named"
    )


def results(location: str | None, cluster_file: ClusterFile | None) -> str:
    """Whether one small object can be put, read and deleted where the results go."""
    if location is None and cluster_file is not None:
        location = cluster_file.results
        if location is None:
            raise NotApplicable(
                f"{cluster_file.path}: metadata.results names no bucket yet; not tried"
            )
    place = location or "results"
    try:
        _try_to_write(place)
    except TimeoutError as error:
        found = f"{place}: no answer in {_RESULTS_LIMIT_SECONDS:g} s"
        raise Unfit(found, "See that the URI and the network are right") from error
    except InputError as error:
        raise Unfit(str(error), "See that the path, network and credentials are right") from error
    return f"{place}: written, read and deleted"


# The cluster


def token(*, is_needed: bool) -> str:
    """Whether a token is here and is sent, where there is a cluster to send it to."""
    if not is_needed:
        raise NotApplicable("needed for a cluster only")
    found = cluster.find_token()
    if not found.usable:
        raise Unfit(f"none in {found.source}", cluster.MAKE_TOKEN)
    if not cluster.token_is_used():
        raise Unfit(
            f"found in {found.source}, but not sent, because RAY_AUTH_MODE is not `token`",
            cluster.USE_TOKEN,
        )
    return f"in {found.source}, and sent"


def reachable(address: str | None) -> str:
    """Whether a running cluster answers at `address`, with the versions that are here."""
    if address is None:
        raise NotApplicable("none given (--address auto or host:port)")
    info = cluster.check_joinable(address)
    return f"{info.address}: Ray {info.ray_version}, Python {info.python_version}"


def closed(address: str) -> str:
    """Whether the cluster at `address` refuses whoever has no token."""
    if cluster.answers_without_token(address):
        raise Unfit(
            "off: anyone who reaches it can run code there",
            f"{cluster.MAKE_TOKEN}, and start Ray with RAY_AUTH_MODE=token on every node",
        )
    return "refuses whoever has no token"


def node_versions(nodes: Sequence[Machine]) -> str:
    """Whether Python and the packages that matter are the same here and on every node."""
    here = {package: installed_version(package) for package in COMPARED_PACKAGES}
    here["Python"] = platform.python_version()
    differences = [
        f"{node.name}: {what} {there or 'missing'}, here {here[what] or 'missing'}"
        for node in nodes
        for what, there in {"Python": node.python_version, **node.packages}.items()
        if there != here[what]
    ]
    if differences:
        remedy = "Install the same on every node: pip install -c constraints.txt ."
        raise Unfit(_shortened(differences), remedy)
    return f"the same here and on {len(nodes)}"


# Words and means


def _try_to_write(place: str) -> None:
    """Put, read and delete a small object; a TimeoutError where that takes too long.

    It runs in a thread that the process does not wait for at its end: pyarrow's connections have
    no time limit that could be set for all kinds of storage.
    """
    answer: Future[None] = Future()

    def write() -> None:
        try:
            ResultsFolder.open(place).check_writable(leave_no_trace=True)
            answer.set_result(None)
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=write, daemon=True).start()
    answer.result(timeout=_RESULTS_LIMIT_SECONDS)


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def _of(one: Machine, machines: Sequence[Machine]) -> str:
    """Which machine it is, where there are several."""
    return f" on {one.name}" if len(machines) > 1 else ""


def _gpus_in_words(machines: Sequence[Machine]) -> str:
    names = sorted(name for one in machines for name in one.gpus)
    if not names:
        return "starts; there is no GPU, so trials run on CPUs"
    kinds = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    return f"starts, and sees every GPU: {kinds}"


def _shortened(differences: Sequence[str], most: int = 4) -> str:
    rest = len(differences) - most
    return "; ".join(differences[:most]) + (f"; and {rest} more" if rest > 0 else "")
