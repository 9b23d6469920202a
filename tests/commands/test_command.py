"""`mnist-ray` and its words, and the commands that only show what comes along."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from running import PROJECT, Ended

from mnist_ray import __version__, spaces
from mnist_ray.__main__ import main
from mnist_ray.space.space import load_space, shipped_spaces

COMMANDS = ("sweep", "report", "sanity-check", "doctor", "spaces", "schema")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(*arguments: str) -> Ended:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    ended = python("-X", "importtime", "-m", "mnist_ray", "--help")
    assert ended.code == 0
    assert all(name in ended.output for name in COMMANDS)
    imported = {line.rpartition("|")[2].strip() for line in ended.errors.splitlines()}
    assert not imported & {"numpy", "pyarrow", "pandas", "pydantic", "rich", "ray", "tensorflow"}


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_needs_no_traceback(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ray", "spaces"],
        cwd=PROJECT,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: mnist-ray {command} ")


def test_each_command_is_a_module_too() -> None:
    ended = python("-m", "mnist_ray.sanity_check", "--help")
    assert ended.output.startswith("usage: mnist-ray sanity-check ")


def test_the_installed_command_is_the_same() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["mnist-ray"].partition(":")
    ended = python(
        "-c", f"import sys; sys.argv = ['x', '--version']; import {module} as m; m.{function}()"
    )
    assert (ended.code, ended.output) == (0, f"mnist-ray {__version__}\n")


def test_the_version_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mnist-ray {__version__}\n"


@pytest.mark.parametrize("given", [["swep"], ["--dry-run"]])
def test_what_is_no_command_is_refused_with_those_that_are(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert "sweep" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "sanity-check" in capsys.readouterr().err


def test_the_code_of_a_command_is_that_of_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "no-such-space", "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("mnist-ray sweep: there is no search space")


def test_every_shipped_space_says_what_it_answers_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["spaces"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*shipped_spaces()]
    for path in shipped_spaces().values():
        answers, how_long = spaces.introduction(path.read_text())
        assert answers
        assert "minute" in how_long, path


def test_a_shipped_space_is_shown_as_its_file_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "tuning"]) == 0
    assert capsys.readouterr().out == shipped_spaces()["tuning"].read_text()


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_copy_says_the_same_and_brings_its_code_and_where_the_schema_lies(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spaces", name, "--copy"]) == 0
    assert f"mnist-ray sweep {name}.yaml" in capsys.readouterr().out
    copy = Path(f"{name}.yaml")
    assert load_space(str(copy.absolute())) == load_space(name)
    place = copy.read_text().splitlines()[0].partition("$schema=file://")[2]
    assert json.loads(Path(place).read_text())["title"] == "A search space of mnist_ray"


def test_a_copy_brings_the_code_that_lies_beside_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "mine.yaml").write_text(
        "# Does it work?\nname: mine\nvariants: {centered: {}}\n"
        "architectures: {own: {build: 'my_module:build'}}\n"
    )
    (shipped / "my_module.py").write_text("import my_layers\n\ndef build(): ...\n")
    (shipped / "my_layers.py").write_text("units = 3\n")
    (shipped / "unused.py").write_text("")
    found = {"mine": shipped / "mine.yaml"}
    monkeypatch.setattr("mnist_ray.space.space.shipped_spaces", lambda: found)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert main(["spaces", "mine", "--copy"]) == 0
    assert sorted(path.name for path in work.iterdir()) == [
        "mine.yaml",
        "my_layers.py",
        "my_module.py",
    ]


def test_a_copy_never_overwrites(capsys: pytest.CaptureFixture[str]) -> None:
    Path("digits.yaml").write_text("mine")
    assert main(["spaces", "digits", "--copy"]) == 2
    assert "--copy: digits.yaml exists already" in capsys.readouterr().err
    assert Path("digits.yaml").read_text() == "mine"


def test_a_copy_of_what_is_not_shipped_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spaces", "notbook", "--copy"]) == 2
    assert 'did you mean "notebook"?' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["spaces", "--copy"])
    assert ended.value.code == 2


def test_the_schema_is_printed_as_it_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (PROJECT / "search_spaces/schema.json").read_text()
