import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from space_text import BASE, MNIST

from mnist_ray.errors import InputError
from mnist_ray.space import space as space_module
from mnist_ray.space.space import (
    load_space,
    shipped_spaces,
)

ROOT = Path(__file__).parent.parent.parent


def test_shipped_spaces_are_found_by_name_with_or_without_a_suffix() -> None:
    assert set(shipped_spaces()) == {
        "corruptions",
        "digits",
        "notebook",
        "number_formats",
        "pooling",
        "precision",
        "robustness",
        "sources",
        "tuning",
    }
    assert load_space("digits") == load_space("digits.yaml")
    assert load_space("digits").name == "digits"


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_a_shipped_space_fits_its_images(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    space.check_images(MNIST, 10)


def test_a_file_of_the_users_is_taken_before_a_shipped_one_of_that_file_name() -> None:
    Path("digits.yaml").write_text(BASE)
    assert load_space("digits.yaml").name == "test"
    assert load_space("digits").name == "digits"


def test_every_package_is_part_of_an_installation_and_so_is_a_shipped_spaces_code() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "mnist_ray").rglob("__init__.py")
    }
    assert set(settings["packages"]) == packages | {"mnist_ray.search_spaces"}
    shipped = settings["package-data"]["mnist_ray.search_spaces"]
    files = {file.name for pattern in shipped for file in (ROOT / "search_spaces").glob(pattern)}
    assert {"corruptions.yaml", "corruptions.py", "schema.json"} <= files


def test_shipped_spaces_are_found_in_an_installed_package(tmp_path: Path) -> None:
    for source in (ROOT / "mnist_ray").rglob("*.py"):
        target = tmp_path / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    shutil.copytree(ROOT / "search_spaces", tmp_path / "mnist_ray" / "search_spaces")
    code = (
        "from mnist_ray.space import space; print(space.__file__, *space.shipped_spaces().values())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, *spaces = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert len(spaces) == len(shipped_spaces())
    assert all(Path(path).parent == tmp_path / "mnist_ray" / "search_spaces" for path in spaces)


def test_a_space_is_read_without_ray_tensorflow_or_numpy() -> None:
    heavy = {"ray", "tensorflow", "numpy"}
    code = f"import mnist_ray.space.space, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_space_that_does_not_exist_is_reported_with_those_that_do() -> None:
    with pytest.raises(InputError) as caught:
        load_space("notbook")
    message = str(caught.value)
    assert 'no search space "notbook" (did you mean "notebook"?)' in message
    assert (
        "corruptions, digits, notebook, number_formats, pooling, precision, robustness, sources, "
        "tuning" in message
    )


def test_a_misspelt_path_is_reported_with_the_nearest_file_beside_it() -> None:
    Path("my_space.yaml").write_text(BASE)
    with pytest.raises(InputError, match=r'did you mean "my_space\.yaml"'):
        load_space("my_spcae.yaml")


@pytest.mark.parametrize(
    ("name", "message"),
    [(".", "is a folder"), ("/dev/null", "is no file"), ("x" * 5000, "no search"), ("a\0b", "no")],
)
def test_what_is_no_file_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_space(name)


def test_what_is_no_mapping_is_reported_with_the_file() -> None:
    Path("space.yaml").write_text("name: [")
    with pytest.raises(InputError, match=r"the search space space\.yaml is no YAML: line 1, col"):
        load_space("space.yaml")


def test_a_file_that_cannot_be_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    Path("space.yaml").write_text(BASE)
    monkeypatch.setattr(space_module.Path, "open", deny)
    with pytest.raises(InputError, match=r"space.yaml cannot be read: Permission denied"):
        load_space("space.yaml")
