import platform
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mnist_ray.errors import InputError
from mnist_ray.ledger.versions import installed_version
from mnist_ray.run import checks
from mnist_ray.run.checks import Unfit
from mnist_ray.run.packages import installed, range_faults, read_constraints, read_requirements


def test_the_projects_own_metadata_says_what_is_needed() -> None:
    python, *packages = read_requirements()
    assert {"ray", "tensorflow", "keras"} <= {package.name for package in packages}
    assert python.specifier.contains("3.11.0")
    assert not python.specifier.contains("3.10.9")


def test_what_is_missing_or_out_of_range_is_reported_with_both_versions() -> None:
    numpy = installed_version("numpy")
    lines = ["Python>=3.99", "numpy>=1", "numpy>=99", "no-such-package>=2"]
    wanted = [Requirement(line) for line in lines]
    assert range_faults(wanted, installed(wanted)) == [
        f"Python {platform.python_version()}, allowed >=3.99",
        f"numpy {numpy}, allowed >=99",
        "no-such-package missing, allowed >=2",
    ]


def test_constraints_are_read_with_comments_and_markers(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("# made\nRay==2.60.0  # the cluster's\n\nuvloop==1; sys_platform == 'win32'\n")
    assert read_constraints(path) == {"ray": "2.60.0"}


def test_a_line_that_is_no_constraint_is_reported_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("ray==2.60.0\nray = 3\n")
    with pytest.raises(InputError, match="line 2"):
        read_constraints(path)


def test_a_pin_that_is_not_what_is_installed_is_a_difference(tmp_path: Path) -> None:
    numpy, path = installed_version("numpy"), tmp_path / "constraints.txt"
    path.write_text(f"numpy=={numpy}\nno-such-package==1\n")
    assert checks.pins(for_cluster=True, path=path) == "numpy are as constraints.txt pins them"
    path.write_text("numpy==0.1\n")
    with pytest.raises(Unfit, match=rf"numpy {numpy} here, 0\.1 pinned"):
        checks.pins(for_cluster=True, path=path)
