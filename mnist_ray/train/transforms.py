"""The user's own transforms of images: called, and what they give checked."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset, size_text
from mnist_ray.errors import InputError
from mnist_ray.plan.seeds import evaluation_transform_generator
from mnist_ray.space.custom_code import Code
from mnist_ray.space.variants import Transform
from mnist_ray.train import custom_modules

Images = NDArray[np.uint8]

_KEPT_BYTES = 256 << 20
"""Bytes of test images that are kept together, beside the newest."""


def transformed(
    images: Images, transform: Transform | None, generator: Generator, *, code: Code
) -> Images:
    """What a transform makes of images, or `images` themselves without one.

    Args:
        images: uint8 [n, height, width] or, in colour, [n, height, width, 3], which stay as they
            are.
        transform: what to call; its modules are executed anew.
        generator: all that the transform draws from.
        code: the modules of the user's own functions.

    Returns:
        uint8 [n, H, W] or [n, H, W, 3], C-contiguous.

    Raises:
        InputError: it cannot be imported, or does not give such images.
        Exception: whatever it raises.
    """
    if transform is None:
        return images
    with custom_modules.modules_kept():
        modules = code.get(transform.function, {})
        function = custom_modules.function_of(transform.function, modules, what=str(transform))
        given = function(images.copy(), generator, **transform.parameters)
        return _checked(given, transform, count=len(images))


def _checked(given: object, transform: Transform, *, count: int) -> Images:
    if not isinstance(given, np.ndarray):
        kind = type(given).__name__
        raise InputError(f"{transform} gave a {kind}; it must give one numpy.ndarray of images.")
    if given.dtype != np.uint8:
        raise InputError(
            f"{transform} gave {given.dtype} values; they must be uint8, from 0 to 255. Remedy: "
            "numpy.clip(images, 0, 255).astype(numpy.uint8)."
        )
    is_image = given.ndim == 3 or (given.ndim == 4 and given.shape[3] == 3)
    if not is_image or len(given) != count or not given.size:
        raise InputError(
            f"{transform} gave shape {list(given.shape)} for {count} images; it must give "
            f"[{count}, height, width], or [{count}, height, width, 3] in colour: as many images "
            "as it was given, in their order."
        )
    expected = transform.image_shape
    if expected is not None and given.shape[1:] != tuple(expected):
        raise InputError(
            f"{transform} gave images of {size_text(given.shape[1:])} pixels here and of "
            f"{size_text(expected)} before; all must be of one size."
        )
    return np.ascontiguousarray(given)


class TestImageCache:
    """The transformed test images of this process, kept for later trials.

    They depend on the sweep's seed alone, so all trials are graded on the very same images. For one
    data set and one version of the user's code.
    """

    __test__ = False  # Not a test case, whatever its name suggests to pytest.

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Images] = {}

    def images(
        self, dataset: Dataset, transform: Transform | None, *, seed: int, code: Code
    ) -> Images:
        """The test images of `dataset`, transformed; errors are those of `transformed`."""
        if transform is None:
            return dataset.test_images
        key = (str(transform), seed)
        if key not in self._kept:
            while sum(images.nbytes for images in self._kept.values()) > _KEPT_BYTES:
                del self._kept[next(iter(self._kept))]
            generator = evaluation_transform_generator(seed)
            self._kept[key] = transformed(dataset.test_images, transform, generator, code=code)
        return self._kept[key]
