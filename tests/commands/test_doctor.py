import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ray_head import free_port, running_head

from mnist_ray import doctor
from mnist_ray.doctor import Scope, examine_cluster, examine_cluster_file
from mnist_ray.errors import InputError
from mnist_ray.ledger.versions import installed_version
from mnist_ray.run import checks, connection, machine
from mnist_ray.run.checks import Check, conclude
from mnist_ray.run.machine import Machine

PROJECT = Path(__file__).parent.parent.parent
TOKEN = "0123456789abcdef" * 4

FIT = Machine(
    name="here",
    python_version="{}.{}.{}".format(*sys.version_info[:3]),
    packages={name: installed_version(name) for name in machine.COMPARED_PACKAGES},
    memory=16 << 30,
    shared_memory=8 << 30,
    gpus=["NVIDIA T4"],
    tensorflow_gpus=1,
    tensorflow_error="",
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, where neither token, data nor cluster is known; also where we stand."""
    for variable in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("MNIST_RAY_DATA", "KERAS_HOME"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder


def checked(examine: Callable[..., str], *given: object, **named: object) -> Check:
    return conclude("it", partial(examine, *given, **named))


# --- Machines ------------------------------------------------------------------------------------


def test_a_fit_machine_passes_and_its_gpus_are_named() -> None:
    assert checks.memory([FIT]) == "16.0 GiB"
    assert checks.shared_memory([FIT])
    assert checks.tensorflow([FIT]) == "starts, and sees every GPU: 1 NVIDIA T4"


def test_the_weakest_of_several_machines_decides() -> None:
    weak = replace(FIT, name="weak", memory=1 << 30, shared_memory=64 << 20)
    memory = checked(checks.memory, [FIT, weak])
    assert (memory.ok, memory.found) == (False, "1.0 GiB on weak")
    assert checked(checks.shared_memory, [weak, FIT]).found == "0.1 GiB free on weak"


def test_a_gpu_that_tensorflow_does_not_see_is_a_fault_with_its_remedy() -> None:
    blind = replace(FIT, tensorflow_gpus=0)
    check = checked(checks.tensorflow, [blind])
    assert (check.ok, check.found) == (False, "sees 0 of 1 GPUs")
    assert ".[cuda]" in check.remedy


def test_a_driver_that_is_too_old_is_a_fault_with_its_remedy() -> None:
    cuda = {"driver": "470.82", "built_cuda": "12.5.1", "built_cudnn": "9"}
    check = checked(checks.cuda, [replace(FIT, cuda=cuda)])
    assert not check.ok
    assert "driver 470.82, allowed from 525.60.13" in check.found
    assert "nvidia.com/drivers" in check.remedy
    newer = checked(checks.cuda, [replace(FIT, cuda={**cuda, "driver": "580.95.05"})])
    assert newer.ok
    assert "TensorFlow was built for CUDA 12.5.1 and cuDNN 9" in newer.found


def test_a_machine_without_gpus_is_no_fault() -> None:
    check = checked(checks.tensorflow, [replace(FIT, gpus=[], tensorflow_gpus=0)])
    assert check.ok
    assert "trials run on CPUs" in check.found
    assert checked(checks.cuda, [replace(FIT, gpus=[], tensorflow_gpus=0)]).ok is None


def test_a_tensorflow_that_does_not_start_is_reported_with_its_reason() -> None:
    broken = replace(FIT, tensorflow_gpus=None, tensorflow_error="ImportError: libcublas.so.12")
    check = checked(checks.tensorflow, [broken])
    assert check == replace(check, ok=False, found="does not start: ImportError: libcublas.so.12")


def test_a_cpu_with_instructions_for_bfloat16_is_reported_and_one_without_is_no_fault() -> None:
    with_them, without = replace(FIT, bfloat16=("avx512_bf16",)), replace(FIT, bfloat16=())
    found = checked(checks.bfloat16, [with_them])
    assert found.ok
    assert "avx512_bf16; precision: mixed_bfloat16" in found.found
    assert checked(checks.bfloat16, [with_them, replace(without, name="old")]) == Check(
        "it",
        None,
        "the CPU on old has no instructions for it (such as AVX512-BF16), so precision: "
        "mixed_bfloat16 need not be faster than float32",
    )
    assert checked(checks.bfloat16, [FIT]).ok is None


def test_no_shared_memory_folder_does_not_apply() -> None:
    assert checked(checks.shared_memory, [replace(FIT, shared_memory=None)]).ok is None


def test_nodes_with_other_versions_are_named_with_both() -> None:
    node = replace(
        FIT, name="node-2", python_version="3.9.1", packages={**FIT.packages, "numpy": None}
    )
    check = checked(checks.node_versions, [FIT, node])
    here = installed_version("numpy")
    assert not check.ok
    assert check.found.startswith("node-2: Python 3.9.1, here 3.")
    assert f"node-2: numpy missing, here {here}" in check.found
    assert checked(checks.node_versions, [FIT]).ok


def test_constraints_that_cannot_be_read_are_wrong_and_no_traceback(home: Path) -> None:
    (home / "constraints.txt").write_text("ray = 2.60\n")
    check = checked(checks.pins, for_cluster=True, path=home / "constraints.txt")
    assert (check.ok, "line 1" in check.found) == (False, True)


def test_a_machine_on_which_ray_cannot_start_is_a_fault_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise InputError("this machine: too little memory is free")

    monkeypatch.setattr(connection, "this_machine", refuse)
    check, figures = doctor.examine_training(Scope(train="cpu"), FIT)
    assert (check.ok, figures) == (False, None)
    assert "too little memory" in check.found


# --- Data and results ----------------------------------------------------------------------------


def test_without_mnist_it_is_reported_what_a_sweep_would_do_and_nothing_is_fetched(
    home: Path,
) -> None:
    check = checked(checks.mnist, None)
    assert check.ok is None
    assert "would download it there" in check.found
    assert list(home.iterdir()) == []


def test_data_that_was_given_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 2])
    path = home / "mine.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert checks.mnist(str(path)) == f"{path} (--data): 6 images"
    monkeypatch.setenv("MNIST_RAY_DATA", str(path))
    assert checks.mnist(None) == f"{path} (MNIST_RAY_DATA): 6 images"


def test_data_that_was_given_and_is_missing_is_a_fault() -> None:
    check = checked(checks.mnist, "nowhere.npz")
    assert not check.ok
    assert "nowhere.npz" in check.found


def test_a_local_folder_is_tried_and_left_as_it_was(home: Path) -> None:
    check = checked(checks.results, "some/new/folder", None)
    assert (check.ok, check.found) == (True, "some/new/folder: written, read and deleted")
    assert list(home.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_fault(home: Path) -> None:
    (home / "file").write_text("")
    check = checked(checks.results, "file/results", None)
    assert not check.ok
    assert "file/results cannot be written" in check.found


def test_object_storage_is_tried_and_no_object_is_left(bucket: str) -> None:
    check = checked(checks.results, f"s3://results/mnist-ray?{bucket}", None)
    assert check.ok, check.found
    missing = checked(checks.results, f"s3://no-such-bucket/mnist-ray?{bucket}", None)
    assert not missing.ok
    import boto3

    endpoint = f"http://{bucket.partition('endpoint_override=')[2]}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    left = client.list_objects_v2(Bucket="results").get("Contents", [])
    assert [one["Key"] for one in left] == ["mnist-ray/"]  # pyarrow's mark of an empty folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What to add to the URI of `s3://results`, which is served on loopback."""
    server_module = pytest.importorskip("moto.server")
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    port = free_port()
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1"
    ).create_bucket(Bucket="results")
    yield f"region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{port}"
    server.stop()


