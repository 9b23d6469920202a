import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import made_up_space

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import (
    module_file,
    modules_to_ship,
    own_builders,
    source_digests,
)
from mnist_ray.space.space import Space


def space_at(folder: Path, *builders: str) -> Space:
    """A space whose file lies in `folder`, with an architecture for each builder."""
    architectures = {f"mine{i}": {"build": name, "width": 3} for i, name in enumerate(builders)}
    space = made_up_space({"architectures": {"feed_forward": {}, **architectures}})
    return replace(space, source=folder / "space.yaml")


def test_modules_are_found_beside_the_space_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("beside", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine_somewhere.py").write_text(f"# {folder}")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path"), *sys.path])
    beside = module_file("mine_somewhere:build", tmp_path / "beside")
    assert beside == tmp_path / "beside" / "mine_somewhere.py"
    elsewhere = module_file("mine_somewhere:build", tmp_path)
    assert elsewhere == tmp_path / "path" / "mine_somewhere.py"
    assert module_file("mine_somewhere:build", None) == elsewhere


def test_modules_of_packages_are_found_without_running_any_of_them(tmp_path: Path) -> None:
    package = tmp_path / "mine_package" / "nets"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise RuntimeError('was run')")
    (package / "small.py").write_text("raise RuntimeError('was run')")
    assert module_file("mine_package.nets.small:build", tmp_path) == package / "small.py"
    assert module_file("mine_package.nets:build", tmp_path) == package / "__init__.py"
    with pytest.raises(InputError, match=r"no module 'mine_package.large'"):
        module_file("mine_package.large:build", tmp_path)


@pytest.mark.parametrize("builder", ["no_such_module:build", "sys:build", "json.no_such:build"])
def test_a_module_that_is_not_there_is_named_with_where_it_was_looked_up(
    tmp_path: Path, builder: str
) -> None:
    with pytest.raises(InputError, match="there is no module") as refused:
        module_file(builder, tmp_path)
    assert builder in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_sources_of_own_architectures_are_hashed_and_others_not(tmp_path: Path) -> None:
    source = b"def build(): ...\n"
    (tmp_path / "mine_hashed.py").write_bytes(source)
    space = space_at(tmp_path, "mine_hashed:build")
    expected = {"mine_hashed:build": hashlib.sha256(source).hexdigest()}
    assert own_builders(space) == ["mine_hashed:build"]
    assert space.code_folder == tmp_path
    assert source_digests(space) == expected
    (tmp_path / "mine_hashed.py").write_bytes(source + b"# changed")
    assert source_digests(space) != expected


def test_what_is_sent_to_other_machines_is_all_that_the_builders_need(tmp_path: Path) -> None:
    files = {
        "alone.py": "import json, keras\nimport beside\n",
        "beside.py": "from further import on\nimport alone\n",
        "further.py": "def on(): import lazily\n",
        "lazily.py": "",
        "json.py": "",
        "unrelated.py": "",
        "package/__init__.py": "from . import inner\n",
        "package/inner.py": "import helping.parts\n",
        "helping/__init__.py": "",
        "helping/parts.py": "",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    space = space_at(tmp_path, "alone:build", "package.inner:build")
    names = {path.relative_to(tmp_path).as_posix() for path in modules_to_ship(space)}
    # A json.py beside the space would hide Python's own on the other machine.
    needed = {"alone.py", "beside.py", "further.py", "lazily.py", "package", "helping"}
    assert names == needed


def test_built_in_architectures_need_nothing_sent() -> None:
    assert modules_to_ship(made_up_space()) == []
    assert source_digests(made_up_space()) == {}
