"""A child process calls what runs the user's own code, or needs Keras, before a sweep starts."""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from mnist_ray.errors import InputError
from mnist_ray.train.environment import WORKER_ENVIRONMENT


class Ending(NamedTuple):
    """How a child process ended."""

    code: int | None
    """Its exit code; None where its time was over."""
    last_words: list[str]
    """The last line that it wrote to its standard error, if any."""


def in_child(
    function: Callable[..., Iterator[object]], *arguments: Any, limit_seconds: float | None = None
) -> tuple[list[Any], Ending]:
    """All that `function` yields in a child process, as far as that came, and how it ended.

    Raises:
        InputError: `function` did.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mnist_ray.train.child_process"],
            input=pickle.dumps((function, arguments)),
            capture_output=True,
            env={**os.environ, **WORKER_ENVIRONMENT},
            timeout=limit_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        return list(_answers(expired.stdout or b"")), Ending(None, [])
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return list(_answers(done.stdout)), Ending(done.returncode, said[-1:])


def check_in_child(
    function: Callable[..., Iterator[object]], *arguments: Any, subjects: Sequence[str]
) -> list[Any]:
    """What `function` yields in a child process: something for each of `subjects`, if any.

    Raises:
        InputError: `function` did, or the child died of a subject.
    """
    if not subjects:
        return []
    answers, (code, last_words) = in_child(function, *arguments)
    if code or len(answers) < len(subjects):
        raise InputError(
            f"{subjects[min(len(answers), len(subjects) - 1)]}: the process that checked it ended "
            f"with code {code}: {' '.join(last_words) or 'no message'}"
        )
    return answers


def _answers(written: bytes) -> Iterator[Any]:
    stream = io.BytesIO(written)
    with suppress(EOFError, pickle.UnpicklingError):
        while True:
            answer = pickle.load(stream)  # noqa: S301 (of our own child)
            if isinstance(answer, InputError):
                raise answer
            yield answer


def _answer() -> None:
    # Nothing that the user's modules print, even at exit, may get into the answers; nor what a
    # compiled library writes, which might read as anything.
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 (of our own parent)
    try:
        for answer in function(*arguments):
            pickle.dump(answer, stream)
            stream.flush()
    except InputError as error:
        pickle.dump(error, stream)
        stream.flush()


if __name__ == "__main__":
    _answer()
