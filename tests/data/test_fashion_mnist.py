"""Fashion-MNIST comes from Keras' cache, or is downloaded into it; otherwise the ways out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import send, served
from image_files import assert_has_small_arrays, save_idx, small_arrays

from mnist_ray.data import keras_cache
from mnist_ray.data.dataset import load_dataset
from mnist_ray.data.keras_cache import DatasetUnavailable


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Fashion-MNIST in an empty cache of Keras', reached without a proxy.

    The small arrays play the real ones: their shapes are those that are asked for.
    """
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(keras_cache, "KERAS_URL", "http://127.0.0.1:1/")
    shapes = {key: values.shape for key, values in small_arrays().items()}
    monkeypatch.setattr(keras_cache, "FASHION_MNIST_SHAPES", shapes)
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    return tmp_path / "keras" / "datasets" / "fashion-mnist"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[list[str]]:
    """A server of the four files; the paths that were asked for."""
    folder = save_idx(tmp_path / "served", gzipped=True)
    asked: list[str] = []

    def answer(request) -> None:  # type: ignore[no-untyped-def]
        asked.append(request.path)
        send(request, (folder / request.path.rpartition("/")[2]).read_bytes())

    with served(answer) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        yield asked


def unavailable(cache: Path) -> str:
    """The message that Fashion-MNIST cannot be had; it gives the ways out."""
    with pytest.raises(DatasetUnavailable) as caught:
        load_dataset("fashion_mnist")
    message = str(caught.value)
    assert "--data PATH" in message
    assert "MNIST_RAY_DATA" not in message
    assert f"put Keras' own files at {cache}: train-images-idx3-ubyte.gz, " in message
    assert "digits that need no network" in message
    assert list(cache.parent.rglob(".*")) == []
    return message


def test_missing_files_are_downloaded_into_keras_cache_once(cache: Path, server: list[str]) -> None:
    dataset = load_dataset("fashion_mnist")

    assert_has_small_arrays(dataset)
    assert dataset.name == "fashion_mnist"
    assert sorted(path.name for path in cache.iterdir()) == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    assert len(server) == 4
    assert_has_small_arrays(load_dataset("fashion_mnist"))
    assert len(server) == 4


def test_truncated_file_in_the_cache_is_fetched_anew(
    cache: Path, server: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = save_idx(cache, gzipped=True) / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])

    assert_has_small_arrays(load_dataset("fashion_mnist"))

    assert server == ["/t10k-images-idx3-ubyte.gz"]
    assert f"{path}: truncated or damaged" in caplog.text


def test_truncated_file_is_reported_where_it_cannot_be_fetched(cache: Path) -> None:
    path = save_idx(cache, gzipped=True) / "train-labels-idx1-ubyte.gz"
    content = path.read_bytes()[:-9]
    path.write_bytes(content)

    assert f"{path}: truncated or damaged" in unavailable(cache)
    assert path.read_bytes() == content


def test_files_of_another_data_set_are_reported(cache: Path) -> None:
    arrays = small_arrays()
    save_idx(cache, gzipped=True, x_train=arrays["x_train"][:9], y_train=arrays["y_train"][:9])

    message = unavailable(cache)

    assert "not of Fashion-MNIST: shape [9, 6, 5]" in message
    assert "it has [10, 6, 5]" in message


def test_without_network_the_ways_out_are_reported(cache: Path) -> None:
    message = unavailable(cache)

    assert f"there is no {cache / 'train-images-idx3-ubyte.gz'}" in message
    assert "fetching http://127.0.0.1:1/train-images-idx3-ubyte.gz failed" in message


def test_truncated_download_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (
        save_idx(cache.parent / "served", gzipped=True) / "train-images-idx3-ubyte.gz"
    ).read_bytes()

    with served(lambda request: send(request, content[:-30])) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        assert "what came is truncated or damaged" in unavailable(cache)


def test_its_ten_classes_have_names(tmp_path: Path) -> None:
    labels = {"y_train": small_arrays()["y_train"], "y_test": small_arrays()["y_test"]}
    labels["y_test"][0] = 9

    of_ten = load_dataset("fashion_mnist", data=str(save_idx(tmp_path / "ten", **labels)))
    of_three = load_dataset("fashion_mnist", data=str(save_idx(tmp_path / "three")))

    assert of_ten.class_names is not None
    assert (of_ten.class_names[0], of_ten.class_names[9]) == ("T-shirt/top", "Ankle boot")
    assert of_three.class_names is None
