"""Architectures of the user's own: found and hashed without running them, checked in a child."""

import ast
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mnist_ray.errors import InputError
from mnist_ray.hyperparameters import BUILT_IN
from mnist_ray.space import Cell, Space


def code_folder(space: Space) -> Path | None:
    """Where the space's own modules are looked up before `sys.path`: beside its file."""
    return space.source.parent.absolute() if space.source else None


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
    folder = code_folder(space)
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
    folder = code_folder(space)
    return {
        builder: hashlib.sha256(module_file(builder, folder).read_bytes()).hexdigest()
        for builder in own_builders(space)
    }


def check_builders(cells: Sequence[Cell], *, classes: int, folder: Path | None) -> None:
    """Build the model of each cell with an architecture of the user's own, in a child process.

    Raises:
        InputError: one can't be imported, does not take its hyperparameters, or gives no model.
    """
    own = [cell for cell in cells if cell.builder not in BUILT_IN]
    if not own:
        return
    request = {
        "folder": str(folder) if folder else None,
        "classes": classes,
        "models": [
            {"builder": c.builder, "hyperparameters": c.hyperparameters, "canvas": c.canvas}
            for c in own
        ],
    }
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ray.own_code"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        last_words = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise InputError(
            f"build: {own[0].builder}: the process that checked it ended with code "
            f"{done.returncode}: {last_words[0]}"
        )
    fault = json.loads(done.stdout)
    if fault:
        raise InputError(fault)


def _first_fault(request: dict[str, Any]) -> str | None:
    import numpy as np

    from mnist_ray import models

    folder = Path(request["folder"]) if request["folder"] else None
    for model in request["models"]:
        canvas = model["canvas"]
        images = np.zeros((2, canvas, canvas, 1), np.float32)
        try:
            built = models.build(
                model["builder"],
                model["hyperparameters"],
                input_shape=images.shape[1:],
                classes=request["classes"],
                folder=folder,
            )
            output = np.asarray(built(images, training=False), np.float32)
        except InputError as error:
            return str(error)
        except Exception as error:
            given = json.dumps(model["hyperparameters"])
            return (
                f"build: {model['builder']} failed with {type(error).__name__}: {error}. It was "
                f"called as function(({canvas}, {canvas}, 1), {request['classes']}, **{given})."
            )
        if not (np.all(output >= 0) and np.allclose(output.sum(axis=-1), 1, atol=0.02)):
            return (
                f"build: {model['builder']} gave a model whose outputs are no probabilities: for a "
                f"black image they are {output[0].tolist()}. They must be at least 0 and sum to 1: "
                'end it with activation="softmax".'
            )
    return None


if __name__ == "__main__":
    # What the user's module prints, be it at the end, must not be taken for the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump(_first_fault(json.load(sys.stdin)), answer)
