"""Asks one address whether a Ray cluster answers there; a program of its own.

Ray's client retries for most of a minute where something else answers, and ends the whole process
on some failures. As a child process it can be given a time limit, and `cluster` beside it does
so. It prints one JSON object: `address`, `ray_version` and `python_version` of the cluster, or
`problem` ("none running", "no connection", "token refused" or "no ray") and `detail`.
"""

import json
import socket
import sys

CONNECT_LIMIT_SECONDS = 5.0


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not of that form.
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address needs brackets, as in [::1]:6379")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("it needs a host, a colon and a port from 1 to 65535")
    return host, int(port)


def probe(address: str) -> dict[str, str]:
    """What answers at `auto` or `host:port`, as the module's docstring says."""
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address_or_die

        try:  # Ray looks for its processes, and for a note of its last cluster, which may be gone.
            address = canonicalize_bootstrap_address_or_die("auto")
        except (ConnectionError, ValueError) as error:
            return {"problem": "none running", "detail": str(error)}
    try:
        socket.create_connection(split_address(address), timeout=CONNECT_LIMIT_SECONDS).close()
    except OSError as error:
        return {"problem": "no connection", "detail": f"{address}: {error}"}
    return _ask_ray(address)


def _ask_ray(address: str) -> dict[str, str]:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
    from ray.exceptions import AuthenticationError

    try:
        client = GcsClient(address=address)
        answer = client.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=5)
        versions = json.loads(answer)
        return {
            "address": address,
            "ray_version": str(versions["ray_version"]),
            "python_version": str(versions["python_version"]),
        }
    except AuthenticationError as error:
        return {"problem": "token refused", "detail": str(error).partition(". ")[0]}
    except Exception as error:  # whatever it is, no Ray of this kind answers here
        return {"problem": "no ray", "detail": f"{address}: {error}"}


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1])))
