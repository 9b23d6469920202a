import pickle
import shutil
import sys
from pathlib import Path

import pytest
from made_up import made_up_space

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import (
    modules_of,
    modules_to_ship,
    source_digests,
)
from mnist_ray.space.space import Space


def space_at(folder: Path, *builders: str) -> Space:
    """A space whose file lies in `folder`, with an architecture for each builder."""
    architectures = {f"mine{i}": {"build": name, "width": 3} for i, name in enumerate(builders)}
    changes = {"architectures": {"feed_forward": {}, **architectures}}
    return made_up_space(changes, source=folder / "space.yaml")


def file_of(function: str, folder: Path | None) -> Path:
    return modules_of(function, folder)[function.partition(":")[0]].file


def test_modules_are_found_beside_the_space_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("beside", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine_somewhere.py").write_text(f"# {folder}")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path"), *sys.path])
    beside = file_of("mine_somewhere:build", tmp_path / "beside")
    assert beside == tmp_path / "beside" / "mine_somewhere.py"
    elsewhere = file_of("mine_somewhere:build", tmp_path)
    assert elsewhere == tmp_path / "path" / "mine_somewhere.py"
    assert file_of("mine_somewhere:build", None) == elsewhere


def test_modules_of_packages_are_found_without_running_any_of_them(tmp_path: Path) -> None:
    package = tmp_path / "mine_package" / "nets"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("raise RuntimeError('was run')")
    (package / "small.py").write_text("raise RuntimeError('was run')")
    assert file_of("mine_package.nets.small:build", tmp_path) == package / "small.py"
    assert file_of("mine_package.nets:build", tmp_path) == package / "__init__.py"
    with pytest.raises(InputError, match=r"no module 'mine_package.large'"):
        modules_of("mine_package.large:build", tmp_path)


@pytest.mark.parametrize("builder", ["no_such_module:build", "sys:build", "json.no_such:build"])
def test_a_module_that_is_not_there_is_named_with_where_it_was_looked_up(
    tmp_path: Path, builder: str
) -> None:
    with pytest.raises(InputError, match="there is no module") as refused:
        modules_of(builder, tmp_path)
    assert builder in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(source)


def digest_at(folder: Path, builder: str = "mine:build") -> str:
    return source_digests(space_at(folder, builder).user_code())[builder]


MINE = {
    "mine.py": "def build(): ...\n",
    "importing.py": "import helper\n",
    "helper.py": "def width():\n    import lazily\n    return 3\n",
    "lazily.py": "RATE = 0.5\n",
    "package/__init__.py": "",
    "package/nets.py": "from . import layers\nfrom .inner.deep import Deep\n",
    "package/layers.py": "import above\n",
    "package/inner/__init__.py": "",
    "package/inner/deep.py": "class Deep: ...\n",
    "above.py": "SIZE = 1\n",
    "open_package/net.py": "from .part import x\n",
    "open_package/part.py": "x = 1\n",
    "open_package/other.py": "x = 1\n",
    "unrelated.py": "x = 1\n",
}


def test_sources_of_own_architectures_are_hashed_and_others_not(tmp_path: Path) -> None:
    write(tmp_path, MINE)
    space = space_at(tmp_path, "mine:build")
    assert list(space.user_code()) == ["mine:build"]
    assert space.user_code()["mine:build"]["mine"].file == tmp_path / "mine.py"
    expected = source_digests(space.user_code())
    assert list(expected) == ["mine:build"]
    assert source_digests(space.user_code()) == expected
    (tmp_path / "mine.py").write_text(MINE["mine.py"] + "x = 1")
    assert source_digests(space.user_code()) != expected


@pytest.mark.parametrize(
    ("builder", "edited"),
    [
        ("importing:build", "importing.py"),
        ("importing:build", "helper.py"),
        ("importing:build", "lazily.py"),
        ("package.nets:build", "package/__init__.py"),
        ("package.nets:build", "package/layers.py"),
        ("package.nets:build", "package/inner/deep.py"),
        ("package.nets:build", "above.py"),
        ("open_package.net:build", "open_package/part.py"),
    ],
)
def test_an_edit_of_any_module_that_is_brought_changes_the_digest(
    tmp_path: Path, builder: str, edited: str
) -> None:
    write(tmp_path, MINE)
    before = digest_at(tmp_path, builder)
    (tmp_path / edited).write_text(MINE[edited] + "EDITED = True\n")
    assert digest_at(tmp_path, builder) != before


@pytest.mark.parametrize("edited", ["unrelated.py", "mine.py", "open_package/other.py"])
def test_an_edit_of_any_other_module_changes_nothing(tmp_path: Path, edited: str) -> None:
    write(tmp_path, MINE)
    builders = ["importing:build", "package.nets:build", "open_package.net:build"]
    space = space_at(tmp_path, *builders)
    before = source_digests(space.user_code())
    (tmp_path / edited).write_text(MINE[edited] + "EDITED = True\n")
    assert source_digests(space.user_code()) == before


def test_comments_layout_and_docstrings_change_nothing_and_all_else_does(tmp_path: Path) -> None:
    source = 'def build(x):\n    """Old."""\n    return [None, f"{x}", x + 1]\n'
    same = '# New.\n\n\ndef build(\n    x,\n):\n    """New."""\n\n    return [None, f\'{x}\', x+1]'
    write(tmp_path, {"mine.py": source})
    digest = digest_at(tmp_path)
    write(tmp_path, {"mine.py": same})
    assert digest_at(tmp_path) == digest
    others = [source.replace(*pair) for pair in [("1]", "2]"), ("None", "[]"), ("x +", "1 +")]]
    for other in others:
        write(tmp_path, {"mine.py": other})
        assert digest_at(tmp_path) != digest


def test_a_digest_depends_neither_on_the_folder_nor_on_how_modules_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "there"):
        write(tmp_path / folder, MINE)
    digests = {digest_at(tmp_path / folder, "package.nets:build") for folder in ("here", "there")}
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here"), *sys.path])
    (tmp_path / "empty").mkdir()
    digests.add(digest_at(tmp_path / "empty", "package.nets:build"))
    assert len(digests) == 1


