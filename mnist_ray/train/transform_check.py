"""Transforms are called in a child process before a sweep starts, and when its results are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnist_ray.data.dataset import Dataset
from mnist_ray.errors import ErrorCollector, InputError
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Space
from mnist_ray.space.variants import ImageShape, Transform
from mnist_ray.train.child_check import answer_parent, ask_child
from mnist_ray.train.transforms import Images, TestImageCache, transformed

_MODULE = "mnist_ray.train.transform_check"
_SAMPLES = 16
"""Images that each transform is called with."""


def checked_image_shapes(space: Space, dataset: Dataset, code: Code) -> dict[str, ImageShape]:
    """The shape of the images that each transform of the space gives.

    Each is called with a few training images and equal generators, for which it must give equal
    images of uint8, as many as it was given. What is searched is called at all options and ends.

    Returns:
        Height, width and, in colour, 3, by the keys of `Space.transforms`.

    Raises:
        InputError: some do something else, or cannot be called; all are reported at once.
    """
    transforms = space.transforms()
    if not transforms:
        return {}
    question = (transforms, dataset.train_images[:_SAMPLES], code)
    answers = ask_child(_MODULE, ("shapes", *question), what="transform")
    errors = ErrorCollector(space.lines)
    for key, fault in answers.items():
        if isinstance(fault, str):
            errors.add(("variants", space.variant_of(key), "transform"), fault)
    errors.raise_any(f"the search space {space.name}")
    return dict(answers)


def transformed_test_images(
    transforms: Sequence[Transform], dataset: Dataset, code: Code, *, seed: int
) -> list[Images]:
    """The test images as each transform gives them in a sweep with that seed.

    Raises:
        InputError: one fails.
    """
    if not transforms:
        return []
    question = ("test images", list(transforms), dataset, code, seed)
    found: list[Images] | str = ask_child(_MODULE, question, what=str(transforms[0]))
    if isinstance(found, str):
        raise InputError(found)
    return found


# In the child process


def _shapes(
    transforms: Mapping[str, Sequence[Transform]], images: Images, code: Code
) -> dict[str, ImageShape | str]:
    """By the keys of `transforms` the shape of the images, or what is wrong."""
    return {key: _shape(alike, images, code) for key, alike in transforms.items()}


def _shape(transforms: Sequence[Transform], images: Images, code: Code) -> ImageShape | str:
    shapes: dict[ImageShape, Transform] = {}
    for transform in transforms:
        try:
            shapes.setdefault(_shape_of(transform, images, code), transform)
        except InputError as error:
            return str(error)
        except Exception as error:
            return f"{transform} failed with {type(error).__name__}: {error}"
    if len(shapes) > 1:
        sizes = "; ".join(f"{'x'.join(map(str, s))} by {t}" for s, t in shapes.items())
        return f"the searched values give images of different sizes ({sizes}); allowed: one size"
    return next(iter(shapes))


def _shape_of(transform: Transform, images: Images, code: Code) -> ImageShape:
    first, again = (
        transformed(images, transform, np.random.default_rng(0), code=code) for _ in range(2)
    )
    if first.shape != again.shape or not np.array_equal(first, again):
        raise InputError(
            f"{transform} gave different images for equal generators. Draw from the generator that "
            "it is given, and from no other, so that trials can be repeated."
        )
    other = transformed(images[1:], transform, np.random.default_rng(1), code=code)
    if other.shape[1:] != first.shape[1:]:
        sizes = " and ".join("x".join(map(str, each.shape[1:])) for each in (first, other))
        raise InputError(f"{transform} gave images of {sizes} pixels; all must be of one size.")
    return first.shape[1:]


def _test_images(
    transforms: Sequence[Transform], dataset: Dataset, code: Code, seed: int
) -> list[Images] | str:
    cache = TestImageCache()
    try:
        return [cache.images(dataset, each, seed=seed, code=code) for each in transforms]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _answer(kind: str, *question: Any) -> object:
    return {"shapes": _shapes, "test images": _test_images}[kind](*question)  # type: ignore[operator]


if __name__ == "__main__":
    answer_parent(_answer)
