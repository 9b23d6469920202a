"""Which Ray cluster a sweep joins, and whether it can be joined: asked before Ray starts.

`ray.init` waits for minutes where no Ray answers, and its messages are about Ray's internals. What
is here answers within seconds, and says what to do.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_ray.errors import InputError
from mnist_ray.run.cluster_probe import split_address
from mnist_ray.run.machine import last_words

PROBE_LIMIT_SECONDS = 15.0
"""Within this a cluster answers, or there is none."""

_AUTH_MODE = "RAY_AUTH_MODE"
MAKE_TOKEN = "ray get-auth-token --generate"  # noqa: S105 - a command
USE_TOKEN = "export RAY_AUTH_MODE=token"  # noqa: S105 - a command

_UNREACHABLE = {
    "token refused": "the cluster refuses this machine's token ({detail}). Used was {token}. Copy "
    f"the cluster's ~/.ray/auth_token to this machine and {USE_TOKEN}.",
    "none running": "no Ray cluster runs on this machine. Start one: ray start --head",
    "no connection": "nothing answers there ({detail}). Give host:port of a running cluster's head "
    "(the port of `ray start --head`, 6379 by default), or leave --address out to use this "
    "machine alone.",
    "no ray": "no Ray cluster answers there ({detail}). The port must be that of `ray start "
    "--head` (6379 by default), not the dashboard's (8265) or the client's (10001).",
}
"""By the problem that `cluster_probe` reports."""


_OTHER_KINDS = {
    "ray": "is for Ray Client, where the sweep's driver would run at the cluster's head",
    "http": "is that of the jobs API",
    "https": "is that of the jobs API",
}
"""What an address is, by its scheme."""
_SUBMIT = (
    "ray job submit --address http://{host}:8265 --working-dir . -- "
    "python -m mnist_ray.sweep --results s3://YOUR-BUCKET/mnist-ray"
)
"""The command that runs a sweep at the head of a cluster."""


def find_address(explicit: str | None) -> str | None:
    """The cluster to join, as `auto` or `host:port`; None to start a Ray on this machine.

    That is `explicit`, else the variable RAY_ADDRESS, which Ray sets inside `ray job submit` and
    `ray submit`. As Ray has it, the variable also says what `auto` is, and `local`, in either, is
    a Ray on this machine. Addresses are checked in form alone.

    Raises:
        InputError: it is an address of another kind (`ray://`, `http://`), or none.
    """
    variable = os.environ.get("RAY_ADDRESS", "").strip()
    if explicit is not None and not (explicit == "auto" and variable):
        return None if explicit == "local" else _address(explicit, source="--address")
    return None if variable in ("", "local") else _address(variable, source="RAY_ADDRESS")


def _address(text: str, *, source: str) -> str:
    address = text.strip()
    scheme, mark, rest = address.partition("://")
    if mark:
        reason = _OTHER_KINDS.get(scheme.lower(), "is of no kind that Ray knows")
        raise InputError(
            f"{source} {address}: this address {reason}. Allowed: auto or host:port, from a "
            "machine of the cluster. From elsewhere, submit the sweep instead: "
            f"{_SUBMIT.format(host=_host(rest))}"
        )
    if address == "auto":
        return address
    try:
        split_address(address)
    except ValueError as error:
        raise InputError(
            f"{source} {text!r}: not the address of a Ray cluster ({error}). Allowed: auto (the "
            "cluster that runs on this machine) or host:port, as in 10.0.0.5:6379."
        ) from error
    return address


def _host(rest: str) -> str:
    """The host of `host:port/path`, as an address writes it."""
    place = rest.partition("/")[0]
    host, colon, port = place.rpartition(":")
    return (host if colon and port.isdigit() else place) or "127.0.0.1"


@dataclass(frozen=True)
class ClusterInfo:
    """A Ray cluster that answered."""

    address: str
    """`host:port`, also where `auto` was asked for."""
    ray_version: str
    python_version: str


def check_joinable(address: str) -> ClusterInfo:
    """The cluster that answers at `auto` or `host:port`, asked just as `ray.init` would ask.

    So join it with the same `address`: where RAY_AUTH_MODE is unset, Ray sends a token that it
    finds to `auto`, but never to `host:port`. Takes about a second where a cluster answers, and at
    most `PROBE_LIMIT_SECONDS`.

    Raises:
        InputError: nothing answers, no Ray does, or it refuses this machine's token; or it would
            refuse to be joined, because its Ray or Python is another one.
    """
    token = find_token()
    unasked = address == "auto" and _AUTH_MODE not in os.environ and token.usable
    answer = _probe(address, {_AUTH_MODE: "token"} if unasked else {})
    if "problem" in answer:
        used = token.source if token_is_used() and token.usable else "none"
        reason = _UNREACHABLE[answer["problem"]].format(detail=answer["detail"], token=used)
        raise InputError(f"--address {address}: {reason}")
    info = ClusterInfo(**answer)
    _check_same_versions(info)
    return info


def _check_same_versions(info: ClusterInfo) -> None:
    import ray

    # As Ray compares them.
    parts = 2 if os.environ.get("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL") == "minor" else 3
    here = (ray.__version__, ".".join(map(str, sys.version_info[:parts])))
    there = (info.ray_version, ".".join(info.python_version.split(".")[:parts]))
    if here != there:
        raise InputError(
            f"cluster at {info.address}: Ray {there[0]} on Python {there[1]}, but here is Ray "
            f"{here[0]} on Python {here[1]}; Ray joins only its own version. Install the "
            "cluster's versions here, or submit the sweep to run there: "
            f"{_SUBMIT.format(host=_host(info.address))}"
        )


def answers_without_token(address: str) -> bool:
    """Whether anyone who reaches the cluster at `address` can run code there."""
    return "problem" not in _probe(address, {_AUTH_MODE: "disabled"})


@dataclass(frozen=True)
class Token:
    """Where Ray takes its token from; the token itself is read by Ray alone."""

    source: str
    """The name of a variable, or the path of a file."""
    usable: bool
    """Whether there is something in it."""


def find_token() -> Token:
    """The place that Ray looks at: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Token("RAY_AUTH_TOKEN", usable=True)
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    try:
        return Token(str(path), usable=bool(path.read_text().strip()))
    except (OSError, UnicodeDecodeError):
        return Token(str(path), usable=False)


def token_is_used() -> bool:
    """Whether Ray's clients send the token from here."""
    return os.environ.get(_AUTH_MODE, "").lower() == "token"


def _probe(address: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """What `cluster_probe` prints of `address`, with environment variables changed."""
    # -P: what lies beside the program must not hide Python's own modules.
    program = [sys.executable, "-P", str(Path(__file__).with_name("cluster_probe.py")), address]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **variables}
    try:
        child = subprocess.run(
            program,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROBE_LIMIT_SECONDS,
        )
        answer: dict[str, Any] = json.loads(child.stdout)
    except subprocess.TimeoutExpired:
        return {"problem": "no ray", "detail": f"no answer in {PROBE_LIMIT_SECONDS:g} s"}
    except ValueError:
        return {"problem": "no ray", "detail": last_words(child)}
    return answer
