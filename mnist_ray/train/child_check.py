"""Checks that run the user's own code or need Keras, made in a child process."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from mnist_ray.errors import InputError


def check_in_child(module: str, request: tuple[Any, ...], *, what: str) -> None:
    """Have a child process run `module`, which answers with the first fault, if any.

    Raises:
        InputError: the child found a fault, or died.
    """
    fault = ask_child(module, request, what=what)
    if fault:
        raise InputError(fault)


def ask_child(module: str, request: tuple[Any, ...], *, what: str) -> Any:
    """What a child process answers that runs `module`, which answers by `answer_parent`.

    Args:
        module: by its full name.
        request: what it is asked.
        what: is checked, in case that the child dies of it.

    Raises:
        InputError: the child died.
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
    return pickle.loads(done.stdout)  # noqa: S301 (of our own child)


def answer_parent(answer: Callable[..., object]) -> None:
    """Read the request, and answer with what `answer` returns for it."""
    # Nothing that the user's modules print, even at exit, may get into the answer.
    stream, sys.stdout = sys.stdout.buffer, sys.stderr
    request = pickle.load(sys.stdin.buffer)  # noqa: S301 (of our own parent)
    pickle.dump(answer(*request), stream)
    stream.flush()
