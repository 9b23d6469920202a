"""A real Ray cluster of one node on loopback, for the tests that need one."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

START_LIMIT_SECONDS = 60.0


@contextlib.contextmanager
def running_head(
    variables: Mapping[str, str], *, port: int | None = None, autoscaling: Path | None = None
) -> Iterator[str]:
    """`host:port` of a head without CPUs, started with environment variables added.

    `autoscaling` is the file of an autoscaler's configuration; without it no node ever joins.

    It keeps its files to itself and takes free ports, so that other Rays of the machine go on;
    `ray stop`, which ends them all, is not used.
    """
    # Ray's sockets lie in there, and their paths may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as home:
        port = port or free_port()
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        options: dict[str, str | int] = {
            "node-ip-address": "127.0.0.1",
            "port": port,
            "num-cpus": 0,
            "object-store-memory": 100_000_000,
            "include-dashboard": "false",
            "ray-client-server-port": free_port(),
            "dashboard-agent-listen-port": free_port(),
            "min-worker-port": 0,
            "max-worker-port": 0,
            "temp-dir": home,
        }
        if autoscaling is not None:
            options["autoscaling-config"] = str(autoscaling)
        command += [f"--{name}={value}" for name, value in options.items()]
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **variables}
        log = Path(home, "start.log")
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_ready(process, log)
            yield f"127.0.0.1:{port}"
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
