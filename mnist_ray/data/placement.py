"""How an image lies on its canvas."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from numpy.typing import NDArray

from mnist_ray.data.array_files import Images
from mnist_ray.errors import InputError


def draw_offsets(
    image_shape: tuple[int, ...], count: int, *, shift: int, canvas: int, generator: Generator
) -> NDArray[np.int64]:
    """Draw for each image one of its (shift + 1)² places around the centre, all equally likely.

    Along each axis the first offset is `(canvas - size - shift) // 2` and the last is `shift` more.
    The draws depend on `generator`, `count` and `shift` alone: images of another size, or on
    another canvas, are shifted by the same amounts.

    `canvas` is the side of the square in pixels, `image_shape` begins with height and width.

    Returns:
        int64 [count, 2]: the pixels above and to the left of each image.

    Raises:
        InputError: The canvas cannot hold the shifted images, or `shift` is negative.
    """
    smallest = max(image_shape[:2]) + shift
    if shift < 0 or canvas < smallest:
        height, width = image_shape[:2]
        raise InputError(
            f"shift {shift} on canvas {canvas}: images of {height}x{width} pixels need a shift of "
            f"at least 0 and a canvas of at least {smallest}. Leave `canvas` out to have that."
        )
    first = [(canvas - size - shift) // 2 for size in image_shape[:2]]
    return generator.integers(0, shift + 1, size=(count, 2)) + first


def place(images: Images, offsets: NDArray[np.int64], *, canvas: int) -> Images:
    """Put each image, of uint8 [n, height, width], on a black square canvas of that side.

    `offsets` are int64 [n, 2], as `draw_offsets` gives them. The result is uint8
    [n, canvas, canvas], or `images` itself where they fill the canvas. Images in colour have a last
    axis of 3, and so has the result.
    """
    count, height, width, *channels = images.shape
    if height == width == canvas:
        return images
    placed = np.zeros((count, canvas, canvas, *channels), np.uint8)
    windows = sliding_window_view(placed, (height, width), axis=(1, 2), writeable=True)
    # The axes of a window come last, after those of the channels.
    windows[np.arange(count), *offsets.T] = np.moveaxis(images, (1, 2), (-2, -1))
    return placed
