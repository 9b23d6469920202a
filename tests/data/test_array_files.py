"""Files of images are loaded whole or refused with a clear message."""

import gzip
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import Arrays, assert_has_small_arrays, idx_bytes, save_idx, save_npz, small_arrays

from mnist_ray.data.dataset import load_dataset
from mnist_ray.data.keras_cache import DatasetUnavailable
from mnist_ray.errors import InputError


def refusal(path: Path) -> str:
    """The message with which the data set at `path` is refused; it names the place."""
    with pytest.raises(InputError) as caught:
        load_dataset(str(path))
    assert str(path) in str(caught.value)
    assert not isinstance(caught.value, DatasetUnavailable)
    return str(caught.value)


# --- Reading .npz and IDX files ------------------------------------------------------------------


def test_npz_with_keras_keys_is_loaded(tmp_path: Path) -> None:
    dataset = load_dataset(str(save_npz(tmp_path / "letters.npz")))

    assert_has_small_arrays(dataset)
    assert dataset.name == "letters"
    assert dataset.image_shape == (6, 5)
    assert dataset.classes == 3
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.uint8


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_folder_is_loaded_in_each_spelling(tmp_path: Path, dotted: bool, gzipped: bool) -> None:
    folder = save_idx(tmp_path / "letters.v2", dotted=dotted, gzipped=gzipped)

    dataset = load_dataset(str(folder))

    assert_has_small_arrays(dataset)
    assert dataset.name == "letters.v2"


def test_idx_file_that_a_browser_unpacked_is_loaded_under_its_gz_name(tmp_path: Path) -> None:
    folder = save_idx(tmp_path / "letters", gzipped=True)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.decompress(path.read_bytes()))

    assert_has_small_arrays(load_dataset(str(folder)))


def test_idx_labels_of_a_wider_type_are_loaded(tmp_path: Path) -> None:
    wide = small_arrays()["y_train"].astype(np.int32) + 70_000

    dataset = load_dataset(str(save_idx(tmp_path / "letters", y_train=wide)))

    np.testing.assert_array_equal(dataset.train_labels, wide)


def test_channel_axis_of_one_is_dropped(tmp_path: Path) -> None:
    images = small_arrays()["x_train"][..., np.newaxis]

    assert_has_small_arrays(load_dataset(str(save_npz(tmp_path / "a.npz", x_train=images))))


def test_colour_images_are_loaded_from_npz_and_from_idx_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    colour = {
        "x_train": rng.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8),
        "x_test": rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8),
    }

    from_npz = load_dataset(str(save_npz(tmp_path / "letters.npz", **colour)))
    from_idx = load_dataset(str(save_idx(tmp_path / "letters", **colour)))

    np.testing.assert_array_equal(from_npz.train_images, colour["x_train"])
    np.testing.assert_array_equal(from_npz.test_images, colour["x_test"])
    assert from_npz.image_shape == (6, 5, 3)
    assert from_npz.fingerprint == from_idx.fingerprint


@pytest.mark.parametrize("dtype", ["int64", ">i2", "uint16"])
def test_images_of_wider_integers_are_cast(tmp_path: Path, dtype: str) -> None:
    images = small_arrays()["x_train"].astype(dtype)

    assert_has_small_arrays(load_dataset(str(save_npz(tmp_path / "a.npz", x_train=images))))


@pytest.mark.parametrize("dtype", ["int64", ">u4", "float32"])
def test_whole_labels_of_any_type_are_cast(tmp_path: Path, dtype: str) -> None:
    labels = small_arrays()["y_train"].astype(dtype)

    dataset = load_dataset(str(save_npz(tmp_path / "a.npz", y_train=labels)))

    assert_has_small_arrays(dataset)
    assert dataset.train_labels.dtype == np.int32


def test_arrays_are_contiguous_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    images = np.asfortranarray(small_arrays()["x_train"])

    dataset = load_dataset(str(save_npz(tmp_path / "a.npz", x_train=images)))

    assert_has_small_arrays(dataset)
    assert dataset.train_images.flags.c_contiguous


def test_classes_count_labels_that_only_the_test_part_has(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 6], np.uint8)

    assert load_dataset(str(save_npz(tmp_path / "a.npz", y_test=labels))).classes == 7


# --- Files that are refused ----------------------------------------------------------------------


def test_truncated_npz_is_refused(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:-100])

    assert "damaged" in refusal(path)


def test_npz_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[150] ^= 0xFF  # Within the first member, x_train.
    path.write_bytes(content)

    assert "x_train: truncated or damaged" in refusal(path)


def npy_bytes() -> bytes:
    file = io.BytesIO()
    np.save(file, small_arrays()["x_train"])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Not found</title>", "another format"),
        (pickle.dumps(small_arrays()), "pickle"),
        (npy_bytes(), "single .npy"),
        (idx_bytes(small_arrays()["x_train"]), "folder"),
        (gzip.compress(b"whatever", mtime=0), "gzipped"),
    ],
)
def test_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)

    message = refusal(path)

    assert "not an .npz file" in message
    assert part in message


