"""What a plan and a report need to know about the data and the custom code."""

from collections.abc import Mapping
from dataclasses import dataclass

from mnist_ray.data.dataset import Dataset


@dataclass(frozen=True)
class DatasetInfo:
    fingerprint: str
    image_shape: tuple[int, ...]
    """Height and width in pixels; then 3, where the images are in colour."""
    classes: int
    train_images: int
    """Number of training images, validation included."""
    test_images: int
    sources: Mapping[str, str]
    """For each architecture and transform of the user's own, the digest of its source."""

    @classmethod
    def of(cls, dataset: Dataset, *, sources: Mapping[str, str]) -> "DatasetInfo":
        return cls(
            fingerprint=dataset.fingerprint,
            image_shape=dataset.image_shape,
            classes=dataset.classes,
            train_images=len(dataset.train_images),
            test_images=len(dataset.test_images),
            sources=sources,
        )
