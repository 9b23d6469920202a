from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mnist_ray.errors import InputError
from mnist_ray.ledger.versions import installed_version
from mnist_ray.run.packages import (
    Requirements,
    package_faults,
    pin_differences,
    python_fault,
    read_constraints,
    read_requirements,
)


def test_the_projects_own_metadata_says_what_is_needed() -> None:
    requirements = read_requirements()
    assert {"ray", "tensorflow", "keras"} <= {package.name for package in requirements.packages}
    assert requirements.python.contains("3.11.0")
    assert not requirements.python.contains("3.10.9")


def test_what_is_missing_or_out_of_range_is_reported_with_both_versions() -> None:
    numpy = installed_version("numpy")
    lines = ["numpy>=1", "numpy>=99", "no-such-package>=2"]
    wanted = Requirements(SpecifierSet(">=3.99"), tuple(map(Requirement, lines)))
    assert package_faults(wanted) == [
        f"numpy {numpy}, allowed >=99",
        "no-such-package missing, allowed >=2",
    ]
    assert python_fault(wanted).endswith("allowed >=3.99")


def test_constraints_are_read_with_comments_and_markers(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("# made\nRay==2.60.0  # the cluster's\n\nuvloop==1; sys_platform == 'win32'\n")
    assert read_constraints(path) == {"ray": "2.60.0"}


def test_a_line_that_is_no_constraint_is_reported_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("ray==2.60.0\nray = 3\n")
    with pytest.raises(InputError, match="line 2"):
        read_constraints(path)


def test_a_pin_that_is_not_what_is_installed_is_a_difference() -> None:
    numpy = installed_version("numpy")
    assert numpy is not None
    assert pin_differences({"numpy": numpy, "no-such-package": "1"}) == []
    assert pin_differences({"numpy": "0.1"}) == [f"numpy {numpy} here, 0.1 pinned"]


def test_tensorflow_is_found_under_the_name_of_its_cpu_build() -> None:
    assert installed_version("tensorflow") is not None
