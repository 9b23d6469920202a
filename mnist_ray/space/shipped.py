"""Where the file of a search space lies."""

import os
from pathlib import Path

from mnist_ray.errors import InputError, nearest, shown

_SHIPPED = (
    Path(__file__).parent.parent / "search_spaces",  # installed
    Path(__file__).parent.parent.parent / "search_spaces",  # a checkout
)


def shipped_folder() -> Path:
    """Where the search spaces lie that come with the project, and their JSON Schema."""
    return next((folder for folder in _SHIPPED if folder.is_dir()), _SHIPPED[0])


def shipped_spaces() -> dict[str, Path]:
    """The search spaces that come with the project: their files by name."""
    return {path.stem: path for path in sorted(shipped_folder().glob("*.yaml"))}


def find_file(name_or_path: str) -> Path:
    """The file of a search space: a shipped one by its name, or one by its path.

    Raises:
        InputError: there is none.
    """
    shipped = shipped_spaces()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path).expanduser()
    if os.path.isfile(path):  # unlike Path.is_file, false for a name that is too long
        return path
    if name_or_path.removesuffix(".yaml") in shipped:
        return shipped[name_or_path.removesuffix(".yaml")]
    if os.path.exists(path):
        what = "a folder" if os.path.isdir(path) else "no file"
        raise InputError(f"{shown(name_or_path)} is {what}; give the YAML file of a search space")
    beside = [str(file) for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    hint = nearest(name_or_path, [*shipped, *beside])
    raise InputError(
        f"there is no search space {shown(name_or_path)}{hint}; "
        f"give the path of a YAML file, or one of the shipped: {', '.join(shipped)}"
    )
