"""Architectures of the user's own: found and hashed without running them."""

import ast
import hashlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from mnist_ray.errors import InputError
from mnist_ray.space.hyperparameters import BUILT_IN
from mnist_ray.space.space import Space


def own_builders(space: Space) -> list[str]:
    """The builders that are the user's own, as "module:function"."""
    builders = dict.fromkeys(a.builder for a in space.architectures.values())
    return [builder for builder in builders if builder not in BUILT_IN]


def module_file(builder: str, folder: Path | None) -> Path:
    """The source file of a builder's module.

    Raises:
        InputError: there is none.
    """
    module = builder.partition(":")[0]
    top, *parts = module.split(".")
    found = PathFinder.find_spec(top, [str(folder)]) if folder else None
    # Not through `sys.path` alone: packages that are installed as editable have finders of their
    # own. A top module is found without running it, unlike a part of a package.
    found = found or importlib.util.find_spec(top)
    for part in parts:
        places = found.submodule_search_locations if found else None
        found = PathFinder.find_spec(part, list(places)) if places else None
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise InputError(
            f"build: {builder}: there is no module {module!r}. It is looked up in "
            f"{folder or Path.cwd()}, beside the search space, then on sys.path."
        )
    return Path(found.origin)


def modules_to_ship(space: Space) -> list[Path]:
    """What a process elsewhere needs to import the user's own builders.

    For each, the file of its module or the folder of its package; and of the modules that lie
    beside the search space, those that these import in turn.
    """
    folder = space.code_folder
    found: dict[str, Path] = {}
    names = [builder.partition(":")[0].partition(".")[0] for builder in own_builders(space)]
    places = {name: _place(module_file(name, folder)) for name in names}
    while places:
        found |= places
        imported = {name for path in places.values() for name in _imported_modules(path)}
        beside = [name for name in imported - found.keys() if folder and _is_beside(name, folder)]
        places = {name: _place(module_file(name, folder)) for name in beside}
    return list(found.values())


def _place(source: Path) -> Path:
    return source.parent if source.name == "__init__.py" else source


def _is_beside(module: str, folder: Path) -> bool:
    if module in sys.stdlib_module_names:
        return False  # Sent along, it would hide Python's own from all that a worker imports.
    return (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file()


def _imported_modules(place: Path) -> set[str]:
    """The modules at the top that a module's file or a package's files import."""
    names: set[str] = set()
    for source in place.rglob("*.py") if place.is_dir() else [place]:
        for node in ast.walk(ast.parse(source.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


def source_digests(space: Space) -> dict[str, str]:
    """For each of the user's own builders, the SHA-256 of its module's source."""
    folder = space.code_folder
    return {
        builder: hashlib.sha256(module_file(builder, folder).read_bytes()).hexdigest()
        for builder in own_builders(space)
    }
