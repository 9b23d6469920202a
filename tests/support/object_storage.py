"""A server that speaks S3's protocol on loopback, and can be stopped and started again."""

import secrets
import socket
import subprocess
import time

import boto3
from moto.server import ThreadedMotoServer

_HOST = "127.0.0.1"


class ObjectStorage:
    """Keeps what is in it over a stop, as a server that is only out of reach for a while.

    `bucket` is the newest bucket, and empty until something is written.
    """

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            self._port = probe.getsockname()[1]
        self._server: ThreadedMotoServer | None = None
        self.bucket = ""

    def start(self) -> None:
        """Answer from now on, always on the same port."""
        if self._server is None:
            self._server = ThreadedMotoServer(_HOST, self._port, verbose=False)
            self._server.start()

    def stop(self) -> None:
        """Be out of reach."""
        if self._server is not None:
            self._server.stop()
        self._server = None

    def go_away(self, process: "subprocess.Popen[str]", seconds: float) -> None:
        """Be out of reach for a while, which `process` outlives."""
        self.stop()
        time.sleep(seconds)
        assert process.poll() is None
        self.start()

    def make_bucket(self) -> None:
        """Begin with an empty one."""
        self.bucket = f"bucket-{secrets.token_hex(4)}"
        client = boto3.client("s3", endpoint_url=f"http://{_HOST}:{self._port}")
        client.create_bucket(Bucket=self.bucket)

    def uri(self, path: str, *, user: str = "") -> str:
        """What a person gives as `--results`."""
        options = f"endpoint_override={_HOST}:{self._port}&scheme=http"
        return f"s3://{user and f'{user}@'}{self.bucket}/{path}?{options}"
