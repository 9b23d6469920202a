"""Ray: one of the sweep's own, or a cluster; and what its machines have to give."""

import contextlib
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_ray.plan.resources import Node, Request
from mnist_ray.run.machine import smallest_gpu_memory
from mnist_ray.train.environment import WORKER_ENVIRONMENT

PATIENCE_SECONDS = 10.0
"""How long room for a trial may take to come before that is told."""
_ASKING_SECONDS = 60.0
"""How long a node may take to say what its GPUs have; it may have to fetch the code first."""
_USUAL_GPU_BYTES = 16e9
"""Of a card that does not say what it has."""

_DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
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
    """Ray, for as long as the block lasts: one of its own, or the cluster at `address`.

    A cluster's own processes go on afterwards; only what this sweep started there ends.

    Args:
        address: `auto` or `host:port`; None for a Ray of its own.
        verbose: whether to show what Ray and the workers say.
        modules: what a cluster's workers must be able to import beside this package: files of
            modules and folders of packages.
        meanwhile: called in another thread, since Ray mostly waits while it starts.
    """
    own = address is None
    os.environ.update({**_DRIVER_ENVIRONMENT, **(WORKER_ENVIRONMENT if own else {})})
    level = logging.INFO if verbose else logging.ERROR
    logging.getLogger("ray").setLevel(level)
    # Of lost processes Tune gives tracebacks of Ray's insides; the listener tells of them.
    logging.getLogger("ray.tune").setLevel(level if verbose else logging.CRITICAL)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if meanwhile:
        threading.Thread(target=meanwhile, daemon=True).start()
    ray.init(
        # "local" starts one whatever an earlier cluster left behind in Ray's temporary folder.
        address="local" if own else address,
        include_dashboard=False if own else None,
        log_to_driver=verbose,
        logging_level=level,
        runtime_env=None if own else _shipped_code(modules),
        configure_logging=True,
    )
    if on_sigterm is not None and threading.current_thread() is threading.main_thread():
        # Ray's own would end the driver on the spot, with a C++ stack trace.
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        with contextlib.nullcontext() if verbose else _without_messages_of_raylets():
            yield
    finally:
        _stop_autoscaler()
        ray.shutdown()


def this_machine() -> Node:
    """What Ray would find here if it started now: cores, cards and memory within their limits."""
    # Ray has no public way to ask without starting it.
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    address = "127.0.0.1"  # not to be looked up: that asks the network
    spec = ResourceAndLabelSpec().resolve(is_head=True, node_ip_address=address)
    found = spec.to_resource_dict()
    gpus = found.get("GPU", 0.0)
    return Node(
        cpus=found.get("CPU", 0.0),
        gpus=gpus,
        memory_bytes=found["memory"],
        gpu_memory_bytes=(smallest_gpu_memory() or _USUAL_GPU_BYTES) if gpus else 0.0,
    )


def nodes() -> list[Node]:
    """What each living node of the cluster has to give."""
    living = [node for node in ray.nodes() if node["Alive"]]
    cards = _gpu_memory([node["NodeID"] for node in living if node["Resources"].get("GPU")])
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory_bytes=node["Resources"].get("memory", 0.0),
            gpu_memory_bytes=cards.get(node["NodeID"], 0.0),
        )
        for node in living
    ]


def await_node(request: Request, *, waiting: Callable[[Request], None]) -> None:
    """Wait until a node can hold `request`; an autoscaler takes the waiting for a wish.

    If that takes long, `waiting` is told what is waited for.
    """
    # A task, since what a task wishes for ends with the program, come what may.
    arrival = _arrive.options(num_cpus=request.cpus, num_gpus=request.gpus).remote()
    if not ray.wait([arrival], timeout=PATIENCE_SECONDS)[0]:
        waiting(request)
        ray.get(arrival)


def _stop_autoscaler() -> None:
    """Of a Ray of its own. Ray stops what it asks first, and then waits a second for it in vain."""
    try:
        from ray._private.worker import _global_node as node
    except ImportError:  # Ray's own affair, which another version may do differently
        return
    if hasattr(node, "kill_monitor"):
        node.kill_monitor(check_alive=False)


@contextlib.contextmanager
def _without_messages_of_raylets() -> Iterator[None]:
    """Ray prints a paragraph on every lost worker, whatever `log_to_driver` says."""
    try:
        from ray._private.ray_logging import stdout_deduplicator as printer
    except ImportError:  # Ray's own affair, which another version may do differently
        yield
        return
    before = printer.skip_re
    printer.skip_re = re.compile("")
    try:
        yield
    finally:
        printer.skip_re = before


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _ask_gpu_memory() -> int | None:
    return smallest_gpu_memory()


def _gpu_memory(node_ids: Sequence[str]) -> dict[str, float]:
    """Bytes of the smallest card of each of those nodes."""
    asked = {
        _ask_gpu_memory.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote(): node_id
        for node_id in node_ids
    }
    found = dict.fromkeys(node_ids, _USUAL_GPU_BYTES)
    if not asked:
        return found
    for answer in ray.wait([*asked], num_returns=len(asked), timeout=_ASKING_SECONDS)[0]:
        with contextlib.suppress(RayError):  # The node may have gone.
            found[asked[answer]] = ray.get(answer) or _USUAL_GPU_BYTES
    return found


@ray.remote  # type: ignore[untyped-decorator]
def _arrive() -> None:
    """Nothing: that it runs says that there is a node."""


def _shipped_code(modules: Sequence[Path]) -> dict[str, Any]:
    """A runtime environment in which the workers of a cluster find this package and `modules`."""
    paths = [Path(__file__).parent.parent, *modules]
    return {"py_modules": [str(path) for path in paths], "env_vars": WORKER_ENVIRONMENT}
