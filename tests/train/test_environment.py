import os

import pytest

from mnist_ray.train.environment import environment_restored


def test_environment_variables_are_given_back_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHANGED", "before")
    monkeypatch.setenv("DELETED", "before")
    monkeypatch.delenv("ADDED", raising=False)
    with environment_restored():
        os.environ |= {"CHANGED": "after", "ADDED": "after"}
        del os.environ["DELETED"]
    assert (os.environ["CHANGED"], os.environ["DELETED"]) == ("before", "before")
    assert "ADDED" not in os.environ
