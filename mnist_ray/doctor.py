"""`python -m mnist_ray.doctor`: what works here and on a cluster, before a sweep is started.

It only looks: no Ray is started (and so no token made), nothing is downloaded, and what is written
to see whether results can be is removed again.
"""

import argparse
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mnist_ray.data import dataset as data
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.run import cluster, machine, packages
from mnist_ray.run.cluster import ClusterInfo
from mnist_ray.run.cluster_file import ClusterFile, load_cluster_file
from mnist_ray.run.machine import Machine

T = TypeVar("T")

RESULTS_LIMIT_SECONDS = 20.0
NODES_LIMIT_SECONDS = 90.0
"""For all nodes together; importing TensorFlow for the first time can take half of it."""
NEEDED_MEMORY = 2 << 30
"""Bytes: one trial, its data and Ray beside it."""
NEEDED_SHARED_MEMORY = 256 << 20
"""Bytes: MNIST in Ray's object store, which moves to the disk where it finds less."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's answer."""

    name: str
    ok: bool | None
    """None where it does not apply."""
    found: str
    remedy: str = ""
    """What to do, where `ok` is False and `found` does not say it already."""


@dataclass(frozen=True)
class Request:
    """What the doctor is asked to look at."""

    cluster_file: Path | None = None
    address: str | None = None
    results: str | None = None
    """A folder or URI; else what the cluster file names, else the sweep's default."""
    data: str | None = None


def examine(request: Request) -> list[Check]:
    """Every check, in the order of a person's way from the laptop to a cluster."""
    with ThreadPoolExecutor() as pool:  # TensorFlow takes seconds to import; the rest goes on
        here = pool.submit(lambda: Machine(**machine.describe_machine()))
        cluster_check, cluster_file = check_cluster_file(request.cluster_file)
        results = pool.submit(check_results, request.results, cluster_file)
        joined = [cluster_check, check_auth(request), *check_cluster(request.address)]
        own = [
            check_python(),
            check_packages(),
            check_pins(for_cluster=request.cluster_file is not None),
            *_machine_checks([here.result()], where="here"),
            check_data(request.data),
            results.result(),
        ]
    return own + joined


# --- This machine --------------------------------------------------------------------------------


def check_python() -> Check:
    """Whether this Python is one that the project supports."""
    fault = packages.python_fault(packages.read_requirements())
    if fault:
        return Check("Python", False, fault, "Make an environment with such a Python: uv venv")
    return Check("Python", True, platform.python_version())


def check_packages() -> Check:
    """Whether every package that the project needs is here, within its range."""
    errors = packages.package_faults(packages.read_requirements())
    if errors:
        return Check("packages", False, "; ".join(errors), "pip install -c constraints.txt .")
    found = {name: machine.installed_version(name) for name in machine.COMPARED_PACKAGES}
    return Check("packages", True, ", ".join(f"{name} {found[name]}" for name in found))


def check_pins(*, for_cluster: bool) -> Check:
    """Whether the packages that matter are those of constraints.txt, which a cluster's nodes have.

    Without a cluster only the ranges matter, so a difference is told but no fault.
    """
    name, path = "constraints", packages.find_constraints()
    if path is None:
        return Check(name, None, "there is no constraints.txt beside the package")
    pins = packages.read_constraints(path)
    matter = {package: pins[package] for package in machine.COMPARED_PACKAGES if package in pins}
    differences = packages.pin_differences(matter)
    if not differences:
        return Check(name, True, f"{', '.join(matter)} as in {path.name}")
    found = "; ".join(differences)
    if not for_cluster:
        return Check(name, None, f"matters for a cluster only: {found}")
    return Check(name, False, found, f"pip install -c {path.name} .")


def check_memory(machines: Sequence[Machine], *, where: str) -> Check:
    """Whether the smallest machine can hold a trial."""
    name, least = f"memory {where}", min(machines, key=lambda one: one.memory)
    found = f"{_gib(least.memory)}{_of(least, machines)}"
    if least.memory >= NEEDED_MEMORY:
        return Check(name, True, found)
    remedy = f"A trial needs {_gib(NEEDED_MEMORY)}: take a larger machine or raise its limit"
    return Check(name, False, found, remedy)


def check_shared_memory(machines: Sequence[Machine], *, where: str) -> Check:
    """Whether Ray's object store, through which trials get their data, fits in /dev/shm."""
    name = f"/dev/shm {where}"  # noqa: S108 - no file of ours
    known = [one for one in machines if one.shared_memory is not None]
    if not known:
        return Check(name, None, "this system has none; Ray uses files")
    least = min(known, key=lambda one: one.shared_memory or 0)
    size = least.shared_memory or 0
    found = f"{_gib(size)} free{_of(least, machines)}"
    if size >= NEEDED_SHARED_MEMORY:
        return Check(name, True, found)
    return Check(name, False, found, "In a container: docker run --shm-size=2g, or delete files")


