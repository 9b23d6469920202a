"""Data sets are loaded whole or refused with a clear message, and placed without bias."""

import gzip
import http.server
import io
import os
import pickle
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, stats

from mnist_ray.data import dataset as data
from mnist_ray.data.dataset import (
    Dataset,
    DatasetUnavailable,
    default_canvas,
    draw_offsets,
    load_dataset,
    place,
)
from mnist_ray.errors import InputError

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
    assert dataset.image_size == (6, 5)
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


# --- Where a path is looked up -------------------------------------------------------------------


def test_relative_path_is_looked_up_beside_the_space_and_then_where_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, working = tmp_path / "beside", tmp_path / "working"
    beside.mkdir()
    working.mkdir()
    monkeypatch.chdir(working)
    save_npz(working / "both.npz", y_test=np.array([0, 0, 0, 8], np.uint8))
    save_npz(working / "only_here.npz")
    save_npz(beside / "both.npz")

    assert load_dataset("both.npz", base=beside).classes == 3
    assert load_dataset("both.npz").classes == 9
    assert load_dataset("only_here.npz", base=beside).classes == 3


def test_missing_path_is_refused_with_the_places_looked_in(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset("nowhere.npz", base=tmp_path)

    assert str(tmp_path / "nowhere.npz") in str(caught.value)
    assert str(Path.cwd() / "nowhere.npz") in str(caught.value)
    assert "mnist, digits" in str(caught.value)


@pytest.mark.parametrize(("given", "meant"), [("MNIST", "mnist"), ("digit", "digits")])
def test_misspelt_name_is_refused_with_the_nearest_right_one(given: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean {meant}"):
        load_dataset(given)


def test_data_gives_the_file_of_mnist(tmp_path: Path) -> None:
    dataset = load_dataset("mnist", data=str(save_npz(tmp_path / "copy.npz")))

    assert_has_small_arrays(dataset)
    assert dataset.name == "mnist"


def test_missing_data_is_refused_rather_than_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data .*gone.npz: there is no") as caught:
        load_dataset("mnist", data=str(tmp_path / "gone.npz"))

    assert not isinstance(caught.value, DatasetUnavailable)


@pytest.mark.parametrize("dataset", ["digits", "some.npz"])
def test_data_is_refused_for_another_data_set_than_mnist(dataset: str) -> None:
    with pytest.raises(InputError, match=f"--data copy.npz: .*mnist only.*'{dataset}'"):
        load_dataset(dataset, data="copy.npz")


@pytest.mark.skipif("MNIST_RAY_DATA" not in os.environ, reason="needs MNIST (MNIST_RAY_DATA)")
def test_real_mnist_is_loaded() -> None:
    dataset = load_dataset("mnist", data=os.environ["MNIST_RAY_DATA"])

    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert dataset.classes == 10
    # The mean and deviation that are commonly quoted for MNIST's training pixels.
    assert dataset.train_images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert dataset.train_images.std() / 255 == pytest.approx(0.3081, abs=5e-5)


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
    ("content", "told"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Not found</title>", "another format"),
        (pickle.dumps(small_arrays()), "pickle"),
        (npy_bytes(), "single .npy"),
        (idx_bytes(small_arrays()["x_train"]), "folder"),
        (gzip.compress(b"whatever"), "gzipped"),
    ],
)
def test_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)

    message = refusal(path)

    assert "not an .npz file" in message
    assert told in message


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

    assert "can't be read" in refusal(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"y_train": np.zeros(9, np.uint8)}, "y_train: 9 labels for 10 images"),
        ({"x_test": np.zeros((4, 30), np.uint8)}, r"x_test: shape \[4, 30\]; allowed is \[n, hei"),
        ({"x_test": np.zeros((4, 6, 5, 3), np.uint8)}, r"x_test: shape \[4, 6, 5, 3\]"),
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
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changed: Arrays, told: str) -> None:
    path = save_npz(tmp_path / "a.npz", **changed)

    with pytest.raises(InputError, match=told):
        load_dataset(str(path))
    refusal(path)


def test_refused_array_of_an_idx_folder_is_named_by_its_file(tmp_path: Path) -> None:
    folder = save_idx(tmp_path / "letters", y_test=np.zeros(3, np.uint8))

    assert f"{folder / 't10k-labels-idx1-ubyte'}: 3 labels for 4 images" in refusal(folder)


# --- Fingerprint ---------------------------------------------------------------------------------


