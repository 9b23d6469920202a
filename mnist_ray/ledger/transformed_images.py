"""Test images as a transform made them: a ledger explains itself without the transform's code."""

import io

import numpy as np
from numpy.typing import NDArray

from mnist_ray.ledger.identity import JSON, digest
from mnist_ray.ledger.ledger import NPZ_DAMAGE
from mnist_ray.ledger.results_folder import ResultsFolder


def place_of(folder: ResultsFolder, identity: JSON) -> str:
    """Where the test images lie that trials of that identity are graded on."""
    parts = {name: identity[name] for name in ("data", "seed", "transform")}
    return folder.transformed_test_set(identity["data"], digest(parts))


def write(folder: ResultsFolder, identity: JSON, images: NDArray[np.uint8]) -> None:
    """Keep the images, uint8 [N, height, width] or [N, height, width, 3], before they are shifted.

    Raises:
        StorageError: they cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=images)
    folder.write(place_of(folder, identity), buffer.getvalue())


def read(folder: ResultsFolder, identity: JSON) -> NDArray[np.uint8] | None:
    """The images, as `write` had them; None where there are none, or damaged ones."""
    try:
        content = folder.read(place_of(folder, identity))
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            images: NDArray[np.uint8] = file["images"]
            return images
    except NPZ_DAMAGE:  # FileNotFoundError among them
        return None