def test_npz_that_lacks_a_key_is_refused_with_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    arrays = small_arrays()
    np.savez(path, x_train=arrays["x_train"], y_train=arrays["y_train"], images=arrays["x_test"])

    message = refusal(path)

    assert "lacks x_test, y_test" in message
    assert "has x_train, y_train, images" in message


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def test_pickled_objects_are_refused_and_never_opened(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.array([Bomb(trace)] * 10, dtype=object)
    path = save_npz(tmp_path / "a.npz", y_train=objects)

    assert "y_train holds pickled Python objects" in refusal(path)
    assert not trace.exists()


def test_folder_without_idx_files_is_refused_with_the_missing_one(tmp_path: Path) -> None:
    folder = save_idx(tmp_path / "letters")
    (folder / "t10k-images-idx3-ubyte").unlink()

    assert "without t10k-images-idx3-ubyte (nor t10k-images-idx3-ubyte.gz" in refusal(folder)


@pytest.mark.parametrize("kept", [0, 3, 9, 40])
def test_truncated_idx_file_is_refused(tmp_path: Path, kept: int) -> None:
    folder = save_idx(tmp_path / "letters")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])

    message = refusal(folder)

    assert str(path) in message
    assert "truncated" in message or "not an IDX file" in message


def test_idx_file_with_bytes_to_spare_is_refused(tmp_path: Path) -> None:
    folder = save_idx(tmp_path / "letters")
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"\0")

    assert "19 bytes, but its head announces 18" in refusal(folder)


@pytest.mark.parametrize("kept", [5, 30])
def test_truncated_gzip_file_is_refused(tmp_path: Path, kept: int) -> None:
    folder = save_idx(tmp_path / "letters", gzipped=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:kept])

    assert f"{path}: truncated or damaged" in refusal(folder)


def test_foreign_file_under_an_idx_name_is_refused(tmp_path: Path) -> None:
    folder = save_idx(tmp_path / "letters")
    (folder / "train-images-idx3-ubyte").write_bytes(b"<html></html>")

    assert "not an IDX file: it begins with 3c 68 74 6d" in refusal(folder)


def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")

    assert "neither a file nor a folder" in refusal(tmp_path / "a.npz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz")
    path.chmod(0)

    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"y_train": np.zeros(9, np.uint8)}, "y_train: 9 labels for 10 images"),
        ({"x_test": np.zeros((4, 30), np.uint8)}, r"x_test: shape \[4, 30\]; allowed is \[n, hei"),
        (
            {"x_test": np.zeros((4, 6, 5, 3), np.uint8)},
            r"x_test: colour images, but those for training are grey\. Both must be grey, or both",
        ),
        (
            {"x_train": np.zeros((10, 6, 5, 4), np.uint8)},
            r"x_train: shape \[10, 6, 5, 4\]; allowed .*\[n, height, width, 3\].*opacity",
        ),
        (
            {"x_train": np.zeros((10, 6, 5, 2), np.uint8)},
            r"x_train: shape \[10, 6, 5, 2\]; allowed",
        ),
        ({"x_train": np.zeros((10, 3, 6, 5), np.uint8)}, r"\[10, 3, 6, 5\]; .*channels last"),
        ({"x_train": np.zeros((10, 6, 5, 3), np.float32)}, "x_train: float32 .*scale the images"),
        ({"x_train": np.zeros((10, 6, 5), np.float32)}, "x_train: float32 .*scale the images"),
        ({"x_train": np.zeros((10, 6, 5), bool)}, "x_train: bool values; allowed"),
        (
            {"x_train": np.full((10, 6, 5), 256)},
            "x_train: int64 values from 256 to 256; .*0 to 255",
        ),
        ({"x_train": np.full((10, 6, 5), -1)}, "x_train: int64 values from -1 to -1"),
        ({"x_train": np.zeros((0, 6, 5), np.uint8)}, r"x_train: no images \(shape \[0, 6, 5\]"),
        ({"x_train": np.zeros((10, 0, 5), np.uint8)}, "x_train: no images"),
        ({"y_test": np.zeros(0, np.uint8)}, "y_test: no labels"),
        ({"x_test": np.zeros((4, 6, 6), np.uint8)}, "x_test: images of 6x6 .* training have 6x5"),
        ({"y_test": np.array([0, 1, -1, 2])}, "y_test: int64 values from -1 to 2"),
        ({"y_test": np.array([0, 1.5, 1, 2])}, r"y_test: float64 values from 0.0 to 2.0; .*whole"),
        ({"y_test": np.array([0, np.nan, 1, 2])}, "y_test: float64 values from nan"),
        ({"y_test": np.array([0, np.inf, 1, 2])}, "y_test: float64 values from 0.0 to inf"),
        ({"y_test": np.array([0, 2**40, 1, 2])}, "y_test: int64 values from 0 to 1099511627776"),
        ({"y_test": np.array(["a", "b", "c", "d"])}, "y_test: <U1 values; allowed"),
        ({"y_test": np.eye(4, dtype=np.uint8)}, r"y_test: shape \[4, 4\]; .*one-hot"),
        (
            {"y_train": np.ones(10, np.uint8), "y_test": np.ones(4, np.uint8)},
            r"only one class \(every label is 1\)",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changed: Arrays, part: str) -> None:
    path = save_npz(tmp_path / "a.npz", **changed)

    with pytest.raises(InputError, match=part):
        load_dataset(str(path))
    refusal(path)


def test_refused_array_of_an_idx_folder_is_named_by_its_file(tmp_path: Path) -> None:
    folder = save_idx(tmp_path / "letters", y_test=np.zeros(3, np.uint8))

    assert f"{folder / 't10k-labels-idx1-ubyte'}: 3 labels for 4 images" in refusal(folder)
