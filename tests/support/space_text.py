"""Search spaces written as text, read from a file in the working folder."""

from pathlib import Path

import pytest

from mnist_ray.errors import InputError
from mnist_ray.space.space import Space, load_space

MNIST = (28, 28)

BASE = """
name: test
architectures: {feed_forward: {}, cnn: {}}
variants: {centered: {}, shifted: {shift: 20}}
"""
SEARCHED = """
name: test
architectures: {feed_forward: {dropout: {uniform: [0, 0.5]}}, cnn: {}}
variants: {centered: {}, shifted: {shift: 20}}
search: {algorithm: random, configurations: 20, trials_each: 3}
"""
OWN = """
name: test
architectures: {mine: {build: "my_module:build_model", %s}}
variants: {centered: {}}
"""


def space_of(text: str) -> Space:
    Path("space.yaml").write_text(text, encoding="utf-8")
    return load_space("space.yaml")


def errors_of(text: str) -> list[str]:
    """The lines of the one message that refuses a space, without its heading."""
    with pytest.raises(InputError) as caught:
        space_of(text)
    heading, *errors = str(caught.value).splitlines()
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    assert heading == f"the search space space.yaml has {count}:"
    return [error.strip() for error in errors]


def error_of(text: str) -> str:
    (error,) = errors_of(text)
    return error


def image_errors_of(text: str, image_shape: tuple[int, int] = MNIST) -> list[str]:
    space = space_of(text)
    with pytest.raises(InputError) as caught:
        space.check_images(image_shape, 10)
    return [error.strip() for error in str(caught.value).splitlines()[1:]]


def load_written(space: Space) -> Space:
    Path("written.yaml").write_text(space.to_yaml(), encoding="utf-8")
    return load_space("written.yaml")