def test_fingerprint_hangs_on_content_alone(tmp_path: Path) -> None:
    labels = small_arrays()["y_train"].astype(np.int64)
    compressed = load_dataset(str(save_npz(tmp_path / "a.npz")))
    other_labels = load_dataset(str(save_npz(tmp_path / "b.npz", y_train=labels)))
    idx = load_dataset(str(save_idx(tmp_path / "letters", gzipped=True)))
    plain = tmp_path / "plain.npz"
    np.savez(plain, **small_arrays())

    fingerprints = {compressed.fingerprint, other_labels.fingerprint, idx.fingerprint}

    assert fingerprints == {load_dataset(str(plain)).fingerprint}
    assert len(compressed.fingerprint) == 64


def test_fingerprint_does_not_hang_on_the_dtype_of_labels() -> None:
    arrays = small_arrays()
    narrow, wide = (
        Dataset(
            "a",
            train_images=arrays["x_train"],
            train_labels=arrays["y_train"].astype(dtype),
            test_images=arrays["x_test"],
            test_labels=arrays["y_test"].astype(dtype),
        )
        for dtype in (np.uint8, np.int32)
    )

    assert narrow.fingerprint == wide.fingerprint


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_fingerprint_differs_where_one_value_does(tmp_path: Path, key: str) -> None:
    changed = small_arrays()[key]
    changed.flat[1] = 0 if changed.flat[1] else 1

    original = load_dataset(str(save_npz(tmp_path / "a.npz")))
    other = load_dataset(str(save_npz(tmp_path / "b.npz", **{key: changed})))

    assert original.fingerprint != other.fingerprint


def test_fingerprint_differs_where_only_the_shape_does(tmp_path: Path) -> None:
    arrays = small_arrays()
    turned = {key: arrays[key].reshape(-1, 5, 6) for key in ("x_train", "x_test")}

    original = load_dataset(str(save_npz(tmp_path / "a.npz")))
    other = load_dataset(str(save_npz(tmp_path / "b.npz", **turned)))

    assert original.fingerprint != other.fingerprint


# --- Placing -------------------------------------------------------------------------------------


