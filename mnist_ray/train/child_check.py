"""Checks that need Keras, made in a child process before a sweep starts."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from mnist_ray.errors import InputError


def check_in_child(module: str, request: tuple[Any, ...], *, what: str) -> None:
    """Have a child process run `module`, which answers by `answer_parent`.

    Args:
        module: by its full name.
        request: the arguments of the check.
        what: is checked, in case that the child dies of it.

    Raises:
        InputError: the child found a fault, or died.
    """
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=pickle.dumps(request),
        capture_output=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        errors = done.stderr.decode(errors="replace")
        last_words = errors.strip().splitlines()[-1:] or ["no message"]
        raise InputError(
            f"{what}: the process that checked it ended with code {done.returncode}: "
            f"{last_words[0]}"
        )
    fault = json.loads(done.stdout)
    if fault:
        raise InputError(fault)


def answer_parent(first_fault: Callable[..., str | None]) -> None:
    """Read the request, and answer with the first fault that is found, if any."""
    # Nothing that the user's modules print, even at exit, may get into the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump(first_fault(*pickle.load(sys.stdin.buffer)), answer)  # noqa: S301 (of our own parent)
