"""What the project requires of Python and its packages, and what is installed."""

import importlib.metadata
import platform
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mnist_ray.errors import InputError
from mnist_ray.ledger.versions import installed_version

_PROJECT = "mnist-ray"
_ROOT = Path(__file__).parent.parent.parent


def read_requirements() -> list[Requirement]:
    """The ranges of Python, which comes first, and of each package that is always needed.

    They are those of the checkout that this module lies in, else those of the installed project.

    Raises:
        InputError: neither is there.
    """
    pyproject = _ROOT / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text())["project"]
        if project["name"] == _PROJECT:
            return _requirements(project["requires-python"], project["dependencies"])
    try:
        installed = importlib.metadata.distribution(_PROJECT)
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"{_PROJECT}: neither installed nor beside its pyproject.toml, so what it needs is not "
            "known. Install it (pip install .), or run it in its own folder."
        ) from error
    return _requirements(installed.metadata["Requires-Python"], installed.requires or [])


def _requirements(python: str, lines: Iterable[str]) -> list[Requirement]:
    needed = [Requirement(line) for line in [f"Python{python}", *lines]]
    return [requirement for requirement in needed if _applies(requirement)]


def _applies(requirement: Requirement, *, extra: str = "") -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"extra": extra})


def cuda_requirements() -> list[Requirement]:
    """The ranges of NVIDIA's packages that the installed TensorFlow gives.

    They are those of its extra `and-cuda`; there are none where TensorFlow is not installed under
    its own name.
    """
    try:
        lines = importlib.metadata.requires("tensorflow") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    given = [Requirement(line) for line in lines if line.startswith("nvidia-")]
    return [requirement for requirement in given if _applies(requirement, extra="and-cuda")]


def range_faults(needed: Iterable[Requirement], found: Mapping[str, str | None]) -> list[str]:
    """Each that is missing or outside its range, with both versions; `found` are by name."""
    return [
        f"{each.name} {found[each.name] or 'missing'}, allowed {each.specifier}"
        for each in needed
        if not each.specifier.contains(found[each.name] or "0", prereleases=True)
    ]


def installed(needed: Iterable[Requirement]) -> dict[str, str | None]:
    """The versions that are here, by name; None of what is missing."""
    python = {"Python": platform.python_version()}
    return {each.name: python.get(each.name) or installed_version(each.name) for each in needed}


def find_constraints() -> Path | None:
    """`constraints.txt` of the checkout that this module lies in, if it is there."""
    path = _ROOT / "constraints.txt"
    return path if path.is_file() else None


def read_constraints(path: Path) -> dict[str, str]:
    """The version that each line `name==version` pins, by the package's canonical name.

    Raises:
        InputError: it cannot be read, or a line is no requirement.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error
    pins: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            requirement = _constraint(text, place=f"{path} line {number}")
            pinned = [part.version for part in requirement.specifier if part.operator == "=="]
            if pinned and _applies(requirement):
                pins[canonicalize_name(requirement.name)] = pinned[0]
    return pins


def _constraint(text: str, *, place: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise InputError(
            f"{place}: {text!r} is no constraint ({error}). Allowed: name==version, one a line."
        ) from error
