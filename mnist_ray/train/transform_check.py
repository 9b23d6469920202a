"""Transforms are called in a child process before a sweep starts, and when its results are kept."""

from collections.abc import Iterator, Sequence

import numpy as np

from mnist_ray.data.dataset import Dataset, size_text
from mnist_ray.errors import ErrorCollector, InputError
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Space
from mnist_ray.space.variants import ImageShape, Transform
from mnist_ray.train.child_process import check_in_child
from mnist_ray.train.transforms import Images, TestImageCache, transformed

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
    request = ([*transforms.values()], dataset.train_images[:_SAMPLES], code)
    subjects = [str(alike[0]) for alike in transforms.values()]
    answers = check_in_child(_shapes, *request, subjects=subjects)
    shapes = dict(zip(transforms, answers, strict=True))
    errors = ErrorCollector(space.lines)
    for key, fault in shapes.items():
        if isinstance(fault, str):
            errors.add(("variants", space.variant_of(key), "transform"), fault)
    errors.raise_any(f"the search space {space.name}")
    return shapes


def transformed_test_images(
    transforms: Sequence[Transform], dataset: Dataset, code: Code, *, seed: int
) -> list[Images]:
    """The test images as each transform gives them in a sweep with that seed.

    Raises:
        InputError: one fails.
    """
    subjects = [str(each) for each in transforms]
    return check_in_child(_test_images, transforms, dataset, code, seed, subjects=subjects)


# In the child process


def _shapes(
    transforms: Sequence[Sequence[Transform]], images: Images, code: Code
) -> Iterator[ImageShape | str]:
    for alike in transforms:
        yield _shape(alike, images, code)


def _shape(transforms: Sequence[Transform], images: Images, code: Code) -> ImageShape | str:
    """The shape of the images that all of them give, or what is wrong."""
    shapes: dict[ImageShape, Transform] = {}
    for transform in transforms:
        try:
            shapes.setdefault(_shape_of(transform, images, code), transform)
        except InputError as error:
            return str(error)
        except Exception as error:
            return f"{transform} failed with {type(error).__name__}: {error}"
    if len(shapes) > 1:
        sizes = "; ".join(f"{size_text(s)} by {t}" for s, t in shapes.items())
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
        sizes = " and ".join(size_text(each.shape[1:]) for each in (first, other))
        raise InputError(f"{transform} gave images of {sizes} pixels; all must be of one size.")
    return first.shape[1:]


def _test_images(
    transforms: Sequence[Transform], dataset: Dataset, code: Code, seed: int
) -> Iterator[Images]:
    cache = TestImageCache()
    for transform in transforms:
        try:
            yield cache.images(dataset, transform, seed=seed, code=code)
        except Exception as error:
            raise InputError(f"{type(error).__name__}: {error}") from error
