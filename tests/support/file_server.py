"""A real HTTP server on loopback."""

import http.server
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
        yield f"http://127.0.0.1:{server.server_address[1]}/"
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
