"""MNIST comes from Keras' cache, or is downloaded into it; otherwise the ways out are given."""

import http.server
import socket
import threading
from pathlib import Path

import pytest
from file_server import send, served
from image_files import assert_has_small_arrays, save_npz

from mnist_ray.data import keras_cache
from mnist_ray.data.dataset import load_dataset
from mnist_ray.data.keras_cache import DatasetUnavailable


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of MNIST in an empty cache of Keras', reached without a proxy."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "keras" / "datasets" / "mnist.npz"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting gives up after half a second."""
    monkeypatch.setattr(keras_cache, "CONNECT_LIMIT_SECONDS", 0.5)


@pytest.fixture
def mnist_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What plays Keras' own mnist.npz: its checksum is the one that is asked for."""
    path = save_npz(tmp_path / "served.npz")
    monkeypatch.setattr(keras_cache, "MNIST_SHA256", keras_cache.sha256(path))
    return path.read_bytes()


def unavailable(cache: Path) -> str:
    """The message that MNIST cannot be had; it gives the ways out, and nothing is left behind."""
    before = cache.read_bytes() if cache.exists() else None
    with pytest.raises(DatasetUnavailable) as caught:
        load_dataset("mnist")
    message = str(caught.value)
    assert "--data PATH or MNIST_RAY_DATA=PATH" in message
    assert f"put Keras' own mnist.npz at {cache}" in message
    assert "mnist-ray sweep digits" in message
    assert (cache.read_bytes() if cache.exists() else None) == before
    assert list(cache.parent.glob(".*")) == []
    return message


def test_mnist_is_downloaded_into_keras_cache_once(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(lambda request: send(request, mnist_file)) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        dataset = load_dataset("mnist")

    assert_has_small_arrays(dataset)
    assert dataset.name == "mnist"
    assert cache.read_bytes() == mnist_file
    assert list(cache.parent.iterdir()) == [cache]
    assert_has_small_arrays(load_dataset("mnist"))  # The server is gone.


def test_slow_download_that_goes_on_is_waited_for(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_cache, "CONNECT_LIMIT_SECONDS", 1.0)
    # Five pieces, 0.25 s apart: as a whole they take longer than the limit.
    with served(lambda request: send(request, mnist_file, pause=0.25)) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        assert_has_small_arrays(load_dataset("mnist"))


def test_download_with_another_checksum_is_refused(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(lambda request: send(request, mnist_file[:-1])) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        assert "another checksum" in unavailable(cache)


def test_answer_of_an_error_is_reported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(lambda request: request.send_error(503)) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
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
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        message = unavailable(cache)
        over.set()
    assert "nothing arrived for 0.5 s" in message or "timed out" in message


@pytest.mark.usefixtures("impatient")
def test_server_that_accepts_and_never_answers_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(
            keras_cache, "KERAS_URL", f"http://127.0.0.1:{server.getsockname()[1]}/"
        )
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
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        message = unavailable(cache)
        over.set()
    assert "nothing arrived for 0.5 s" in message


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1"])
def test_address_that_cannot_be_reached_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(keras_cache, "KERAS_URL", f"http://{host}:{port}/")

    message = unavailable(cache)

    assert f"there is no {cache}" in message
    assert "<urlopen" not in message


@pytest.mark.usefixtures("impatient")
def test_name_server_that_never_answers_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    # The resolver cannot be made to wait for ever without administering the machine.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() or [])

    message = unavailable(cache)

    over.set()
    assert "nothing arrived for 0.5 s" in message


def test_cached_file_with_another_checksum_survives_a_failed_download(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir(parents=True)
    save_npz(cache)
    monkeypatch.setattr(keras_cache, "KERAS_URL", "http://127.0.0.1:1/")

    message = unavailable(cache)

    assert f"{cache}: not Keras' own file" in message
    assert f"--data {cache}" in message
    assert "fetching it anew" in caplog.text
    assert_has_small_arrays(load_dataset("mnist", data=str(cache)))


def test_cached_file_with_another_checksum_is_fetched_anew(
    cache: Path, mnist_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half a download")

    with served(lambda request: send(request, mnist_file)) as url:
        monkeypatch.setattr(keras_cache, "KERAS_URL", url)
        assert_has_small_arrays(load_dataset("mnist"))

    assert cache.read_bytes() == mnist_file


def test_cache_that_cannot_be_made_is_reported(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras").write_text("a file where the folder should be")

    with pytest.raises(DatasetUnavailable, match="Not a directory"):
        load_dataset("mnist")


def test_cache_lies_where_keras_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    assert keras_cache.keras_cache("mnist.npz") == tmp_path / ".keras" / "datasets" / "mnist.npz"

    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    assert keras_cache.keras_cache("mnist.npz") == tmp_path / "elsewhere" / "datasets" / "mnist.npz"
