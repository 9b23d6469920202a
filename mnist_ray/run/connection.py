"""Ray: one that the sweep starts for itself, or a cluster; and what its machines have."""

import contextlib
import importlib
import json
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_ray.errors import InputError
from mnist_ray.plan.resources import Node, Request
from mnist_ray.run.machine import gpu_names, smallest_gpu_memory
from mnist_ray.train.environment import WORKER_ENVIRONMENT

PATIENCE_SECONDS = 10.0
"""How long trials may wait for room before that is reported."""
_ASKING_SECONDS = 60.0
"""How long a node may take to report its GPUs; it may have to fetch the code first."""
_USUAL_GPU_BYTES = 16e9
"""Memory assumed of a card that does not report it."""

_MEMORY_FOR_TRIALS = 0.7
"""The share of a machine's memory that Ray gives to processes, about."""

_DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A sweep that runs as a job: see `runtime_environment`.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
    # Workers that Ray starts in advance take the processor from those that trials get.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000000",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "1000000000",
}


@contextlib.contextmanager
def connected(
    address: str | None,
    *,
    verbose: bool,
    modules: Sequence[Path] = (),
    meanwhile: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Ray, for as long as the block lasts: a new one on this machine, or the cluster at `address`.

    A cluster's own processes go on afterwards; only what this sweep started there ends.

    Args:
        address: `auto` or `host:port`; None for a new one.
        verbose: whether to show what Ray and the workers say.
        modules: what a cluster's workers must be able to import beside this package: files of
            modules and folders of packages.
        meanwhile: called in another thread, since Ray mostly waits while it starts.

    Raises:
        InputError: this process uses Ray already, as a notebook may.
    """
    _refuse_other_ray()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if meanwhile:
        threading.Thread(target=meanwhile, daemon=True).start()
    _start(address, verbose=verbose, modules=modules)
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        # Ray's own handler would end the driver at once, with a C++ stack trace.
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        with contextlib.nullcontext() if verbose else _without_messages_of_raylets():
            yield
    finally:
        _stop_autoscaler()
        ray.shutdown()


def _refuse_other_ray() -> None:
    if ray.is_initialized():
        # It was started without the environment that workers need, and it is not ours to stop.
        raise InputError(
            "Ray already runs in this process, which a sweep cannot share. Call ray.shutdown() "
            "first, or run the sweep in a process of its own. A cluster goes on running after "
            "ray.shutdown(), and the sweep joins it by its address (--address)."
        )


def _start(address: str | None, *, verbose: bool, modules: Sequence[Path]) -> None:
    is_new = address is None
    os.environ.update({**_DRIVER_ENVIRONMENT, **(WORKER_ENVIRONMENT if is_new else {})})
    level = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray").setLevel(level)
    # For each lost process Ray Tune logs a traceback of its own code; the listener reports it.
    logging.getLogger("ray.tune").setLevel(level if verbose else logging.CRITICAL)
    ray.init(
        # "local" starts one even if a cluster has left its address in Ray's temporary folder.
        address="local" if is_new else address,
        include_dashboard=False if is_new else None,
        log_to_driver=verbose,
        logging_level=level,
        runtime_env=None if is_new else runtime_environment(modules),
        configure_logging=True,
    )


def runtime_environment(
    modules: Sequence[Path], *, variables: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """What the workers of a cluster are given: this package, `modules`, and their environment.

    A sweep that runs as a job of the cluster has the job's runtime environment too. Left to itself,
    Ray refuses to merge two environments that set the same key. Here the variables that the job
    sets stay as they are, and the modules that it ships are kept beside the sweep's.

    Args:
        modules: files of modules and folders of packages.
        variables: the environment of this process, in which Ray leaves the job's configuration.
    """
    job = json.loads(variables.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("runtime_env") or {}
    ours = [str(path) for path in (Path(__file__).parent.parent, *modules)]
    given = job.get("env_vars") or {}
    missing = {name: value for name, value in WORKER_ENVIRONMENT.items() if name not in given}
    return {"py_modules": [*(job.get("py_modules") or []), *ours], "env_vars": missing}


def this_machine() -> Node:
    """What Ray would find here if it started now: cores, cards and memory within their limits.

    Raises:
        InputError: too little memory is free for Ray to start.
    """
    found = _resources_here()
    return _node(found, _cards() if found.get("GPU") else {})


def nodes() -> list[Node]:
    """What each living node of the cluster has to give."""
    found = resources_by_node()
    cards = _cards_of([node_id for node_id, has in found.items() if has.get("GPU")])
    return [_node(has, cards.get(node_id, {})) for node_id, has in found.items()]


def resources_by_node() -> dict[str, dict[str, float]]:
    """What each living node of the cluster says of itself, by its id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def _node(resources: Mapping[str, float], cards: Mapping[str, Any]) -> Node:
    cpus, gpus, memory = (resources.get(name, 0.0) for name in ("CPU", "GPU", "memory"))
    return Node(cpus=cpus, gpus=gpus, memory_bytes=memory, **cards)


def _cards() -> dict[str, Any]:
    """What a `Node` says of the GPUs that are here."""
    memory = smallest_gpu_memory() or _USUAL_GPU_BYTES
    return {"gpu_memory_bytes": memory, "gpu_names": tuple(gpu_names())}


def _cards_of(node_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each of those nodes, what a `Node` says of its GPUs."""
    found: dict[str, dict[str, Any]] = {
        node_id: {"gpu_memory_bytes": _USUAL_GPU_BYTES} for node_id in node_ids
    }
    asked = ask_nodes(_cards, node_ids)
    if asked:
        for answer in ray.wait([*asked], num_returns=len(asked), timeout=_ASKING_SECONDS)[0]:
            with contextlib.suppress(RayError):  # The node may have gone.
                found[asked[answer]] = ray.get(answer)
    return found


def ask_nodes(
    question: Callable[[], Any], node_ids: Sequence[str], *, max_retries: int = 3
) -> dict[ray.ObjectRef, str]:
    """Call a function on each of those nodes; the answers to come, and the node of each."""
    ask = ray.remote(num_cpus=0, max_retries=max_retries)(question)
    places = {node_id: NodeAffinitySchedulingStrategy(node_id, soft=False) for node_id in node_ids}
    return {ask.options(scheduling_strategy=at).remote(): node for node, at in places.items()}


def await_node(request: Request, *, waiting: Callable[[Request], None]) -> None:
    """Wait until a node can hold `request`; an autoscaler sees it as demand and adds one.

    If that takes long, `waiting` is called with the request.
    """
    # A task, because the demand of a task ends with the program in any case.
    nothing = ray.remote(num_cpus=request.cpus, num_gpus=request.gpus)(lambda: None)
    arrival = nothing.remote()
    if not ray.wait([arrival], timeout=PATIENCE_SECONDS)[0]:
        waiting(request)
        ray.get(arrival)


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Suppresses a logger's messages below errors."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


# What is private to Ray, and only saves time or output


def _private(module: str, name: str) -> Any:
    """None where Ray no longer has it."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None


def _resources_here() -> dict[str, float]:
    # Ray has no public way to ask without starting it.
    specification = _private("ray._private.resource_and_label_spec", "ResourceAndLabelSpec")
    if specification is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return {"CPU": float(os.cpu_count() or 1), "memory": _MEMORY_FOR_TRIALS * memory}
    address = "127.0.0.1"  # given, because Ray would ask the network for it
    try:
        with quiet("ray"):  # In a container, of how it once counted processors.
            found = specification().resolve(is_head=True, node_ip_address=address)
    except ValueError as error:
        raise InputError(
            f"this machine: too little memory is free for Ray ({error}) Stop other programs, raise "
            "the container's limit, or take a larger machine."
        ) from error
    return dict(found.to_resource_dict())


def _stop_autoscaler() -> None:
    """Stop the autoscaler of a Ray that runs on this machine alone.

    `ray.shutdown` stops the server that the autoscaler asks before the autoscaler itself, and then
    waits a second for an answer that cannot come.
    """
    node = _private("ray._private.worker", "_global_node")
    if hasattr(node, "kill_monitor"):
        node.kill_monitor(check_alive=False)


@contextlib.contextmanager
def _without_messages_of_raylets() -> Iterator[None]:
    """Drop the paragraph that Ray prints for every lost worker, whatever `log_to_driver` says."""
    printer = _private("ray._private.ray_logging", "stdout_deduplicator")
    before = getattr(printer, "skip_re", None)
    if printer:
        printer.skip_re = re.compile("")
    try:
        yield
    finally:
        if printer:
            printer.skip_re = before