# --- Clusters ------------------------------------------------------------------------------------


def test_without_a_cluster_its_checks_do_not_apply() -> None:
    concluded = [examine_cluster_file(None)[0], *examine_cluster(Scope())]
    assert [check.ok for check in concluded] == [None, None, None]


def test_a_cluster_file_with_faults_is_reported_with_them(home: Path) -> None:
    alone = shutil.copy(PROJECT / "cluster.yaml", home)  # what it syncs is not here
    check, found = examine_cluster_file(Path(alone))
    assert (check.ok, found) == (False, None)
    assert "ray get-auth-token --generate" in check.found


def test_for_a_cluster_a_token_must_be_here_and_be_sent(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checked(checks.token, is_needed=True).remedy == "ray get-auth-token --generate"
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(TOKEN)
    assert checked(checks.token, is_needed=True).remedy == "export RAY_AUTH_MODE=token"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert checked(checks.token, is_needed=True).ok


@pytest.mark.parametrize("address", ["ray://head:10001", "no address"])
def test_an_address_that_cannot_be_joined_is_a_fault(address: str) -> None:
    token, check = examine_cluster(Scope(address=address))
    assert not check.ok
    assert token.ok is False  # there is something to send it to


def test_a_cluster_that_anyone_may_use_is_a_fault() -> None:
    with running_head({"RAY_AUTH_MODE": "disabled"}) as address:
        check = checked(checks.closed, address)
    assert (check.ok, check.found) == (False, "off: anyone who reaches it can run code there")


# --- The command ---------------------------------------------------------------------------------


def test_on_a_laptop_nothing_stands_in_the_way_and_no_ray_is_started(home: Path) -> None:
    answer = run_doctor([])
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[-1] == "No problem found. Lines with - do not apply here."
    assert {line[0] for line in answer.stdout.splitlines()[:-1]} == {"✓", "-"}
    assert not any((home / name).exists() for name in (".ray", "results"))


def test_a_running_cluster_is_examined_on_its_nodes_too(home: Path) -> None:
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with running_head(variables) as address:
        answer = run_doctor(["--address", address, "--results", "/dev/null/results"], variables)
    lines = answer.stdout.splitlines()
    version = installed_version("ray")
    assert f"✓ cluster: {address}: Ray {version}, Python {FIT.python_version}" in lines
    assert "✓ cluster's auth: refuses whoever has no token" in lines
    assert "✓ nodes' versions: the same here and on 1" in lines
    assert any(line.startswith("✓ TensorFlow on nodes: starts") for line in lines)
    assert any(line.startswith("✗ results: results: /dev/null/results") for line in lines)
    assert (answer.returncode, lines[-1]) == (1, "1 problem found. Lines with - do not apply here.")


def test_where_signs_cannot_be_written_there_are_words() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "from mnist_ray import doctor; print(doctor._marks()[True])"],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert answer.stdout.strip() == "ok"


def test_a_remedy_stands_below_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.show([Check("memory", False, "1.0 GiB", "take a larger machine")])
    assert capsys.readouterr().out == "✗ memory: 1.0 GiB\n    remedy: take a larger machine\n"


def run_doctor(
    arguments: list[str], variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "mnist_ray.doctor", *arguments],
        env={**environment, **(variables or {})},
        capture_output=True,
        text=True,
    )
