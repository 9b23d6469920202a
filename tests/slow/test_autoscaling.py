"""A sweep on a cluster that starts without workers: Ray's autoscaler adds them and takes them away.

The nodes are Ray's fake ones: real Ray processes on this machine, started by the real autoscaler.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from ray_head import free_port, running_head

PROJECT = Path(__file__).parent.parent.parent
FAKE_HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
IDLE_MINUTES = 0.1
GOING_LIMIT_SECONDS = 240.0
# What Ray's launcher would have completed; the wheel lacks the example that it completes from.
_LISTS = (
    "cluster_synced_files",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "rsync_exclude",
    "rsync_filter",
)
SPACE = """
name: scaled
dataset: digits
architectures: {feed_forward: {hidden_units: [8]}}
variants: {centered: {}}
trials: 3
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """`host:port` of a cluster of a head without CPUs and of up to two workers."""
    port = free_port()
    configuration = {
        "cluster_name": "fake",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": {
            "type": "external",
            "module": "fake_nodes.Provider",
            "gcs_address": f"127.0.0.1:{port}",
            "head_node_id": FAKE_HEAD,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "memory": 4 << 30, "object_store_memory": 100_000_000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 2,
            },
        },
        **{part: {} for part in ("auth", "docker", "file_mounts")},
        **{part: [] for part in _LISTS},
        "file_mounts_sync_continuously": False,
    }
    path = tmp_path / "autoscaling.json"
    path.write_text(json.dumps(configuration))
    variables = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD,
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD,
        "PYTHONPATH": str(Path(__file__).parent),
    }
    with running_head(variables, port=port, autoscaling=path) as address:
        yield address


def test_a_sweep_brings_workers_up_from_none_and_they_go_again(
    cluster: str, tmp_path: Path
) -> None:
    space = tmp_path / "scaled.yaml"
    space.write_text(SPACE)
    assert workers(cluster) == 0
    options = ["--address", cluster, "--results", tmp_path / "results", "--cpus-per-trial", "1"]
    sweep = subprocess.run(
        [sys.executable, "-m", "mnist_ray.sweep", space, *options],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr  # and only workers can run trials
    deadline = time.monotonic() + 60 * IDLE_MINUTES + GOING_LIMIT_SECONDS
    while workers(cluster) and time.monotonic() < deadline:
        time.sleep(2)
    assert workers(cluster) == 0


def workers(address: str) -> int:
    """How many living nodes have a CPU, asked by a process of its own."""
    program = (
        "import sys, ray; ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False);"
        "print(sum('CPU' in node['Resources'] for node in ray.nodes() if node['Alive']))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, address],
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return int(answer.stdout.split()[-1])
