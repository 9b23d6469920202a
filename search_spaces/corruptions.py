"""Corruptions of grey images, as transforms of the search space corruptions.yaml.

Each takes uint8 images [n, height, width] and gives as many of the same size. What it draws comes
from the generator that it is given, so that a trial can be repeated.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.uint8]

_PART = 1000
"""Images that are worked on at once, so that numbers of several bytes take little memory."""


def rotate(images: Images, generator: Generator, *, degrees: float) -> Images:
    """Each image turned about its centre by an angle from -`degrees` to `degrees`."""
    angles = np.deg2rad(generator.uniform(-degrees, degrees, len(images)))
    cosines, sines = np.cos(angles), np.sin(angles)
    matrices = np.stack([cosines, -sines, sines, cosines], axis=-1).reshape(-1, 2, 2)
    centre = (np.array(images.shape[1:]) - 1) / 2
    turned = np.empty_like(images)
    for image, matrix, result in zip(images, matrices, turned, strict=True):
        offset = centre - matrix @ centre
        ndimage.affine_transform(image, matrix, offset, output=result, order=1)
    return turned


def add_noise(images: Images, generator: Generator, *, sigma: float) -> Images:
    """Normal noise of standard deviation `sigma`, in grey levels of 255, added to each pixel."""
    noisy = np.empty_like(images)
    for start in range(0, len(images), _PART):
        part = images[start : start + _PART]
        noise = sigma * generator.standard_normal(part.shape, np.float32)
        noisy[start : start + _PART] = np.clip(np.rint(part + noise), 0, 255)
    return noisy


def blur(images: Images, generator: Generator, *, radius: float) -> Images:
    """Each image blurred by a Gaussian of standard deviation `radius`, in pixels."""
    return ndimage.gaussian_filter(images, (0, radius, radius))


def cover(images: Images, generator: Generator, *, side: int) -> Images:
    """A black square of `side` pixels over each image; all places in it are equally likely."""
    places = [generator.integers(0, size - side + 1, len(images)) for size in images.shape[1:]]
    rows, columns = (
        (np.arange(size) >= place[:, None]) & (np.arange(size) < place[:, None] + side)
        for size, place in zip(images.shape[1:], places, strict=True)
    )
    return np.where(rows[:, :, None] & columns[:, None, :], np.uint8(0), images)