def check_gpus(machines: Sequence[Machine], *, where: str) -> Check:
    """Whether TensorFlow starts, and sees every GPU that is there."""
    name = f"TensorFlow {where}"
    for one in machines:
        if one.tensorflow_gpus is None:
            found = f"does not start{_of(one, machines)}: {one.tensorflow_error}"
            return Check(name, False, found, "pip install -c constraints.txt .")
    blind = [one for one in machines if (one.tensorflow_gpus or 0) < len(one.gpus)]
    if blind:
        one = blind[0]
        found = f"sees {one.tensorflow_gpus} of {len(one.gpus)} GPUs{_of(one, machines)}"
        remedy = (
            "pip install -c constraints.txt '.[cuda]' (not tensorflow-cpu), and see that "
            "nvidia-smi shows a driver that is new enough"
        )
        return Check(name, False, found, remedy)
    return Check(name, True, _gpus_in_words(machines))


def check_data(path: str | None) -> Check:
    """Whether MNIST is here; if not, what a sweep would do. Nothing is downloaded.

    Args:
        path: where it lies; else MNIST_RAY_DATA says so, else it is looked up in Keras' cache.
    """
    name, given = "data set", path or os.environ.get("MNIST_RAY_DATA")
    if given:
        source = "--data" if path else "MNIST_RAY_DATA"
        try:
            dataset = data.load_dataset("mnist", data=given)
        except InputError as error:
            return Check(name, False, f"{source}: {error}")
        images = len(dataset.train_images) + len(dataset.test_images)
        return Check(name, True, f"{given} ({source}): {images} images")
    cached = data.find_cached_mnist()
    if cached is not None:
        return Check(name, True, f"MNIST in Keras' cache: {cached}")
    found = (
        "MNIST is not in Keras' cache. A sweep of MNIST would download it there (11 MB); without "
        "network, `notebook` runs on scikit-learn's digits when no space is named"
    )
    return Check(name, None, found)


def check_results(location: str | None, cluster_file: ClusterFile | None) -> Check:
    """Whether one small object can be put, read and deleted where the results go."""
    name = "results"
    if location is None and cluster_file is not None:
        location = cluster_file.results
        if location is None:
            found = f"{cluster_file.path}: metadata.results names no bucket yet; not tried"
            return Check(name, None, found)
    place = location or "results"
    try:
        _within(RESULTS_LIMIT_SECONDS, lambda: _try_to_write(place))
    except InputError as error:
        return Check(
            name, False, str(error), "See that the path, network and credentials are right"
        )
    except TimeoutError:
        found = f"{place}: no answer in {RESULTS_LIMIT_SECONDS:g} s"
        return Check(name, False, found, "See that the URI and the network are right")
    return Check(name, True, f"{place}: written, read and deleted")


# --- The cluster ---------------------------------------------------------------------------------


def check_cluster_file(path: Path | None) -> tuple[Check, ClusterFile | None]:
    """Whether Ray and this project's rules accept the file; and the file, if they do."""
    name = "cluster file"
    if path is None:
        return Check(name, None, "none given (--cluster cluster.yaml)"), None
    try:
        found = load_cluster_file(path)
    except InputError as error:
        return Check(name, False, str(error)), None
    return Check(name, True, f"{path}: {found.workers}"), found


def check_auth(request: Request) -> Check:
    """Whether a token is here and is sent, where there is a cluster to send it to."""
    name, token = "token", cluster.find_token()
    if request.cluster_file is None and _address_or_none(request.address) is None:
        return Check(name, None, "a Ray of one's own is reached from this machine alone")
    if not token.usable:
        return Check(name, False, f"none in {token.source}", cluster.MAKE_TOKEN)
    if not cluster.token_is_used():
        found = f"in {token.source}, but RAY_AUTH_MODE is not `token`: it is not sent"
        return Check(name, False, found, cluster.USE_TOKEN)
    return Check(name, True, f"in {token.source}, and sent")


def check_cluster(address: str | None) -> list[Check]:
    """Whether a running cluster answers, is closed to strangers, and has fit nodes.

    Args:
        address: as given; else RAY_ADDRESS says it.
    """
    name = "cluster"
    try:
        place = cluster.find_address(address)
        if place is None:
            return [Check(name, None, "none given (--address auto or host:port)")]
        info = cluster.check_reachable(place)
        cluster.check_same_versions(info)
    except InputError as error:
        return [Check(name, False, str(error))]
    words = f"{info.address}: Ray {info.ray_version}, Python {info.python_version}"
    return [Check(name, True, words), check_closed(info), *_check_nodes(place)]


def check_closed(info: ClusterInfo) -> Check:
    """Whether the cluster refuses whoever has no token."""
    name = "cluster's auth"
    if not cluster.answers_without_token(info):
        return Check(name, True, "refuses whoever has no token")
    found = "off: anyone who reaches it can run code there"
    remedy = f"{cluster.MAKE_TOKEN}, and start Ray with RAY_AUTH_MODE=token on every node"
    return Check(name, False, found, remedy)


