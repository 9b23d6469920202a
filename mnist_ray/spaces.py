"""The search spaces that come along: `mnist-ray spaces`, `mnist-ray spaces NAME --copy`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from mnist_ray._command import flag, option, run_command
from mnist_ray.errors import InputError

_HOW_LONG = "How long: "
_SCHEMA = "# yaml-language-server: $schema="


@dataclass(frozen=True)
class SpacesOptions:
    """List the search spaces that come along: what each answers, and how long that takes. With a
    name: print that one, or copy it here to start from."""

    name: str | None = option("one of them", names=[], nargs="?", metavar="NAME")
    copy: bool = flag("write NAME.yaml into this folder, and the code that it uses beside it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return run_command("spaces", SpacesOptions, _run, arguments=arguments)


def _run(options: SpacesOptions) -> int:
    if options.name is None and options.copy:
        raise argparse.ArgumentTypeError(
            "--copy: say which one, as in `mnist-ray spaces notebook --copy`"
        )
    if options.name is None:
        _list()
    elif options.copy:
        _copy(options.name)
    else:
        print(_find(options.name).read_text(), end="")
    return 0


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from mnist_ray.space.space import shipped_spaces

    console = Console(highlight=False)
    spaces = [(name, *introduction(p.read_text())) for name, p in shipped_spaces().items()]
    if not console.is_terminal:
        for name, answers, how_long in spaces:
            print(f"{name}: {answers} {_HOW_LONG}{how_long}")
        return
    table = Table("name", "what it answers", "how long", box=None, padding=(0, 2, 1, 0))
    for row in spaces:
        table.add_row(*row)
    console.print(table)
    console.print("How long it takes here: mnist-ray sweep NAME --dry-run", markup=False)
    console.print("One to start from: mnist-ray spaces NAME --copy", markup=False)


def introduction(text: str) -> tuple[str, str]:
    """What the comments at a space's top say: what it answers, and how long that takes."""
    comments = takewhile(lambda line: line.startswith("#"), text.splitlines())
    lines = [line.lstrip("# ") for line in comments if not line.startswith(_SCHEMA)]
    answers, _, how_long = " ".join(lines).partition(_HOW_LONG)
    return answers.strip(), how_long.strip()


def _find(name: str) -> Path:
    from mnist_ray.errors import unknown
    from mnist_ray.space.space import shipped_spaces

    found = shipped_spaces()
    if name.removesuffix(".yaml") not in found:
        raise InputError(unknown("search space", name, found))
    return found[name.removesuffix(".yaml")]


def _copy(name: str) -> None:
    """Write a shipped space and the user's code beside it into the working folder."""
    path = _find(name)
    contents = {path.name: _with_schema(path.read_text()).encode(), **_code_beside(path)}
    _write_new(contents)
    print(f"Written: {', '.join(contents)}")
    print(f"Run it: mnist-ray sweep {path.name}")


def _with_schema(text: str) -> str:
    """`text` with a first line that names the schema where it lies on this machine."""
    from mnist_ray.space.json_schema import shipped_schema

    lines = text.splitlines(keepends=True)
    own = lines[1:] if lines[0].startswith(_SCHEMA) else lines
    return "".join([f"{_SCHEMA}{shipped_schema().as_uri()}\n", *own])


def _code_beside(path: Path) -> dict[str, bytes]:
    """The modules that a space's own builders bring and that lie beside it."""
    from mnist_ray.space.space import load_space

    code = load_space(str(path)).user_code()
    modules = [module for brought in code.values() for module in brought.values()]
    return {m.file.name: m.source for m in modules if m.file.parent == path.parent}


def _write_new(contents: Mapping[str, bytes]) -> None:
    """Write files into the working folder: all of them, or none where one is there already."""
    there = [name for name in contents if Path(name).exists()]
    if there:
        raise InputError(
            f"--copy: {', '.join(there)} exists already in {Path.cwd()}, and nothing is ever "
            "overwritten. Move it away, or go to another folder."
        )
    with ExitStack() as files:
        try:
            for name, content in contents.items():
                files.enter_context(Path(name).open("xb")).write(content)
        except OSError as error:
            raise InputError(
                f"--copy: {Path.cwd()} cannot be written ({error}). Go to another folder."
            ) from error


if __name__ == "__main__":
    sys.exit(main())
