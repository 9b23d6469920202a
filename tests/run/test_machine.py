from pathlib import Path

import pytest

from mnist_ray.run.machine import smallest_gpu_memory


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