def test_two_modules_that_exchange_their_code_are_another_architecture(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "import one, two\n", "one.py": "x = 1\n", "two.py": "x = 2\n"})
    before = digest_at(tmp_path)
    write(tmp_path, {"one.py": "x = 2\n", "two.py": "x = 1\n"})
    assert digest_at(tmp_path) != before


def test_modules_on_the_path_are_brought_too_unless_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "space", {"mine.py": "import on_path, installed, keras, json, mnist_ray\n"})
    write(tmp_path / "path", {"on_path.py": "x = 1\n"})
    installed = tmp_path / "env" / "site-packages"
    write(installed, {"installed.py": "", "theirs/__init__.py": "", "theirs/net.py": "import top"})
    write(installed, {"top.py": ""})
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path"), str(installed), *sys.path])
    builders = ["mine:build", "theirs.net:build", "keras.applications:ResNet50"]
    code = space_at(tmp_path / "space", *builders).user_code()
    assert {builder: set(modules) for builder, modules in code.items()} == {
        "mine:build": {"mine", "on_path"},
        "theirs.net:build": {"theirs", "theirs.net"},
        "keras.applications:ResNet50": set(),
    }


def test_modules_are_kept_as_they_were_when_they_were_hashed(tmp_path: Path) -> None:
    write(tmp_path, MINE)
    modules = space_at(tmp_path, "package.nets:build").user_code()["package.nets:build"]
    names = {"package", "package.nets", "package.layers", "package.inner", "package.inner.deep"}
    assert set(modules) == {*names, "above"}
    assert {name for name, module in modules.items() if module.is_package} == {
        "package",
        "package.inner",
    }
    digest = source_digests({"b": modules})
    again = pickle.loads(pickle.dumps(modules))
    shutil.rmtree(tmp_path / "package")
    assert again["package.inner.deep"].source == MINE["package/inner/deep.py"].encode()
    assert source_digests({"b": again}) == digest


@pytest.mark.parametrize("source", ["def build(:", "\0", "x = " + "(" * 500, "x = 1" + "+1" * 9000])
def test_a_module_that_does_not_parse_is_hashed_as_it_stands(tmp_path: Path, source: str) -> None:
    write(tmp_path, {"mine.py": source})
    before = digest_at(tmp_path)
    write(tmp_path, {"mine.py": source + " "})
    assert digest_at(tmp_path) != before


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
        "open_package/net.py": "",
    }
    write(tmp_path, files)
    space = space_at(tmp_path, "alone:build", "package.inner:build", "open_package.net:build")
    names = {path.relative_to(tmp_path).as_posix() for path in modules_to_ship(space.user_code())}
    # A json.py beside the space would hide Python's own on the other machine.
    needed = {
        "alone.py",
        "beside.py",
        "further.py",
        "lazily.py",
        "package",
        "helping",
        "open_package",
    }
    assert names == needed


def test_built_in_architectures_need_nothing_sent() -> None:
    assert modules_to_ship(made_up_space().user_code()) == []
    assert source_digests(made_up_space().user_code()) == {}


def test_modules_in_a_linked_folder_of_a_package_count_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "tool.py").write_text("N = 1")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "__init__.py").write_text("")
    (tmp_path / "linked" / "lib").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "linked")
    assert "linked.lib.tool" in modules_of("linked:build", tmp_path)