def _check_nodes(address: str) -> list[Check]:
    try:
        nodes = describe_nodes(address)
    except Exception as error:  # Ray's own kinds are many, and each means that it does not work
        found = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        remedy = "Run this on a machine of the cluster: ray exec cluster.yaml '...'"
        return [Check("nodes", False, found, remedy)]
    return [check_node_versions(nodes), *_machine_checks(nodes, where="on nodes")]


def check_node_versions(nodes: Sequence[Machine]) -> Check:
    """Whether Python and the packages that matter are the same here and on every node."""
    name, here = "nodes' versions", platform.python_version()
    own = {package: machine.installed_version(package) for package in machine.COMPARED_PACKAGES}
    differences = [
        f"{node.name}: {what} {there or 'missing'}, here {expected or 'missing'}"
        for node in nodes
        for what, there, expected in [
            ("Python", node.python_version, here),
            *((package, node.packages.get(package), own[package]) for package in own),
        ]
        if there != expected
    ]
    if differences:
        remedy = "Install the same on every node: pip install -c constraints.txt ."
        return Check(name, False, _shortened(differences), remedy)
    return Check(name, True, f"the same here and on {len(nodes)}")


def describe_nodes(address: str) -> list[Machine]:
    """Every living node of the cluster, described by a task of its own on it.

    Raises:
        Exception: Ray can't be joined, or a node does not answer in time.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Ray then sends the functions themselves: the project need not be installed on the nodes.
    ray.cloudpickle.register_pickle_by_value(machine)
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    try:
        describe = ray.remote(num_cpus=0, max_retries=0)(machine.describe_machine)
        tasks = [
            describe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in ray.nodes()
            if node["Alive"]
        ]
        answers: list[dict[str, Any]] = ray.get(tasks, timeout=NODES_LIMIT_SECONDS)
    finally:
        ray.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(machine)
    return [Machine(**answer) for answer in answers]


# --- Words and means -----------------------------------------------------------------------------


def _machine_checks(machines: Sequence[Machine], *, where: str) -> list[Check]:
    checks = (check_memory, check_shared_memory, check_gpus)
    return [check(machines, where=where) for check in checks]


def _address_or_none(given: str | None) -> str | None:
    """The cluster asked for, whatever its form: `check_cluster` tells what is wrong with it."""
    try:
        return cluster.find_address(given)
    except InputError:
        return given or "RAY_ADDRESS"


def _try_to_write(place: str) -> None:
    folder = ResultsFolder.open(place)
    with _no_new_folders(Path(folder.path) if folder.is_local else None):
        folder.check_writable()


@contextmanager
def _no_new_folders(path: Path | None) -> Iterator[None]:
    """Removes, at the end, the folders down to `path` that were not there at the beginning."""
    candidates = [] if path is None else [path, *path.parents]
    missing = [folder for folder in candidates if not folder.exists()]
    try:
        yield
    finally:
        for folder in missing:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises; a TimeoutError where it takes longer.

    A thread that does not end with the process does it: pyarrow's connections have no time limit
    that could be set for all kinds of storage.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(timeout=seconds)


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


# --- The command ---------------------------------------------------------------------------------


def show(checks: Sequence[Check]) -> None:
    """Print the checks, one below the other; in colours on a terminal, plainly elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    marks = _marks()
    if not sys.stdout.isatty():
        for check in checks:
            remedy = f"\nremedy: {check.remedy}" if check.remedy else ""
            text = f"{marks[check.ok]} {check.name}: {check.found}{remedy}"
            print(text.replace("\n", "\n    "))
        return
    styles = {True: "green", False: "bold red", None: "dim"}
    table = Table.grid(padding=(0, 2))
    for check in checks:
        found = Text(check.found, style="dim" if check.ok is None else "")
        if check.remedy:
            found.append(f"\nremedy: {check.remedy}", style="yellow")
        table.add_row(Text(marks[check.ok], style=styles[check.ok]), check.name, found)
    Console().print(table)


def _marks() -> dict[bool | None, str]:
    """A sign for each outcome that standard output can write."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return {True: "ok  ", False: "FAIL", None: "-   "}
    return {True: "✓", False: "✗", None: "-"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code: 0 where nothing is wrong, else 1."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before anything imports Ray
    request = _parse(arguments)
    checks = examine(request)
    show(checks)
    wrong = sum(check.ok is False for check in checks)
    print(f"{wrong} to mend" if wrong else "Nothing stands in the way.")
    return 1 if wrong else 0


def _parse(arguments: Sequence[str] | None) -> Request:
    parser = argparse.ArgumentParser(prog="python -m mnist_ray.doctor", description=__doc__)
    parser.add_argument("--cluster", type=Path, metavar="FILE", help="check a cluster.yaml")
    parser.add_argument("--address", metavar="ADDR", help="check a running cluster: auto|host:port")
    parser.add_argument("--results", metavar="DIR|URI", help="where the sweep shall write")
    parser.add_argument("--data", metavar="PATH", help="where MNIST lies")
    given = parser.parse_args(arguments)
    return Request(given.cluster, given.address, given.results, given.data)


if __name__ == "__main__":
    sys.exit(main())
