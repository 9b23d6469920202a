"""Which space and which images a command means."""

import os
from dataclasses import dataclass

from mnist_ray.data import Dataset, DatasetUnavailable, load_dataset
from mnist_ray.space import Space, load_space

_DIGITS_NOTICE = (
    "This is not MNIST: it can't be had here ({reason}), so this is scikit-learn's digits, 1,797 "
    "small handwritten digits set in 28x28 pixels. With MNIST at hand: --data PATH."
)


@dataclass(frozen=True, eq=False)
class Sources:
    """A space and its images.

    `notices` say plainly, at the start and at the end, where they are not what one would expect.
    """

    space: Space
    dataset: Dataset
    notices: tuple[str, ...] = ()


def find_sources(name: str | None, *, data: str | None) -> Sources:
    """The space called `name`, and its images.

    Without a name: the notebook's cells on MNIST where it can be had, otherwise on digits.

    Args:
        name: a path or the name of a shipped space.
        data: where MNIST lies; `MNIST_RAY_DATA` where None.

    Raises:
        InputError: the space or the images can't be used.
    """
    space = load_space(name or "notebook")
    try:
        return Sources(space, _load(space, data))
    except DatasetUnavailable as error:
        if name is not None:
            raise
        reason = str(error.__cause__ or error).splitlines()[0]
    digits = load_space("digits")
    notice = _DIGITS_NOTICE.format(reason=reason)
    return Sources(digits, _load(digits, None), (notice,))


def _load(space: Space, data: str | None) -> Dataset:
    if space.dataset == "mnist":
        data = data or os.environ.get("MNIST_RAY_DATA") or None
    base = space.source.parent if space.source else None
    return load_dataset(space.dataset, data=data, base=base)
