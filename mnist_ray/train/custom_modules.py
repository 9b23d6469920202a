"""The user's modules, executed from the very source that was hashed, and anew for each trial."""

import importlib
import importlib.abc
import importlib.util
import linecache
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import UserModule, is_users

_STANDARD_LIBRARY = [
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("platstdlib"),
    str(Path(sysconfig.get_path("platstdlib")) / "lib-dynload"),
]


def execute(name: str, modules: Mapping[str, UserModule]) -> ModuleType:
    """Import the module `name` with everything at module level as at a first import.

    That holds for `modules` and for what else of the user's lies beside them. From now on these
    are imported from their given source, whatever `sys.path` says.

    Raises:
        Exception: whatever the modules raise.
    """
    _FINDER.begin(modules)
    return importlib.import_module(name)


def function_of(
    given: str, modules: Mapping[str, UserModule], *, what: str
) -> Callable[..., object]:
    """The function that is given as "module:function", of a module executed as by `execute`.

    Raises:
        InputError: `what` names one that cannot be imported.
    """
    name, _, function_name = given.partition(":")
    try:
        module = execute(name, modules)
    except Exception as error:
        place = modules[name].file if name in modules else "sys.path"
        raise InputError(
            f"{what}: the module {name!r} cannot be imported from {place} "
            f"({type(error).__name__}: {error})."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = ", ".join(key for key, value in vars(module).items() if callable(value))
        raise InputError(
            f"{what}: the module {name!r} has no function {function_name!r}. "
            f"It has: {names or 'none'}."
        )
    return function  # type: ignore[no-any-return]


def modules_kept() -> AbstractContextManager[None]:
    """While the block lasts, others may be executed; then the earlier ones are found again."""
    return _FINDER.modules_kept()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the user's modules before Python looks elsewhere."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}
        self._folders: set[Path] = set()
        self._imported_before: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in sys.stdlib_module_names:
            # A file of the user's that bears such a name is not in the hash, so it must not train.
            return PathFinder.find_spec(name, _STANDARD_LIBRARY)
        return self._specs.get(name)

    def begin(self, modules: Mapping[str, UserModule]) -> None:
        if self not in sys.meta_path:
            self._imported_before = set(sys.modules)
            sys.meta_path.insert(0, self)
        self._forget()
        files = {name: _file_here(name, module) for name, module in modules.items()}
        self._folders = {_folder_of_top(name, file) for name, file in files.items()}
        self._specs = {
            **_specs_of_open_packages(files),
            **{name: _spec(name, files[name], module) for name, module in modules.items()},
        }
        self._forget()
        for folder in map(str, self._folders):
            # Modules that are imported by names made at run time are found beside the others.
            if folder not in sys.path:
                sys.path.insert(0, folder)
        importlib.invalidate_caches()

    @contextmanager
    def modules_kept(self) -> Iterator[None]:
        specs, folders, modules = self._specs, self._folders, self._own_modules()
        try:
            yield
        finally:
            self._forget()
            self._specs, self._folders = specs, folders
            sys.modules.update(modules)

    def _own_modules(self) -> dict[str, ModuleType]:
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name in self._specs or self._is_from_folders(name, module)
        }

    def _forget(self) -> None:
        """Take out of `sys.modules` what a trial may have changed."""
        for name in self._own_modules():
            del sys.modules[name]

    def _is_from_folders(self, name: str, module: ModuleType) -> bool:
        if name in self._imported_before:
            return False
        file = Path(getattr(module, "__file__", None) or "")
        beside = not self._folders.isdisjoint(file.parents)
        return beside and is_users(name, file)


_FINDER = _Finder()


class _SourceLoader(importlib.abc.InspectLoader):
    def __init__(self, file: Path, source: bytes) -> None:
        self._file, self._source = str(file), source

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)

    def get_code(self, fullname: str) -> CodeType:
        # For tracebacks and AutoGraph, which would show and convert a file that has changed since.
        lines = self.get_source(fullname).splitlines(keepends=True)
        linecache.cache[self._file] = (len(self._source), None, lines, self._file)
        return _compiled(self._source, self._file)

    def is_package(self, fullname: str) -> bool:
        return Path(self._file).stem == "__init__"


@lru_cache(maxsize=1000)
def _compiled(source: bytes, file: str) -> CodeType:
    """Compiled once: AutoGraph keeps what it has converted by the identity of the code."""
    code: CodeType = compile(source, file, "exec", dont_inherit=True)
    return code


def _spec(name: str, file: Path, module: UserModule) -> ModuleSpec | None:
    is_source = file.suffix == ".py"  # and no compiled extension
    return importlib.util.spec_from_file_location(
        name,
        file,
        loader=_SourceLoader(file, module.source) if is_source else None,
        submodule_search_locations=[str(file.parent)] if module.is_package else None,
    )


def _specs_of_open_packages(files: Mapping[str, Path]) -> dict[str, ModuleSpec | None]:
    """Of the packages without an `__init__.py` that modules lie in."""
    specs: dict[str, ModuleSpec | None] = {}
    for name, file in files.items():
        folder = file.parent if file.stem == "__init__" else file
        outer = name
        while outer := outer.rpartition(".")[0]:
            folder = folder.parent
            if outer not in files:
                spec = ModuleSpec(outer, None, is_package=True)
                spec.submodule_search_locations = [str(folder)]
                specs[outer] = spec
    return specs


def _file_here(name: str, module: UserModule) -> Path:
    """Where a module lies on this machine: on a cluster, it is a copy that was sent here."""
    if module.file.is_file():
        return module.file
    place = module.file.relative_to(_folder_of_top(name, module.file))
    copies = (Path(folder) / place for folder in sys.path)
    return next((copy for copy in copies if copy.is_file()), module.file)


def _folder_of_top(name: str, file: Path) -> Path:
    """The folder that has to be on `sys.path` for the module to be found there."""
    return file.parents[name.count(".") + (file.stem == "__init__")]
