"""Images are placed on their canvas without bias."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from mnist_ray.data.placement import draw_offsets, place
from mnist_ray.errors import InputError


def offsets_of(placed: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Where `image`, whose corners are white, lies in each of `placed`; all else must be 0."""
    offsets = []
    for canvas in placed:
        rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
        np.testing.assert_array_equal(
            canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], image
        )
        offsets.append((int(rows[0]), int(columns[0])))
    return offsets


def placed_at_random(
    images: np.ndarray, *, shift: int, canvas: int, rng: np.random.Generator
) -> np.ndarray:
    size = (images.shape[1], images.shape[2])
    offsets = draw_offsets(size, len(images), shift=shift, canvas=canvas, generator=rng)
    return place(images, offsets, canvas=canvas)


def test_each_place_is_equally_likely_including_the_far_edge() -> None:
    image = np.array([[1, 2, 3], [4, 0, 6]], np.uint8)
    images = np.repeat(image[np.newaxis], 8000, axis=0)

    placed = placed_at_random(images, shift=4, canvas=9, rng=np.random.default_rng(1))

    # Rows start at (9 - 2 - 4) // 2 = 1, columns at (9 - 3 - 4) // 2 = 1.
    places, counts = np.unique(offsets_of(placed, image), axis=0, return_counts=True)
    np.testing.assert_array_equal(places, [(y, x) for y in range(1, 6) for x in range(1, 6)])
    assert stats.chisquare(counts).pvalue > 0.01


def test_placed_images_reach_all_four_edges_of_the_default_canvas() -> None:
    images = np.ones((500, 3, 3), np.uint8)

    placed = placed_at_random(images, shift=2, canvas=5, rng=np.random.default_rng(0))

    hits = placed.sum(axis=0)
    assert hits[0, 0] > 0
    assert hits[0, 4] > 0
    assert hits[4, 0] > 0
    assert hits[4, 4] > 0


def test_placing_preserves_the_pixels_of_each_image() -> None:
    images = np.random.default_rng(0).integers(1, 256, (50, 4, 4), dtype=np.uint8)

    placed = placed_at_random(images, shift=3, canvas=10, rng=np.random.default_rng(0))

    assert placed.shape == (50, 10, 10)
    assert placed.dtype == np.uint8
    # No pixel of these images is 0, so what is not 0 is the image, in its order.
    np.testing.assert_array_equal(placed[placed > 0].reshape(50, 4, 4), images)


def test_placing_needs_little_memory_beyond_its_result() -> None:
    images = np.ones((5000, 28, 28), np.uint8)

    tracemalloc.start()
    placed = placed_at_random(images, shift=20, canvas=48, rng=np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1.1 * placed.nbytes


def test_equal_generators_give_equal_places() -> None:
    images = np.arange(1, 91, dtype=np.uint8).reshape(10, 3, 3)

    first, second, other = (
        placed_at_random(images, shift=5, canvas=8, rng=np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )

    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_places_do_not_depend_on_the_size_of_image_and_canvas() -> None:
    small, large = np.ones((40, 2, 2), np.uint8), np.ones((40, 5, 5), np.uint8)

    near = placed_at_random(small, shift=6, canvas=8, rng=np.random.default_rng(2))
    far = placed_at_random(large, shift=6, canvas=31, rng=np.random.default_rng(2))

    # The first offset is 0 on the one canvas and (31 - 5 - 6) // 2 = 10 on the other.
    near_offsets = np.array(offsets_of(near, small[0]))
    np.testing.assert_array_equal(near_offsets + 10, offsets_of(far, large[0]))


def test_unshifted_images_are_returned_themselves() -> None:
    images = np.ones((2, 4, 4), np.uint8)

    assert placed_at_random(images, shift=0, canvas=4, rng=np.random.default_rng(0)) is images


def test_unshifted_image_lies_in_the_middle_of_a_larger_canvas() -> None:
    images = np.full((1, 2, 4), 9, np.uint8)

    placed = placed_at_random(images, shift=0, canvas=6, rng=np.random.default_rng(0))

    expected = np.zeros((1, 6, 6), np.uint8)
    expected[0, 2:4, 1:5] = 9
    np.testing.assert_array_equal(placed, expected)


def test_image_in_colour_is_placed_as_each_of_its_channels() -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 3, 4, 3), dtype=np.uint8)

    placed = placed_at_random(images, shift=2, canvas=7, rng=np.random.default_rng(0))

    channels = [
        placed_at_random(images[..., c], shift=2, canvas=7, rng=np.random.default_rng(0))
        for c in range(3)
    ]
    np.testing.assert_array_equal(placed, np.stack(channels, axis=-1))


@pytest.mark.parametrize(("shift", "canvas"), [(3, 6), (0, 3), (-1, 4)])
def test_canvas_that_cannot_hold_the_shifted_images_is_refused(shift: int, canvas: int) -> None:
    images = np.ones((1, 3, 4), np.uint8)

    with pytest.raises(InputError, match=f"shift {shift} on canvas {canvas}: images of 3x4"):
        placed_at_random(images, shift=shift, canvas=canvas, rng=np.random.default_rng(0))


@pytest.mark.parametrize(("size", "shift", "smallest"), [((28, 28), 20, 48), ((6, 9), 0, 9)])
def test_smallest_canvas_is_the_longer_side_and_the_shift(
    size: tuple[int, int], shift: int, smallest: int
) -> None:
    rng = np.random.default_rng(0)
    draw_offsets(size, 1, shift=shift, canvas=smallest, generator=rng)
    with pytest.raises(InputError, match=f"a canvas of at least {smallest}"):
        draw_offsets(size, 1, shift=shift, canvas=smallest - 1, generator=rng)