def offsets_of(placed: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Where `image`, whose corners are white, lies in each of `placed`; all else must be 0."""
    offsets = []
    for canvas in placed:
        rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
        np.testing.assert_array_equal(
            canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], image
        )
        offsets.append((int(rows[0]), int(columns[0])))
    return offsets


def placed_at_random(
    images: np.ndarray, *, shift: int, canvas: int, rng: np.random.Generator
) -> np.ndarray:
    size = (images.shape[1], images.shape[2])
    offsets = draw_offsets(size, len(images), shift=shift, canvas=canvas, generator=rng)
    return place(images, offsets, canvas=canvas)


def test_each_place_is_equally_likely_including_the_far_edge() -> None:
    image = np.array([[1, 2, 3], [4, 0, 6]], np.uint8)
    images = np.repeat(image[np.newaxis], 8000, axis=0)

    placed = placed_at_random(images, shift=4, canvas=9, rng=np.random.default_rng(1))

    # Rows start at (9 - 2 - 4) // 2 = 1, columns at (9 - 3 - 4) // 2 = 1.
    places, counts = np.unique(offsets_of(placed, image), axis=0, return_counts=True)
    np.testing.assert_array_equal(places, [(y, x) for y in range(1, 6) for x in range(1, 6)])
    assert stats.chisquare(counts).pvalue > 0.01


def test_placed_images_reach_all_four_edges_of_the_default_canvas() -> None:
    images = np.ones((500, 3, 3), np.uint8)

    placed = placed_at_random(images, shift=2, canvas=5, rng=np.random.default_rng(0))

    hits = placed.sum(axis=0)
    assert hits[0, 0] > 0
    assert hits[0, 4] > 0
    assert hits[4, 0] > 0
    assert hits[4, 4] > 0


def test_placing_preserves_the_pixels_of_each_image() -> None:
    images = np.random.default_rng(0).integers(1, 256, (50, 4, 4), dtype=np.uint8)

    placed = placed_at_random(images, shift=3, canvas=10, rng=np.random.default_rng(0))

    assert placed.shape == (50, 10, 10)
    assert placed.dtype == np.uint8
    # No pixel of these images is 0, so what is not 0 is the image, in its order.
    np.testing.assert_array_equal(placed[placed > 0].reshape(50, 4, 4), images)


def test_placing_needs_little_memory_beyond_its_result() -> None:
    images = np.ones((5000, 28, 28), np.uint8)

    tracemalloc.start()
    placed = placed_at_random(images, shift=20, canvas=48, rng=np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1.1 * placed.nbytes


def test_equal_generators_give_equal_places() -> None:
    images = np.arange(1, 91, dtype=np.uint8).reshape(10, 3, 3)

    first, second, other = (
        placed_at_random(images, shift=5, canvas=8, rng=np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )

    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_places_do_not_hang_on_the_size_of_image_and_canvas() -> None:
    small, large = np.ones((40, 2, 2), np.uint8), np.ones((40, 5, 5), np.uint8)

    near = placed_at_random(small, shift=6, canvas=8, rng=np.random.default_rng(2))
    far = placed_at_random(large, shift=6, canvas=31, rng=np.random.default_rng(2))

    # The first offset is 0 on the one canvas and (31 - 5 - 6) // 2 = 10 on the other.
    near_offsets = np.array(offsets_of(near, small[0]))
    np.testing.assert_array_equal(near_offsets + 10, offsets_of(far, large[0]))


def test_unshifted_images_are_returned_themselves() -> None:
    images = np.ones((2, 4, 4), np.uint8)

    assert placed_at_random(images, shift=0, canvas=4, rng=np.random.default_rng(0)) is images


def test_unshifted_image_lies_in_the_middle_of_a_larger_canvas() -> None:
    images = np.full((1, 2, 4), 9, np.uint8)

    placed = placed_at_random(images, shift=0, canvas=6, rng=np.random.default_rng(0))

    expected = np.zeros((1, 6, 6), np.uint8)
    expected[0, 2:4, 1:5] = 9
    np.testing.assert_array_equal(placed, expected)


@pytest.mark.parametrize(("shift", "canvas"), [(3, 6), (0, 3), (-1, 4)])
def test_canvas_that_can_not_hold_the_shifted_images_is_refused(shift: int, canvas: int) -> None:
    images = np.ones((1, 3, 4), np.uint8)

    with pytest.raises(InputError, match=f"shift {shift} on canvas {canvas}: images of 3x4"):
        placed_at_random(images, shift=shift, canvas=canvas, rng=np.random.default_rng(0))


def test_default_canvas_is_the_longer_side_and_the_shift() -> None:
    assert default_canvas((28, 28), 20) == 48
    assert default_canvas((6, 9), 0) == 9


# --- scikit-learn's digits -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def test_digits_are_the_same_on_every_machine_for_ever(digits: Dataset) -> None:
    assert digits.fingerprint == "1aba07656808e03b9f17d2024793008979564649e2209b13e379bda1c46216c1"


def test_digits_are_split_into_1400_and_397_with_all_classes_in_both(digits: Dataset) -> None:
    assert digits.name == "digits"
    assert digits.image_size == (28, 28)
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

    drawn = data._draw_as_mnist(ring)

    np.testing.assert_allclose(drawn[4:24, 4:24], expected * 255 / 16, atol=0.5 + 1e-9)
    assert drawn.sum() == drawn[4:24, 4:24].sum()


# --- MNIST from Keras' cache or address ----------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of MNIST in an empty cache of Keras', reached without a proxy."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "keras" / "datasets" / "mnist.npz"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting gives up after half a second."""
    monkeypatch.setattr(data, "CONNECT_LIMIT_SECONDS", 0.5)


@pytest.fixture
def mnist_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What plays Keras' own mnist.npz: its checksum is the one that is asked for."""
    path = save_npz(tmp_path / "served.npz")
    monkeypatch.setattr(data, "MNIST_SHA256", data._sha256(path))
    return path.read_bytes()


@contextmanager
def served(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None],
) -> Iterator[str]:
    """The address of a real HTTP server on loopback that answers every GET with `answer`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/mnist.npz"
        server.shutdown()


def send(request: http.server.BaseHTTPRequestHandler, content: bytes, *, pause: float = 0) -> None:
    """Send `content` in five pieces, with `pause` seconds before each."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    step = len(content) // 5 + 1
    for start in range(0, len(content), step):
        time.sleep(pause)
        request.wfile.write(content[start : start + step])


