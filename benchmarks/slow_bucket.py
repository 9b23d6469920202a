"""A sweep whose results lie in a bucket that takes its time for each request, beside a disk.

    python benchmarks/slow_bucket.py

`make bench` runs it too. The bucket is an S3 look-alike on this machine.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from driver_costs import write_tiny
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_SECONDS = 0.05
_HOST = "127.0.0.1"
_ACCESS = {
    "AWS_ACCESS_KEY_ID": "anyone",
    "AWS_SECRET_ACCESS_KEY": "anything",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class SlowBucket:
    """A bucket. `requests` are all that came in so far, with their methods and paths."""

    uri: str
    requests: list[str]


@contextmanager
def slow_bucket(*, seconds: float) -> Iterator[SlowBucket]:
    """A bucket that takes `seconds` for each request, however many come at a time."""
    requests: list[str] = []
    s3 = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        time.sleep(seconds)
        body: Iterable[bytes] = s3(environ, start_response)
        return body

    os.environ.update(_ACCESS)
    server = make_server(_HOST, 0, answer, threaded=True, request_handler=_Connection)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        name = f"bucket-{secrets.token_hex(4)}"
        endpoint = f"{_HOST}:{server.server_port}"
        boto3.client("s3", endpoint_url=f"http://{endpoint}").create_bucket(Bucket=name)
        requests.clear()
        options = f"endpoint_override={endpoint}&scheme=http"
        yield SlowBucket(f"s3://{name}/results?{options}", requests)
    finally:
        server.shutdown()


class _Connection(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # A connection is kept, as real object storage keeps it.

    def log_request(self, *_: object) -> None:
        """Nothing."""


def compare_with_disk(trials: int) -> None:
    """Time so many tiny trials on a disk and in a bucket, beside start-up, and print both."""
    with tempfile.TemporaryDirectory() as folder, slow_bucket(seconds=_SECONDS) as bucket:
        space = write_tiny(Path(folder))
        on_disk = [time_sweep(space, n, f"{folder}/disk-{n}") for n in (10, 10 + trials)]
        place, _, options = bucket.uri.partition("?")
        in_bucket = []
        for count in (10, 10 + trials):
            bucket.requests.clear()
            in_bucket.append(time_sweep(space, count, f"{place}-{count}?{options}"))
    disk, away = (long - short for short, long in (on_disk, in_bucket))
    print(
        f"\n{trials} tiny trials, results in a bucket that takes {_SECONDS * 1e3:.0f} ms a request"
    )
    print(f"  {away:.1f} s, on a disk {disk:.1f} s; ratio {away / disk:.2f}")
    print(f"  whole command {in_bucket[1]:.1f} s, on a disk {on_disk[1]:.1f} s")
    print(f"  {len(bucket.requests)} requests of the whole command", flush=True)


def time_sweep(space: Path, trials: int, results: str) -> float:
    """Seconds of a whole command."""
    command = [sys.executable, "-m", "mnist_ray", "sweep", str(space), "--quiet"]
    begin = time.perf_counter()
    subprocess.run([*command, "--trials", str(trials), "--results", results], check=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    compare_with_disk(1000)
