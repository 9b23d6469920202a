"""What a plan and a report need to know about the data and the custom code."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnist_ray.data.dataset import Dataset
from mnist_ray.ledger.ledger import TestSet


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


def test_set_of(dataset: Dataset) -> TestSet:
    """What a ledger keeps of a data set, so that its records explain themselves."""
    return TestSet(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        classes=dataset.classes,
        images=dataset.test_images,
        labels=dataset.test_labels.astype(np.int32),
        class_names=dataset.class_names,
    )
