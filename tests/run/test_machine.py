from pathlib import Path

import pytest

from mnist_ray.run.machine import describe_machine, smallest_gpu_memory


def pretend_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_the_smallest_card_says_what_trials_can_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = '[ "$*" = "--query-gpu=memory.total --format=csv,noheader,nounits" ] || exit 1'
    pretend_nvidia_smi(tmp_path, monkeypatch, f"{query}\necho 81559\necho 15360")
    assert smallest_gpu_memory() == 15360 * 2**20


@pytest.mark.parametrize("script", ["exit 9", "echo '[N/A]'"])
def test_a_card_that_does_not_say_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    pretend_nvidia_smi(tmp_path, monkeypatch, script)
    assert smallest_gpu_memory() is None


def test_without_nvidias_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert smallest_gpu_memory() is None


def test_the_versions_of_driver_and_card_are_found_beside_what_tensorflow_was_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """case "$*" in
        *driver_version*) echo 550.54.15; echo 550.54.15;;
        *compute_cap*) echo 10.0; echo 9.0;;
        *name*) echo NVIDIA H100; echo NVIDIA H100;;
        *) echo '| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4   |';;
    esac"""
    pretend_nvidia_smi(tmp_path, monkeypatch, script)
    found = describe_machine()
    cuda = found["cuda"]
    assert found["gpus"] == ["NVIDIA H100", "NVIDIA H100"]
    if "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert "avx512_bf16" in found["bfloat16"]
    assert (cuda["driver"], cuda["driver_cuda"], cuda["capability"]) == ("550.54.15", "12.4", "9.0")
    if "built_cuda" in cuda:  # not in TensorFlow's builds for CPUs alone
        assert cuda["built_cuda"].startswith("12.")
        assert cuda["built_capability"] == "6.0"
