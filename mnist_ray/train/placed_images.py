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

_CHUNK_BYTES = 8 << 20
"""Bytes of images in one chunk: enough that the cost of a call is negligible, and so few that the
whole training set is never copied."""


@dataclass(frozen=True, eq=False)
class PlacedImages:
    """Training or test images, each with its offset on the canvas."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    offsets: NDArray[np.integer[Any]]
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
        self, order: NDArray[np.integer[Any]], batch_size: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        """Batches in the given order, many at once.

        Yields:
            uint8 images [k, b, canvas, canvas] (in colour with a last axis of 3) and int32 labels
            [k, b], for k batches of b images; the last chunk is one smaller batch if `batch_size`
            does not divide the order.
        """
        whole = len(order) // batch_size * batch_size
        step = max(1, _CHUNK_BYTES // (batch_size * math.prod(self.canvas_shape))) * batch_size
        for start in range(0, whole, step):
            yield self._load(order[start : min(start + step, whole)].reshape(-1, batch_size))
        if whole < len(order):
            yield self._load(order[whole:].reshape(1, -1))

    def part(self, indices: NDArray[np.integer[Any]]) -> "PlacedImages":
        """The images of these indices, in their order."""
        arrays = (self.images[indices], self.labels[indices], self.offsets[indices])
        return PlacedImages(*arrays, self.canvas)

    @cached_property
    def on_device(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, int32 labels and int32 offsets, where TensorFlow computes; moved there once."""
        with tf.device(tensorflow_device()):
            images = tf.constant(self.images)
        return images, tf.constant(self.labels, tf.int32), tf.constant(self.offsets, tf.int32)

    def _load(
        self, indices: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        flat = indices.ravel()
        placed = place(self.images[flat], self.offsets[flat], canvas=self.canvas)
        labels = self.labels[indices].astype(np.int32)
        return placed.reshape(*indices.shape, *self.canvas_shape), labels
