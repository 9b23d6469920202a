"""What all tests share."""

import signal
from collections.abc import Iterator

import chromium
import pytest
from hypothesis import settings
from object_storage import ObjectStorage

# In the background of a script Ctrl-C is ignored, and every process started from there inherits
# that. Once it is handled here, the commands that tests start and interrupt do not ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time: a test that fails does so for everyone.
settings.register_profile("same_for_everyone", derandomize=True, deadline=None)
settings.load_profile("same_for_everyone")


@pytest.fixture(scope="session")
def tensorflow() -> None:
    """TensorFlow as a worker with one thread sets it up, before its first operation."""
    from mnist_ray.train import device

    device.configure(threads=1)


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Page]:
    if chromium.PROGRAM is None:
        pytest.skip("there is no Chromium")
    with chromium.chromium() as page:
        yield page


@pytest.fixture(scope="session")
def object_storage_server() -> Iterator[ObjectStorage]:
    storage = ObjectStorage()
    yield storage
    storage.stop()


@pytest.fixture
def object_storage(
    object_storage_server: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> ObjectStorage:
    """A server that speaks S3's protocol on this machine, with an empty bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    object_storage_server.start()
    object_storage_server.make_bucket()
    return object_storage_server
