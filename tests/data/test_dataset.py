"""A data set is found by its name or path, and its fingerprint is that of its content."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import assert_has_small_arrays, save_idx, save_npz, small_arrays

from mnist_ray.data.dataset import Dataset, load_dataset
from mnist_ray.data.keras_cache import DatasetUnavailable
from mnist_ray.errors import InputError

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
    assert "mnist, fashion_mnist" in str(caught.value)
    assert "digits" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("MNIST", "mnist"), ("digit", "digits"), ("fashion-mnist", "fashion_mnist")],
)
def test_misspelt_name_is_refused_with_the_nearest_right_one(given: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean {meant}"):
        load_dataset(given)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_data_gives_the_file_of_a_named_data_set(tmp_path: Path, name: str) -> None:
    from_npz = load_dataset(name, data=str(save_npz(tmp_path / "copy.npz")))
    from_idx = load_dataset(name, data=str(save_idx(tmp_path / "copy", gzipped=True)))

    for dataset in (from_npz, from_idx):
        assert_has_small_arrays(dataset)
        assert dataset.name == name


def test_missing_data_is_refused_rather_than_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data .*gone.npz: there is no") as caught:
        load_dataset("mnist", data=str(tmp_path / "gone.npz"))

    assert not isinstance(caught.value, DatasetUnavailable)


@pytest.mark.parametrize("dataset", ["digits", "some.npz"])
def test_data_is_refused_for_another_data_set_than_mnist(dataset: str) -> None:
    with pytest.raises(
        InputError, match=f"--data copy.npz: .*mnist and fashion_mnist.* only.*'{dataset}'"
    ):
        load_dataset(dataset, data="copy.npz")


NAMES = ("zero", "one", "zwei & drei")


def test_class_names_are_those_of_the_file_and_change_no_fingerprint(tmp_path: Path) -> None:
    plain = load_dataset(str(save_npz(tmp_path / "a.npz")))
    named = load_dataset(str(save_npz(tmp_path / "b.npz", class_names=np.array(NAMES))))

    assert (plain.class_names, named.class_names) == (None, NAMES)
    assert plain.fingerprint == named.fingerprint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array(["a", "b"]), "2 names, but the labels are 0 to 2; allowed .* the 3 classes"),
        (np.array(["a", "b", "c", "d"]), "4 names, but the labels are 0 to 2"),
        (np.array(["a", "b", "a"]), "'a'; allowed are names that differ"),
        (np.array(["a", " ", "c"]), "' '; .*none of them empty"),
        (np.array(["a", "b\n", "c"]), r"'b\\n'; .*without control characters"),
        (np.array([0, 1, 2]), r"int64 values of shape \[3\]; allowed is one text"),
        (np.array([["a", "b", "c"]]), r"shape \[1, 3\]; allowed is one text"),
        (np.array(["a", "b", "c"], object), "holds pickled .* Allowed is an array of text"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(
    tmp_path: Path, names: np.ndarray, message: str
) -> None:
    path = save_npz(tmp_path / "a.npz", class_names=names)

    with pytest.raises(InputError, match=f"{path}: class_names:? .*{message}"):
        load_dataset(str(path))


@pytest.mark.skipif("MNIST_RAY_DATA" not in os.environ, reason="needs MNIST (MNIST_RAY_DATA)")
def test_real_mnist_is_loaded() -> None:
    dataset = load_dataset("mnist", data=os.environ["MNIST_RAY_DATA"])

    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert dataset.classes == 10
    # The mean and deviation that are commonly quoted for MNIST's training pixels.
    assert dataset.train_images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert dataset.train_images.std() / 255 == pytest.approx(0.3081, abs=5e-5)


# --- Fingerprint ---------------------------------------------------------------------------------


def test_fingerprint_depends_on_content_alone(tmp_path: Path) -> None:
    labels = small_arrays()["y_train"].astype(np.int64)
    compressed = load_dataset(str(save_npz(tmp_path / "a.npz")))
    other_labels = load_dataset(str(save_npz(tmp_path / "b.npz", y_train=labels)))
    idx = load_dataset(str(save_idx(tmp_path / "letters", gzipped=True)))
    plain = tmp_path / "plain.npz"
    np.savez(plain, **small_arrays())

    fingerprints = {compressed.fingerprint, other_labels.fingerprint, idx.fingerprint}

    assert fingerprints == {load_dataset(str(plain)).fingerprint}
    assert len(compressed.fingerprint) == 64


def test_fingerprint_does_not_depend_on_the_dtype_of_labels() -> None:
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


def test_nothing_heavy_is_imported_with_the_module() -> None:
    heavy = "{'tensorflow', 'keras', 'ray', 'sklearn', 'scipy', 'pandas'}"
    code = f"import sys, mnist_ray.data.dataset; print(sorted({heavy} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout == "[]\n", result.stderr
