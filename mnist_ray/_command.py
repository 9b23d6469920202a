"""What the commands share: how their options are declared, and how a command begins and ends."""

import argparse
import contextlib
import gc
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, fields
from typing import Any, NoReturn, TypeVar

from mnist_ray.errors import InputError, StorageError

Options = TypeVar("Options")
Number = TypeVar("Number", int, float)

INTERRUPTED = 130
"""The exit code of a command that a person interrupted."""


def option(what: str, *, default: Any = None, **settings: Any) -> Any:
    """A field of the dataclass that declares a command's options.

    Args:
        what: what the option does, for `--help`.
        default: of the field; `dataclasses.MISSING` where the option has to be given.
        settings: argparse's own, and two more: `names` on the command line, where they are not `--`
            and the field's name (none for a positional argument), and the `heading` above it and
            those that follow.
    """
    return field(default=default, metadata={"help": what, **settings})


def flag(what: str, **settings: Any) -> Any:
    """An option that is true where it is given; see `option`."""
    return option(what, default=False, action="store_true", **settings)


def run_command(
    name: str,
    options: type[Options],
    run: Callable[[Options], int],
    *,
    arguments: Sequence[str] | None,
) -> int:
    """Run the command called `name`; its exit code.

    That is what `run` gives; 2 where something given cannot be used (`InputError`); 1 where
    something went wrong later, such as a results place that cannot be reached any more
    (`StorageError`); 130 where a person interrupted it.

    Args:
        name: as it is typed.
        options: the dataclass of its options, whose docstring says what the command does.
        run: does it.
        arguments: in place of those that this process was given.
    """
    parser = _parser(name, options)
    given = options(**vars(parser.parse_args(arguments)))
    try:
        with _interruptible(), interruption_regained():
            return run(given)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    except (InputError, StorageError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser(name: str, options: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"mnist-ray {name}", description=options.__doc__)
    group: argparse._ActionsContainer = parser
    for each in fields(options):
        settings = dict(each.metadata)
        if heading := settings.pop("heading", None):
            group = parser.add_argument_group(heading)
        names = settings.pop("names", [f"--{each.name.replace('_', '-')}"])
        # What is not given is left to the dataclass.
        group.add_argument(*names or [each.name], default=argparse.SUPPRESS, **settings)
    return parser


def run_as_program(main: Callable[[], int]) -> NoReturn:
    """Run a command as all that this process does, and end the process with its exit code."""
    # Nearly all of what imports make stays; to look through it for garbage again and again, as
    # Python would, takes a sixth of their time.
    gc.set_threshold(100_000)
    exit_code = _piped(main)
    # At its end Python would look for garbage in all that was imported: a third of a second.
    gc.freeze()
    sys.exit(exit_code)


def _piped(main: Callable[[], int]) -> int:
    """What `main` gives, or 1 where nobody reads its output any more, as after `| head`."""
    try:
        exit_code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        try:
            print(flush=True)  # fails again where it is this pipe that is broken
        except BrokenPipeError:
            # Python writes out what is left at its end; that would fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        raise
    return exit_code


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C or SIGTERM raises KeyboardInterrupt; a second one ends the process.

    Ray's processes then end by themselves. For the command alone: in a notebook, ending at once
    would take the notebook's kernel along.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        for number in before:
            signal.signal(number, lambda *_: os._exit(INTERRUPTED))
        raise KeyboardInterrupt

    # One that is ignored (as in a shell script's background, or under nohup) stays so.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: h for n in numbers if (h := signal.getsignal(n)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruption_regained() -> Iterator[None]:
    """Raises KeyboardInterrupt where a library has turned one into an error of its own.

    Compiled libraries do so, and name it in their message: pydantic, for example, while it creates
    a class, which any import may do.
    """
    try:
        yield
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        raise


def integer(*, least: int) -> Callable[[str], int]:
    """A type for argparse: an integer of at least `least`."""
    return _bounded(int, least, f"an integer from {least} on")


def number(*, least: float) -> Callable[[str], float]:
    """A type for argparse: a finite number of at least `least`."""
    return _bounded(float, least, f"a number of at least {least:g}")


def _bounded(read: Callable[[str], Number], least: float, allowed: str) -> Callable[[str], Number]:
    def parsed(text: str) -> Number:
        with contextlib.suppress(ValueError):
            number = read(text)
            if least <= number < math.inf:
                return number
        raise argparse.ArgumentTypeError(f"{text!r} given, {allowed} allowed")

    return parsed
