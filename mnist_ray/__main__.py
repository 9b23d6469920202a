"""The command `mnist-ray`, also `python -m mnist_ray`: one subcommand for each task."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from mnist_ray import __version__
from mnist_ray._command import run_as_program

_COMMANDS = {
    "sweep": "run a search space, or what is missing of it",
    "report": "make the tables and the page of a sweep anew",
    "sanity-check": "let the saved models of a sweep read a few random test images",
    "doctor": "see what works on this machine and on a cluster",
    "spaces": "list the search spaces that come along, show one, or copy one here",
    "schema": "print the JSON Schema of search spaces, for editors",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that is named first, with what follows; gives its exit code."""
    given = sys.argv[1:] if arguments is None else [*arguments]
    parser = _parser()
    if not given:
        parser.print_help(sys.stderr)
        return 2
    command = parser.parse_args(given[:1]).command
    # Imported by its name, so that no command waits for what another one imports.
    module = import_module(f"mnist_ray.{command.replace('-', '_')}")
    code: int = module.main(given[1:])
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-ray",
        description="How well do Keras architectures do, and how sure can one be? Independent "
        "trials, and their means with an honest uncertainty.",
        epilog="`mnist-ray COMMAND --help` says more about each.",
    )
    parser.add_argument("--version", action="version", version=f"mnist-ray {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands")
    for name, what in _COMMANDS.items():
        commands.add_parser(name, help=what, add_help=False)
    return parser


def start() -> None:
    """What the installed command `mnist-ray` calls."""
    run_as_program(main)


if __name__ == "__main__":
    start()
