"""A real Ray cluster on loopback, for the tests that need one: a head, and nodes that join it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

START_LIMIT_SECONDS = 60.0


@contextlib.contextmanager
def running_head(
    variables: Mapping[str, str],
    *,
    port: int | None = None,
    autoscaling: Path | None = None,
    dashboard_port: int | None = None,
) -> Iterator[str]:
    """`host:port` of a head without CPUs, started with environment variables added.

    `autoscaling` is the file of an autoscaler's configuration; without it no node joins by itself.
    With `dashboard_port` the head takes jobs there.

    It keeps its files to itself and takes free ports, so that other Rays of the machine go on;
    `ray stop`, which ends them all, is not used.
    """
    # Ray's sockets lie in there, and their paths may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as home:
        port = port or free_port()
        options: dict[str, str | int] = {
            "port": port,
            "num-cpus": 0,
            "include-dashboard": "false",
            "ray-client-server-port": free_port(),
            "temp-dir": home,
        }
        if dashboard_port is not None:
            options |= {"include-dashboard": "true", "dashboard-port": dashboard_port}
        if autoscaling is not None:
            options["autoscaling-config"] = str(autoscaling)
        with _started(["--head"], options, variables, Path(home, "start.log")):
            yield f"127.0.0.1:{port}"


class RunningNode:
    """A node of a cluster, which can be taken away as a cloud takes back a spot machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def kill(self) -> None:
        """End all its processes at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running_node(
    address: str,
    variables: Mapping[str, str],
    *,
    cpus: int = 1,
    gpus: int = 0,
    memory: int = 4 << 30,
) -> Iterator[RunningNode]:
    """A node that joins the cluster at `address`; GPUs need not be there to be counted."""
    # A folder of its own, as a machine has: nodes remove from it what others may still use.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as home:
        options: dict[str, str | int] = {
            "address": address,
            "num-cpus": cpus,
            "num-gpus": gpus,
            "memory": memory,
            "temp-dir": home,
        }
        with _started([], options, variables, Path(home, "start.log")) as process:
            yield RunningNode(process)


@contextlib.contextmanager
def _started(
    arguments: Sequence[str],
    options: Mapping[str, str | int],
    variables: Mapping[str, str],
    log: Path,
) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start`, for as long as the block lasts."""
    common: dict[str, str | int] = {
        "node-ip-address": "127.0.0.1",
        "object-store-memory": 100_000_000,
        "dashboard-agent-listen-port": free_port(),
        "min-worker-port": 0,
        "max-worker-port": 0,
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments]
    command += [f"--{name}={value}" for name, value in {**common, **options}.items()]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, log)
        yield process
    finally:
        _stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while "Ray runtime started" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Ray did not start:\n{log.read_text()}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends Ray's processes, all of which are in the process's own group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
