"""Architectures in the file of a search space."""

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from mnist_ray.errors import refusal
from mnist_ray.space.hyperparameters import (
    BUILT_IN,
    ArchitectureSettings,
    Custom,
    explained,
    explained_at,
    names_a_function,
)

_BUILDERS = f'{", ".join(BUILT_IN)} or "module:function" of your own'


@dataclass(frozen=True)
class Architecture:
    """A named builder with its hyperparameters."""

    builder: str
    """`feed_forward`, `cnn` or `module:function`."""
    hyperparameters: ArchitectureSettings

    def to_data(self) -> dict[str, JsonValue]:
        return {"build": self.builder, **self.hyperparameters.to_data()}


def read_architecture(given: tuple[str, Any]) -> Architecture:
    """An architecture by its name and the mapping under that name."""
    name, body = given
    if not isinstance(body, dict | None):
        raise explained(refusal(body, "a mapping such as {key: value}"))
    own = dict(body or {})
    is_named = "build" in own
    builder = own.pop("build", name)
    if isinstance(builder, str) and builder in BUILT_IN:
        return Architecture(builder, BUILT_IN[builder].model_validate(own))
    if not is_named:
        allowed = f"{', '.join(BUILT_IN)}, or any name with build: {_BUILDERS}"
        raise explained(refusal(builder, allowed, BUILT_IN))
    if not isinstance(builder, str) or not names_a_function(builder):
        raise explained_at((("build",), refusal(builder, _BUILDERS, BUILT_IN)))
    return Architecture(builder, Custom.model_validate(own))
