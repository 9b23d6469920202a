"""What the commands share: their arguments, and which space and images they mean."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_ray.errors import InputError

# What is heavy is imported where it is used, so that `--help` stays quick.
if TYPE_CHECKING:
    from mnist_ray.data.dataset import Dataset
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
    notices: tuple[str, ...] = ()


def find_inputs(name: str | None, *, data: str | None) -> SweepInputs:
    """The space called `name`, and its images.

    Without a name: the notebook's cells on MNIST where it can be had, otherwise on digits.

    Args:
        name: a path or the name of a shipped space.
        data: where MNIST lies; `MNIST_RAY_DATA` where None.

    Raises:
        InputError: the space or the images can't be used.
    """
    from mnist_ray.data.dataset import DatasetUnavailable
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
    return SweepInputs(digits, _load(digits, None), (notice,))


def _load(space: "Space", data: str | None) -> "Dataset":
    from mnist_ray.data.dataset import load_dataset

    if space.dataset == "mnist":
        data = data or os.environ.get("MNIST_RAY_DATA") or None
    base = space.source.parent if space.source else None
    return load_dataset(space.dataset, data=data, base=base)


def report_error(error: Exception, *, command: str) -> int:
    """Print the error that ended `command`; its exit code.

    That is 2 where something given cannot be used (`InputError`), and 1 where something went wrong
    later, such as a results place that cannot be reached any more (`StorageError`).
    """
    print(f"{command}: {error}", file=sys.stderr)
    return 2 if isinstance(error, InputError) else 1


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
