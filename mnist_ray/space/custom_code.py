"""The user's own code: which modules it consists of, found and hashed without running them.

An architecture brings its builder's module, a transform that of its function. Each also brings all
that this module imports in turn, inside functions too, as far as it is the user's: modules beside
the search space or elsewhere on `sys.path`. Python's own modules, installed packages and this
project are not the user's, except that the function's own package counts wherever it lies. Of a
regular package every module counts.

Not seen, and so in no hash: modules imported by a name that is made at run time, and data files.
"""

import ast
import hashlib
import importlib.util
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from mnist_ray.errors import InputError

Code = Mapping[str, Mapping[str, "UserModule"]]
"""For each of the user's own functions, the modules that it brings, by their dotted names."""

_INSTALLED = {"site-packages", "dist-packages"}
"""Folders that hold installed packages, whichever environment they belong to."""
_PROJECT = {"keras", "mnist_ray", "numpy", "ray", "tensorflow"}
"""What every trial runs on; records have the versions of these."""


@dataclass(frozen=True)
class UserModule:
    """A module of the user's, as it was when it was hashed. It can be pickled."""

    file: Path
    """Where it lay on the machine that read it; on another one its shipped copy lies elsewhere."""
    source: bytes

    @property
    def is_package(self) -> bool:
        return self.file.stem == "__init__"

    @property
    def meaning(self) -> str:
        """What the module says: its syntax tree without comments, layout and docstrings.

        The same for every version of Python. What does not parse, such as a compiled extension,
        counts byte by byte.
        """
        tree = _parse(self.source)
        with suppress(RecursionError):
            if tree:
                return _dump(tree)
        return hashlib.sha256(self.source).hexdigest()


def source_digests(code: Code) -> dict[str, str]:
    """For each of the user's own functions, the digest of all modules that it brings.

    It is the SHA-256 of their names and meanings; where they lie makes no difference.
    """
    digests = {}
    for function, modules in code.items():
        meanings = {name: module.meaning for name, module in modules.items()}
        text = json.dumps(meanings, sort_keys=True)
        digests[function] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def modules_to_ship(code: Code) -> list[Path]:
    """What another machine needs to import the user's code: files and folders of packages."""
    places: dict[Path, None] = {}
    for modules in code.values():
        for name, module in modules.items():
            levels = name.count(".") + module.is_package
            places[[module.file, *module.file.parents][levels]] = None
    return list(places)


def modules_of(function: str, folder: Path | None, *, key: str = "build") -> dict[str, UserModule]:
    """The modules that a "module:function" brings, by dotted names, looked up in `folder` first.

    Raises:
        InputError: the function's own module is not found; the message says that `key` names it.
    """
    module = function.partition(":")[0]
    if _file(module, folder) is None:
        raise InputError(
            f"{key}: {function}: there is no module {module!r}. It is looked up in "
            f"{folder or Path.cwd()}, beside the search space, then on sys.path."
        )
    own_top = module.partition(".")[0]
    found: dict[str, UserModule] = {}
    wanted, seen = [module], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for inner, file in _files(name, folder).items():
            if inner not in found and is_users(inner, file, own_top):
                found[inner] = UserModule(file, file.read_bytes())
                wanted += _imported_names(inner, found[inner])
    return found


def is_users(name: str, file: Path, own_top: str = "") -> bool:
    """Whether a module is the user's: not Python's, an installed package's, or this project's.

    The builder's own package, `own_top`, is the user's wherever it lies.
    """
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in _PROJECT:
        return False  # One of that name would hide the real one from all that a worker imports.
    return top == own_top or not _INSTALLED & set(file.parts)


def _files(name: str, folder: Path | None) -> dict[str, Path]:
    """The modules that `import name` concerns: one file, or all of a regular package."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        outer = ".".join(parts[:end])
        file = _file(outer, folder)
        if file is not None:
            is_package = file.name == "__init__.py"
            return _files_of_package(outer, file.parent) if is_package else {outer: file}
    return {}


def _files_of_package(name: str, folder: Path) -> dict[str, Path]:
    files = {}
    for file in sorted(_sources_below(folder, set())):
        parts = file.relative_to(folder).with_suffix("").parts
        inner = parts[:-1] if parts[-1] == "__init__" else parts
        if all(part.isidentifier() for part in inner):  # no .ipynb_checkpoints
            files[".".join([name, *inner])] = file
    return files


def _sources_below(folder: Path, outer: set[Path]) -> Iterator[Path]:
    """The Python files in a folder and its subfolders, linked ones among them, but no circles."""
    real = folder.resolve()
    if real in outer:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _sources_below(path, outer | {real})
        elif path.suffix == ".py":
            yield path


def _spec(name: str, folder: Path | None) -> ModuleSpec | None:
    """Where Python would find a module, with `folder` before `sys.path`; nothing is run."""
    top, *parts = name.split(".")
    found = PathFinder.find_spec(top, [str(folder), *sys.path] if folder else sys.path)
    if found is None or found.origin is None:
        # Packages that are installed as editable have finders of their own.
        with suppress(ValueError):  # `__main__` has no place
            found = importlib.util.find_spec(top) or found
    for part in parts:
        places = found.submodule_search_locations if found else None
        found = PathFinder.find_spec(part, list(places)) if places else None
    return found


def _file(name: str, folder: Path | None) -> Path | None:
    spec = _spec(name, folder)
    file = Path(spec.origin or "").absolute() if spec else None
    return file if file and file.is_file() else None


def _imported_names(name: str, module: UserModule) -> Iterator[str]:
    """The dotted names that a module imports; the last part may be a name within a module."""
    package = name if module.is_package else name.rpartition(".")[0]
    tree = _parse(module.source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            with suppress(ImportError):  # above the top of its package
                origin = importlib.util.resolve_name(relative, package)
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def _parse(source: bytes) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Given where the module is imported, as are errors.
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _dump(tree: ast.Module) -> str:
    for node in list(ast.walk(tree)):
        for name, value in list(ast.iter_fields(node)):
            if isinstance(value, list):
                value[:] = [item for item in value if not _is_bare_text(item)]
            if value is None or value == []:  # Versions of Python differ in showing these.
                delattr(node, name)
    return ast.dump(tree)


def _is_bare_text(node: object) -> bool:
    """A docstring, or any other text that stands alone as a statement."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
