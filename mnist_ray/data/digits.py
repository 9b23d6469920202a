"""scikit-learn's handwritten digits, presented as MNIST's are."""

import functools
from typing import Any

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

from mnist_ray.data.array_files import Images, Labels

_TRAINING = 1400
_SPLIT_SEED = 0
_SIDE = 28
_DIGIT_SIDE = 20


def load_digits_as_mnist() -> tuple[Images, Labels, Images, Labels]:
    """scikit-learn's 1,797 handwritten digits (UCI, 8x8, 0..16) in 28x28 pixels.

    They are drawn with integer arithmetic, and split by the raw output of a bit generator, which
    NumPy promises never to change. So every machine and version has the very same data set.

    Returns:
        Training images uint8 [1400, 28, 28] and labels int32 [1400], test images uint8
        [397, 28, 28] and labels int32 [397].
    """
    from sklearn.datasets import load_digits  # Importing it takes a second.

    bunch = load_digits()
    images = np.stack([draw_as_mnist(digit) for digit in bunch.images.astype(np.int64)])
    labels = bunch.target.astype(np.int32)
    order = np.argsort(PCG64(_SPLIT_SEED).random_raw(len(images)), kind="stable")
    train, test = order[:_TRAINING], order[_TRAINING:]
    return images[train], labels[train], images[test], labels[test]


def draw_as_mnist(digit: NDArray[np.int64]) -> Images:
    """A digit of int64 [8, 8] with values 0..16, as MNIST has it: uint8 [28, 28].

    Its bounding box is scaled to fit 20x20 pixels, with its proportions kept, and its centre of
    mass lies at the centre of the image (LeCun et al. 1998, http://yann.lecun.com/exdb/mnist/).
    """
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    box = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (_rounded_quotient(_DIGIT_SIDE * side, max(box.shape)) for side in box.shape)
    # Each weight matrix multiplies by twice its longer side; 16 stands for white.
    ink = _resizing(box.shape[0], height) @ box @ _resizing(box.shape[1], width).T
    ink = _rounded_quotient(255 * ink, 16 * 2 * height * 2 * width).astype(np.uint8)
    top = _offset_to_centre(ink.sum(axis=1, dtype=np.int64))
    left = _offset_to_centre(ink.sum(axis=0, dtype=np.int64))
    image = np.zeros((_SIDE, _SIDE), np.uint8)
    image[top : top + height, left : left + width] = ink
    return image


@functools.cache
def _resizing(size: int, new_size: int) -> NDArray[np.int64]:
    """Linear interpolation from `size` to `new_size` pixels, times 2·new_size: [new_size, size].

    Pixel i of the new image has its middle at (2i + 1) / (2·new_size) of the length, pixel j of
    the old one at (2j + 1) / (2·size). Beyond the image it is black.
    """
    new_middles = size * (2 * np.arange(new_size, dtype=np.int64) + 1)
    middles = new_size * (2 * np.arange(size, dtype=np.int64) + 1)
    distances = np.abs(new_middles[:, np.newaxis] - middles)
    weights: NDArray[np.int64] = np.maximum(0, 2 * new_size - distances)
    return weights


def _offset_to_centre(mass: NDArray[np.int64]) -> int:
    """The offset that brings the centre of `mass` nearest to MNIST's, 14, within the image."""
    centre: int = _rounded_quotient(int(mass @ np.arange(len(mass))), int(mass.sum()))
    return min(max(_SIDE // 2 - centre, 0), _SIDE - len(mass))


def _rounded_quotient(dividend: Any, divisor: int) -> Any:
    """The integer nearest to dividend / divisor (both at least 0); halves go up."""
    return (2 * dividend + divisor) // (2 * divisor)
