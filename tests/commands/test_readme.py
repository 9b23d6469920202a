"""The README's lines of Python do what it says.

Every block that is marked as Python and whose first line begins with `# review` is run, in the
README's order and in one namespace, where `results/digits` holds the sweep of the shipped space
`digits`: made up, but for its tables as a real one leaves them behind.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_up import ACCURACIES, folder_at, made_up_sweep
from pages import rebuild
from running import PROJECT

MARK = "# review"


def review_blocks(text: str) -> list[str]:
    """The marked Python blocks of a Markdown text."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.startswith(MARK)]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a finished sweep's `results/digits` in it."""
    folder = folder_at(tmp_path / "results/digits")
    changes = {"name": "digits", "variants": {"centered": {}, "shifted": {"shift": 10}}}
    sweep = made_up_sweep({**changes, "training": {"epochs": 5}}, accuracies=ACCURACIES)
    sweep.write(folder)
    rebuild(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


def test_every_marked_block_of_the_readme_runs(working_folder: Path) -> None:
    blocks = review_blocks((PROJECT / "README.md").read_text())
    assert blocks, f"no Python block in README.md begins with {MARK}"
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)


def test_only_marked_python_is_run() -> None:
    text = "```python\n# review: one\na = 1\n```\n\n```bash\n# review\n```\n\n```python\nb\n```\n"
    assert review_blocks(text) == ["# review: one\na = 1\n"]


def shown_commands(text: str) -> list[list[str]]:
    """The arguments of every `mnist-ray` command in a Markdown text."""
    spans = re.findall(r"`mnist-ray ([^`]*)`", text)
    lines = re.findall(r"^(?:    |\$ )mnist-ray ([^#\n]*)", text, re.MULTILINE)
    return [command.split() for command in (*spans, *lines)]


@pytest.mark.parametrize("document", ["README.md", "docs/guide.md", "docs/cluster.md"])
def test_every_command_that_is_shown_exists_with_its_options(document: str) -> None:
    shown = shown_commands((PROJECT / document).read_text())
    assert shown
    helps = {name: help_of(name) for name in {command[0] for command in shown}}
    for name, *arguments in shown:
        for option in (each for each in arguments if each.startswith("--")):
            assert f"{option} " in helps[name] or f"{option}\n" in helps[name], (name, option)


def help_of(command: str) -> str:
    arguments = [] if command.startswith("--") else [command]
    program = [sys.executable, "-m", "mnist_ray", *arguments, "--help"]
    ended = subprocess.run(program, check=True, capture_output=True, text=True)
    return re.sub(r"[\[\],]", " ", ended.stdout)
