"""What the commands share: their arguments, and which space and images they mean."""

import argparse
import contextlib
import gc
import math
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

from mnist_ray.errors import InputError

# What is heavy is imported where it is used, so that `--help` stays quick.
if TYPE_CHECKING:
    from mnist_ray.data.dataset import Dataset
    from mnist_ray.space.custom_code import Code
    from mnist_ray.space.space import Space

_DIGITS_NOTICE = (
    "This is not MNIST: it can't be had here ({reason}), so this is scikit-learn's digits, 1,797 "
    "small handwritten digits set in 28x28 pixels. With MNIST at hand: --data PATH."
)


@dataclass(frozen=True, eq=False)
class SweepInputs:
    """A space and its images.

    `notices` say plainly, at the start and at the end, where they are not what one would expect.
    """

    space: "Space"
    dataset: "Dataset"
    code: "Code" = field(default_factory=dict)
    """The modules of the user's own architectures and transforms."""
    notices: tuple[str, ...] = ()


def find_inputs(
    name: str | None,
    *,
    data: str | None,
    trials: int | None = None,
    seed: int | None = None,
) -> SweepInputs:
    """The space called `name`, as a command changes it, and its images.

    Without a name: the notebook's cells on MNIST where it can be had, otherwise on digits.

    Args:
        name: a path or the name of a shipped space.
        data: where MNIST lies; `MNIST_RAY_DATA` where None.
        trials: of each cell, in place of the file's.
        seed: in place of the file's.

    Raises:
        InputError: the space or the images cannot be used, together or by themselves.
    """
    found = _find(name, data)
    from mnist_ray.train.transform_check import checked_image_shapes

    space = found.space.override(trials=trials, seed=seed)
    code = space.user_code()
    space = space.with_image_shapes(checked_image_shapes(space, found.dataset, code))
    space.check_images(found.dataset.image_shape, found.dataset.classes)
    if space.search and space.search.algorithm == "optuna":
        from mnist_ray.plan.sampler import check_optuna

        check_optuna()
    return replace(found, space=space, code=code)


def _find(name: str | None, data: str | None) -> SweepInputs:
    from mnist_ray.data.keras_cache import DatasetUnavailable
    from mnist_ray.space.space import load_space

    space = load_space(name or "notebook")
    try:
        return SweepInputs(space, _load(space, data))
    except DatasetUnavailable as error:
        if name is not None:
            raise
        reason = str(error.__cause__ or error).splitlines()[0]
    digits = load_space("digits")
    notice = _DIGITS_NOTICE.format(reason=reason)
    return SweepInputs(digits, _load(digits, None), notices=(notice,))


def _load(space: "Space", data: str | None) -> "Dataset":
    from mnist_ray.data.dataset import load_dataset

    if space.dataset == "mnist":
        data = data or os.environ.get("MNIST_RAY_DATA") or None
    base = space.source.parent if space.source else None
    return load_dataset(space.dataset, data=data, base=base)


_OF_ONE_RUN = ("dry_run", "fresh", "hourly_cost", "quiet", "verbose")
"""Options of a sweep that say nothing of what is to be run."""


def command_again(options: object, defaults: object) -> str:
    """The command line that runs what such a sweep still lacks.

    Args:
        options: of a sweep, as attributes; `space` is the one that is given by its place.
        defaults: the options when none is given.
    """
    words = ["mnist-ray", "sweep"]
    for name, value in vars(options).items():
        if name in _OF_ONE_RUN or value == vars(defaults)[name]:
            continue
        values = [str(each) for each in (value if isinstance(value, list | tuple) else [value])]
        flag = [] if name == "space" else [f"--{name.replace('_', '-')}"]
        words += [word for each in values for word in (*flag, each)]
    return shlex.join(words)


def run_as_program(main: Callable[[], int]) -> NoReturn:
    """Run a command as all that this process does, and end the process with its exit code."""
    # Nearly all of what imports make stays; to look through it for garbage again and again, as
    # Python would, takes a sixth of their time.
    gc.set_threshold(100_000)
    exit_code = main()
    # At its end Python would look for garbage in all that was imported: a third of a second.
    gc.freeze()
    sys.exit(exit_code)


def report_error(error: Exception, *, command: str) -> int:
    """Print the error that ended `command`; its exit code.

    That is 2 where something given cannot be used (`InputError`), and 1 where something went wrong
    later, such as a results place that cannot be reached any more (`StorageError`).
    """
    print(f"{command}: {error}", file=sys.stderr)
    return 2 if isinstance(error, InputError) else 1


@contextlib.contextmanager
def interruptible(*, exit_code: int) -> Iterator[None]:
    """Ctrl-C or SIGTERM raises KeyboardInterrupt; a second one ends the process with `exit_code`.

    Ray's processes then end by themselves. For the command alone: in a notebook, ending at once
    would take the notebook's kernel along.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        for number in before:
            signal.signal(number, lambda *_: os._exit(exit_code))
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
    """Raises KeyboardInterrupt in place of an error that a library made of it.

    Compiled libraries do so, with an error that names it: pydantic while it makes a class, which
    may happen in every import.
    """
    try:
        yield
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        raise


def integer(*, least: int) -> Callable[[str], int]:
    """What argparse takes for a type: an integer from `least` on."""

    def parsed(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} given, an integer from {least} on allowed")
        return number

    return parsed


def number(*, least: float) -> Callable[[str], float]:
    """What argparse takes for a type: a finite number from `least` on."""

    def parsed(text: str) -> float:
        try:
            given = float(text)
        except ValueError:
            given = math.nan
        if not least <= given < math.inf:
            raise argparse.ArgumentTypeError(
                f"{text!r} given, a number of at least {least:g} allowed"
            )
        return given

    return parsed