def unavailable(cache: Path) -> str:
    """The message that MNIST can't be had; it gives the ways out, and nothing is left behind."""
    before = cache.read_bytes() if cache.exists() else None
    with pytest.raises(DatasetUnavailable) as caught:
        load_dataset("mnist")
    message = str(caught.value)
    assert "--data PATH or MNIST_RAY_DATA=PATH" in message
    assert f"put Keras' own mnist.npz at {cache}" in message
    assert "python -m mnist_ray.sweep digits" in message
    assert (cache.read_bytes() if cache.exists() else None) == before
    assert list(cache.parent.glob(".*")) == []
    return message


def test_mnist_is_downloaded_into_keras_cache_once(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(lambda request: send(request, mnist_file)) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        dataset = load_dataset("mnist")

    assert_has_small_arrays(dataset)
    assert dataset.name == "mnist"
    assert cache.read_bytes() == mnist_file
    assert list(cache.parent.iterdir()) == [cache]
    assert_has_small_arrays(load_dataset("mnist"))  # The server is gone.


def test_slow_download_that_goes_on_is_waited_for(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "CONNECT_LIMIT_SECONDS", 1.0)
    # Five pieces, 0.25 s apart: as a whole they take longer than the limit.
    with served(lambda request: send(request, mnist_file, pause=0.25)) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        assert_has_small_arrays(load_dataset("mnist"))


def test_download_with_another_checksum_is_refused(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(lambda request: send(request, mnist_file[:-1])) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        assert "another checksum" in unavailable(cache)


def test_answer_of_an_error_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(lambda request: request.send_error(503)) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        assert "503" in unavailable(cache)


@pytest.mark.usefixtures("impatient")
def test_download_that_stalls_is_given_up(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def send_half(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(mnist_file)))
        request.end_headers()
        request.wfile.write(mnist_file[: len(mnist_file) // 2])
        over.wait()

    with served(send_half) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        message = unavailable(cache)
        over.set()
    assert "nothing arrived for 0.5 s" in message or "timed out" in message


@pytest.mark.usefixtures("impatient")
def test_server_that_accepts_and_never_answers_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(data, "MNIST_URL", f"http://127.0.0.1:{server.getsockname()[1]}/")
        message = unavailable(cache)
    assert "nothing arrived for 0.5 s" in message or "timed out" in message


@pytest.mark.usefixtures("impatient")
def test_headers_that_trickle_in_for_ever_are_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.0 200 OK\r\n")
        while not over.wait(0.1):
            request.wfile.write(b"X-More: to come\r\n")

    with served(trickle) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        message = unavailable(cache)
        over.set()
    assert "nothing arrived for 0.5 s" in message


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1"])
def test_address_that_can_not_be_reached_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(data, "MNIST_URL", f"http://{host}:{port}/mnist.npz")

    message = unavailable(cache)

    assert f"there is no {cache}" in message
    assert "<urlopen" not in message


@pytest.mark.usefixtures("impatient")
def test_name_server_that_never_answers_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    # The resolver can't be made to hang without administering the machine.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() or [])

    message = unavailable(cache)

    over.set()
    assert "nothing arrived for 0.5 s" in message


def test_cached_file_with_another_checksum_survives_a_failed_download(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir(parents=True)
    save_npz(cache)
    monkeypatch.setattr(data, "MNIST_URL", "http://127.0.0.1:1/mnist.npz")

    message = unavailable(cache)

    assert f"{cache} is not Keras' own file" in message
    assert f"--data {cache}" in message
    assert "fetching it anew" in caplog.text
    assert_has_small_arrays(load_dataset("mnist", data=str(cache)))


def test_cached_file_with_another_checksum_is_fetched_anew(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half a download")

    with served(lambda request: send(request, mnist_file)) as url:
        monkeypatch.setattr(data, "MNIST_URL", url)
        assert_has_small_arrays(load_dataset("mnist"))

    assert cache.read_bytes() == mnist_file


def test_cache_that_can_not_be_made_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras").write_text("a file where the folder should be")

    with pytest.raises(DatasetUnavailable, match="Not a directory"):
        load_dataset("mnist")


def test_cache_lies_where_keras_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    assert data._keras_cache() == tmp_path / ".keras" / "datasets" / "mnist.npz"

    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    assert data._keras_cache() == tmp_path / "elsewhere" / "datasets" / "mnist.npz"


def test_nothing_heavy_is_imported_with_the_module() -> None:
    heavy = "{'tensorflow', 'keras', 'ray', 'sklearn', 'scipy', 'pandas'}"
    code = f"import sys, mnist_ray.data.dataset; print(sorted({heavy} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout == "[]\n", result.stderr
