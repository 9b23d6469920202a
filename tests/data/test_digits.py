"""scikit-learn's digits look as MNIST's do, and are the same everywhere."""

import numpy as np
import pytest
from scipy import ndimage

from mnist_ray.data.dataset import Dataset, load_dataset
from mnist_ray.data.digits import draw_as_mnist


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_digits_are_the_same_on_every_machine_for_ever(digits: Dataset) -> None:
    assert digits.fingerprint == "1aba07656808e03b9f17d2024793008979564649e2209b13e379bda1c46216c1"


def test_digits_are_split_into_1400_and_397_with_all_classes_in_both(digits: Dataset) -> None:
    assert digits.name == "digits"
    assert digits.image_shape == (28, 28)
    assert digits.train_images.shape == (1400, 28, 28)
    assert digits.test_images.shape == (397, 28, 28)
    assert digits.classes == 10
    assert np.bincount(digits.train_labels).min() > 120
    assert np.bincount(digits.test_labels).min() > 25


def test_digits_keep_each_original_in_exactly_one_part(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    labels = np.concatenate([digits.train_labels, digits.test_labels])
    images = np.concatenate([digits.train_images, digits.test_images])

    # The originals are all different, and so must the drawn ones be, in whichever part they lie.
    assert len(np.unique(load_digits().images, axis=0)) == len(np.unique(images, axis=0)) == 1797
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(load_digits().target))


def test_digits_look_as_those_of_mnist(digits: Dataset) -> None:
    boxes = [ndimage.find_objects((image > 0).astype(int))[0] for image in digits.train_images]
    sides = np.array([[side.stop - side.start for side in box] for box in boxes])
    centres = np.array([ndimage.center_of_mass(image) for image in digits.train_images])

    assert sides.max() == 20
    assert sides[:, 0].mean() == pytest.approx(20, abs=0.5)
    # MNIST's own centres lie between 13.5 and 14.5, counted from the middle of the first pixel.
    assert np.abs(centres - 14).max() <= 0.5
    assert digits.train_images.max() == 255
    assert digits.train_images.max(axis=(1, 2)).mean() > 240
    # MNIST's mean is 33; these strokes were blurred when they were scanned to 8x8 pixels.
    assert digits.train_images.mean() == pytest.approx(38, abs=1)


def test_digits_drawn_with_integers_equal_linear_interpolation(digits: Dataset) -> None:
    # A ring of 8x8 pixels: scaled to 20x20, set at 14 - 10 = 4.
    ring = np.zeros((8, 8), np.int64)
    ring[[0, -1], :] = ring[:, [0, -1]] = 16
    middles = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    expected = ndimage.map_coordinates(
        ring.astype(float),
        np.meshgrid(middles, middles, indexing="ij"),
        order=1,
        mode="grid-constant",
    )

    drawn = draw_as_mnist(ring)

    np.testing.assert_allclose(drawn[4:24, 4:24], expected * 255 / 16, atol=0.5 + 1e-9)
    assert drawn.sum() == drawn[4:24, 4:24].sum()
