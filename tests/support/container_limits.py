"""Sweeps within the limits of a container, which are written where the kernel has them."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from running import PROJECT

GIB = 1 << 30
VERSIONS = {
    "v1": {
        "cpu/cpu.cfs_quota_us": "{quota}",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "{memory}",
        "memory/memory.usage_in_bytes": "{used}",
        "memory/memory.stat": "total_inactive_file 0\ntotal_active_file 0",
    },
    "v2": {
        "cpu.max": "{quota} 100000",
        "memory.max": "{memory}",
        "memory.current": "{used}",
        "memory.stat": "inactive_file 0\nactive_file 0",
    },
}
"""What the kernel's files say, by the version of cgroups."""

MAY_MOUNT = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"]


def mounting_is_refused() -> bool:
    try:
        return subprocess.run(MAY_MOUNT, capture_output=True).returncode != 0
    except OSError:
        return True


@dataclass(frozen=True)
class Limits:
    """Of one CPU and `memory` bytes, of which `used` are taken; and what a sweep says of them."""

    memory: int
    used: int
    arguments: tuple[str, ...]
    message: str


CASES = {
    "processor": Limits(8 * GIB, GIB // 4, ("--cpus-per-trial", "2"), "2 CPUs"),
    "memory": Limits(GIB, GIB // 4, (), "no machine can hold a trial that asks for 1 CPUs"),
    "no memory at all": Limits(GIB // 4, GIB, (), "too little memory is free"),
}
QUICK_CASES = [("processor", "v2"), ("no memory at all", "v1")]
"""The case and the version of cgroups of those that are tried every time."""


def assert_refused_alike(case: str, version: str, folder: Path) -> None:
    """A dry run and a sweep refuse the same, with the same words."""
    limits = CASES[case]
    figures = {"quota": 100_000, "memory": limits.memory, "used": limits.used}
    files = {path: text.format(**figures) for path, text in VERSIONS[version].items()}
    dry = _sweep(files, folder, *limits.arguments, "--dry-run")
    assert dry[0] == 2
    assert limits.message in dry[1]
    assert len(dry[1].splitlines()) == 1  # nothing of Ray's own beside it
    code, message = _sweep(files, folder, *limits.arguments)
    assert code == 2
    assert message.partition("there are")[0] == dry[1].partition("there are")[0]


def _sweep(files: Mapping[str, str], folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and the errors of a sweep that finds `files` in /sys/fs/cgroup."""
    lines = ["mount -t tmpfs none /sys/fs/cgroup", "cd /sys/fs/cgroup", "mkdir cpu memory"]
    lines += [f"printf '%s\\n' '{text}' > {path}" for path, text in files.items()]
    script = "\n".join([*lines, 'cd "$0"; exec "$@"'])
    command = [sys.executable, "-m", "mnist_ray.sweep", "digits", "--results", "results", "--quiet"]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, str(folder), *command, *arguments],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr
