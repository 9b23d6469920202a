"""What the project asks for of Python and its packages, and what is installed."""

import importlib.metadata
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mnist_ray.errors import InputError
from mnist_ray.ledger.versions import installed_version

_PROJECT = "mnist-ray"
_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Requirements:
    """The ranges that the project's own metadata gives."""

    python: SpecifierSet
    packages: tuple[Requirement, ...]
    """Those that are always needed, without extras."""


def read_requirements() -> Requirements:
    """Those of the checkout that this module lies in, else those of the installed project.

    Raises:
        InputError: neither is there.
    """
    pyproject = _ROOT / "pyproject.toml"
    if pyproject.is_file():
        project: Mapping[str, Any] = tomllib.loads(pyproject.read_text())["project"]
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


def cuda_requirements() -> dict[str, Requirement]:
    """The ranges of NVIDIA's packages that the installed TensorFlow gives, by their names.

    They are those of its extra `and-cuda`; there are none where TensorFlow is not installed under
    its own name.
    """
    try:
        lines = importlib.metadata.requires("tensorflow") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    given = {requirement.name: requirement for requirement in map(Requirement, lines)}
    return {
        name: requirement
        for name, requirement in given.items()
        if name.startswith("nvidia-") and _applies(requirement, extra="and-cuda")
    }


def find_constraints() -> Path | None:
    """`constraints.txt` of the checkout that this module lies in, if it is there."""
    path = _ROOT / "constraints.txt"
    return path if path.is_file() else None


def read_constraints(path: Path) -> dict[str, str]:
    """The version that each line `name==version` pins, by the package's canonical name.

    Raises:
        InputError: it can't be read, or a line is no requirement.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}).") from error
    pins: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise InputError(
                f"{path} line {number}: {text!r} is no constraint ({error}). Allowed: "
                "name==version, one a line."
            ) from error
        pinned = [part.version for part in requirement.specifier if part.operator == "=="]
        if pinned and _applies(requirement):
            pins[canonicalize_name(requirement.name)] = pinned[0]
    return pins


def python_fault(requirements: Requirements) -> str:
    """Why this Python won't do; empty where it does."""
    version = platform.python_version()
    if requirements.python.contains(version, prereleases=True):
        return ""
    return f"Python {version}, allowed {requirements.python}"


def package_faults(requirements: Requirements) -> list[str]:
    """Each package that is missing or outside its range, with both versions."""
    found = {package.name: installed_version(package.name) for package in requirements.packages}
    return [
        f"{package.name} {found[package.name] or 'missing'}, allowed {package.specifier}"
        for package in requirements.packages
        if not package.specifier.contains(found[package.name] or "0", prereleases=True)
    ]


def pin_differences(pins: Mapping[str, str]) -> list[str]:
    """Each installed package of another version than its pin, with both versions."""
    found = {name: installed_version(name) for name in pins}
    return [
        f"{name} {found[name]} here, {pin} pinned"
        for name, pin in pins.items()
        if found[name] is not None and found[name] != pin
    ]


def _requirements(python: str, lines: list[str]) -> Requirements:
    needed = [Requirement(line) for line in lines]
    return Requirements(SpecifierSet(python), tuple(filter(_applies, needed)))


def _applies(requirement: Requirement, *, extra: str = "") -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({"extra": extra})
