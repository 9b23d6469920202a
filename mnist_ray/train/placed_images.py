"""Images on their canvases, batch by batch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mnist_ray.data.placement import draw_offsets, place
from mnist_ray.space.variants import Presentation
from mnist_ray.train.device import tensorflow_device

Order = NDArray[np.integer[Any]]
"""Indices of images."""

_CHUNK_BYTES = 8 << 20
"""Bytes of images in one chunk: enough that the cost of a call is negligible, and so few that the
whole training set is never copied."""


@dataclass(frozen=True, eq=False)
class PlacedImages:
    """Training or test images, each with its offset on the canvas."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    offsets: NDArray[np.int64]
    canvas: int

    @classmethod
    def drawn(
        cls,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        presentation: Presentation,
        generator: np.random.Generator,
    ) -> "PlacedImages":
        """Images whose offsets are drawn as they are presented."""
        shape, shift, canvas = images.shape[1:], presentation.shift, presentation.canvas
        offsets = draw_offsets(shape, len(images), shift=shift, canvas=canvas, generator=generator)
        return cls(images, labels, offsets, canvas)

    @property
    def canvas_shape(self) -> tuple[int, ...]:
        """Of an image on its canvas: in colour it has a last axis of 3."""
        return self.canvas, self.canvas, *self.images.shape[3:]

    def chunks(
        self, order: Order, batch_size: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        """Batches in the given order, many at once.

        Yields:
            uint8 images [k, b, canvas, canvas] (in colour with a last axis of 3) and int32 labels
            [k, b], for k batches of b images; the last chunk is one smaller batch if `batch_size`
            does not divide the order.
        """
        rows = max(1, _CHUNK_BYTES // (batch_size * math.prod(self.canvas_shape)))
        for batches, _ in in_batches(order, batch_size):
            for start in range(0, len(batches), rows):
                yield self._load(batches[start : start + rows])

    def part(self, indices: Order) -> "PlacedImages":
        """The images of these indices, in their order."""
        arrays = (self.images[indices], self.labels[indices], self.offsets[indices])
        return PlacedImages(*arrays, self.canvas)

    @cached_property
    def on_device(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, int32 labels and int32 offsets, where TensorFlow computes; moved there once."""
        with tf.device(tensorflow_device()):
            images = tf.constant(self.images)
        return images, tf.constant(self.labels, tf.int32), tf.constant(self.offsets, tf.int32)

    def _load(self, indices: Order) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        flat = indices.ravel()
        placed = place(self.images[flat], self.offsets[flat], canvas=self.canvas)
        labels = self.labels[indices].astype(np.int32)
        return placed.reshape(*indices.shape, *self.canvas_shape), labels


def in_batches(order: Order, size: int, *, pads: bool = False) -> Iterator[tuple[Order, int]]:
    """Indices [k, b] of k batches, and how many of the indices count.

    A smaller last batch comes apart; with `pads` indices that do not count fill it up.
    """
    whole = len(order) // size * size
    if pads and whole < len(order):
        yield np.resize(order, whole + size).reshape(-1, size), len(order)
        return
    if whole:
        yield order[:whole].reshape(-1, size), whole
    if whole < len(order):
        yield order[whole:].reshape(1, -1), len(order) - whole
