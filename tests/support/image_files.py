"""Small data sets in files: .npz with Keras' keys, and folders of IDX files."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mnist_ray.data.dataset import Dataset

Arrays = dict[str, np.ndarray]


def small_arrays() -> Arrays:
    """Ten training and four test images of 6x5 pixels in three classes, under Keras' keys."""
    rng = np.random.default_rng(7)
    return {
        "x_train": rng.integers(0, 256, (10, 6, 5), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], np.uint8),
        "x_test": rng.integers(0, 256, (4, 6, 5), dtype=np.uint8),
        "y_test": np.array([2, 1, 0, 1], np.uint8),
    }


def save_npz(path: Path, **changed: Any) -> Path:
    np.savez_compressed(path, **{**small_arrays(), **changed})
    return path


def idx_bytes(array: np.ndarray) -> bytes:
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = struct.pack(">HBB", 0, codes[array.dtype.name], array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def save_idx(folder: Path, *, dotted: bool = False, gzipped: bool = False, **changed: Any) -> Path:
    folder.mkdir()
    arrays = {**small_arrays(), **changed}
    mark, ending = "." if dotted else "-", ".gz" if gzipped else ""
    for part, keras_part in (("train", "train"), ("t10k", "test")):
        for kind, key in (("images{}idx3", "x"), ("labels{}idx1", "y")):
            content = idx_bytes(arrays[f"{key}_{keras_part}"])
            path = folder / f"{part}-{kind.format(mark)}-ubyte{ending}"
            path.write_bytes(gzip.compress(content) if gzipped else content)
    return folder


def assert_has_small_arrays(dataset: Dataset) -> None:
    expected = small_arrays()
    np.testing.assert_array_equal(dataset.train_images, expected["x_train"])
    np.testing.assert_array_equal(dataset.train_labels, expected["y_train"])
    np.testing.assert_array_equal(dataset.test_images, expected["x_test"])
    np.testing.assert_array_equal(dataset.test_labels, expected["y_test"])
