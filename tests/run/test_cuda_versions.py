"""Versions of driver, CUDA and cuDNN against what TensorFlow was built for; all are made up."""

import importlib.metadata
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from running import PROJECT

from mnist_ray.run.cuda_versions import OLDEST_DRIVERS, cuda_faults, cuda_in_words
from mnist_ray.run.packages import cuda_requirements, read_constraints

NEEDED = [
    Requirement(line)
    for line in (
        "nvidia-cuda-nvcc-cu12>=12.5.82,<13",
        "nvidia-cuda-runtime-cu12>=12.5.82,<13",
        "nvidia-cudnn-cu12>=9.3,<10",
    )
]
FIT = {
    "driver": "580.105.08",
    "driver_cuda": "13.0",
    "capability": "7.5",
    "built_cuda": "12.5.1",
    "built_cudnn": "9",
    "built_capability": "6.0",
    "nvidia-cuda-nvcc-cu12": "12.9.86",
    "nvidia-cuda-runtime-cu12": "12.9.79",
    "nvidia-cudnn-cu12": "9.28.0.42",
}


def faults(**changed: str) -> list[str]:
    return cuda_faults({**FIT, **changed}, NEEDED)


def test_versions_that_work_are_named_beside_those_that_tensorflow_was_built_for() -> None:
    assert faults() == []
    assert cuda_in_words(FIT) == (
        "driver 580.105.08 (up to CUDA 13.0), CUDA 12.9.79, cuDNN 9.28.0.42; "
        "TensorFlow was built for CUDA 12.5.1 and cuDNN 9"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"driver": "470.256.02"}, r"driver 470\.256\.02, allowed from 525\.60\.13 \(CUDA 12\)"),
        ({"driver": "525.9.1"}, r"driver 525\.9\.1"),  # as numbers, not as text
        ({"capability": "3.7"}, r"compute capability 3\.7, allowed from 6\.0"),
        ({"nvidia-cudnn-cu12": "8.9.7"}, r"nvidia-cudnn-cu12 8\.9\.7, allowed .*>=9\.3"),
        ({"nvidia-cuda-runtime-cu12": "13.0.1"}, r"nvidia-cuda-runtime-cu12 13\.0\.1, allowed"),
        (
            {"capability": "9.0", "nvidia-cuda-nvcc-cu12": "12.5.82"},
            r"12\.5\.82 computes wrong results .* 9\.0 and above, allowed from 12\.6\.85",
        ),
    ],
)
def test_what_tensorflow_cannot_work_with_is_reported_with_what_is_allowed(
    changed: dict[str, str], message: str
) -> None:
    [fault] = faults(**changed)
    assert re.search(message, fault)


def test_an_older_compiler_will_do_for_cards_that_it_is_right_on() -> None:
    assert faults(**{"capability": "8.9", "nvidia-cuda-nvcc-cu12": "12.5.82"}) == []


def test_a_driver_that_is_older_than_the_compiler_works_and_that_is_said() -> None:
    older = {**FIT, "driver": "535.183.01", "driver_cuda": "12.2"}
    assert cuda_faults(older, NEEDED) == []
    assert "XLA compiles more slowly" in cuda_in_words(older)


def test_what_is_not_known_is_no_fault() -> None:
    assert cuda_faults({}, NEEDED) == []
    assert cuda_faults({"driver": "[N/A]", "built_cuda": "12.5.1"}, NEEDED) == []
    assert "of unknown version" in cuda_in_words({"built_cuda": "12.5.1"})


# What is pinned, and what the cluster's files name


def built_for() -> str:
    """The CUDA that the installed TensorFlow was built for, without importing TensorFlow."""
    distribution = importlib.metadata.distribution("tensorflow")
    text = Path(
        str(distribution.locate_file("tensorflow/python/platform/build_info.py"))
    ).read_text()
    [version] = re.findall(r"'cuda_version', '([\d.]+)'", text)
    return version


def test_every_cuda_library_is_pinned_within_tensorflows_range() -> None:
    needed, pins = cuda_requirements(), read_constraints(PROJECT / "constraints.txt")
    assert len(needed) >= 10
    names = {each.name for each in needed}
    assert {name for name in pins if name.startswith("nvidia-")} == names
    assert [each for each in needed if not each.specifier.contains(pins[each.name])] == []
    assert cuda_faults({**pins, "capability": "9.0", "built_cuda": built_for()}, needed) == []


def test_the_drivers_that_the_cluster_files_name_are_new_enough() -> None:
    oldest = Version(OLDEST_DRIVERS[built_for().partition(".")[0]])
    page = (PROJECT / "docs" / "cluster.md").read_text()
    images = re.findall(r"common-cu(\d\d)(\d)-\S+-nvidia-(\d+)", page)
    assert images
    for major, minor, driver in images:
        assert Version(driver) >= oldest
        assert Version(f"{major}.{minor}") >= Version(".".join(built_for().split(".")[:2]))
    aws = yaml.safe_load((PROJECT / "cluster.yaml").read_text())
    worker = aws["available_node_types"]["gpu_worker"]["node_config"]
    # Always the newest driver; in January 2026 that was 580.
    assert "nvidia-driver-gpu" in worker["ImageId"]
    assert "/latest/" in worker["ImageId"]
