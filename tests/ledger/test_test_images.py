from pathlib import Path

import numpy as np

from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import read_transformed, write_transformed

IDENTITY = {
    "data": "f" * 64,
    "seed": 0,
    "transform": {"function": "own:noise", "parameters": {"sigma": 9}, "source": "0" * 64},
}


def test_images_are_kept_for_one_transform_and_seed(tmp_path: Path) -> None:
    folder = ResultsFolder.open(str(tmp_path))
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_transformed(folder, {**IDENTITY, "trial": 1}, images)
    kept = read_transformed(folder, {**IDENTITY, "trial": 2})
    assert kept is not None
    assert np.array_equal(kept, images)
    assert read_transformed(folder, {**IDENTITY, "seed": 1}) is None
    (folder_of,) = tmp_path.glob("ledger/test-*.npz")
    folder_of.write_bytes(b"damaged")
    assert read_transformed(folder, IDENTITY) is None
