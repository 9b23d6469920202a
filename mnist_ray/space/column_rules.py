"""Settings of one name share a column, so they must be of one kind and of one part of a cell."""

from collections.abc import Iterable, Mapping
from typing import Any

from mnist_ray.errors import ErrorCollector, Place, shown
from mnist_ray.space.distributions import candidates
from mnist_ray.space.settings import kind_of

Named = Mapping[str, Mapping[str, Any]]
"""By the name of an architecture or a variant, what its function takes; distributions among it."""


def check_columns(
    architectures: Named, transforms: Named, training: Named, errors: ErrorCollector
) -> None:
    """Notes values of several kinds for one column, and names that two parts of a cell have.

    `transforms` has the parameters of those variants that have a transform. `training` has the
    arguments of the optimizer and of the learning rate, by these keys.
    """
    own: dict[Place, Mapping[str, Any]]
    own = {("architectures", name): given for name, given in architectures.items()}
    own |= {("variants", name): given for name, given in transforms.items()}
    _one_kind_a_column(own, errors)
    owners = _owners("architecture", architectures)
    for name, given in transforms.items():
        for key in ("transform", *given):
            if key in owners:
                errors.add(("variants", name, key), _two_parts(owners[key], rename="one"))
    owners |= _owners("variant", transforms)
    for section, given in training.items():
        for key in owners.keys() & given.keys():
            errors.add(("training", section, key), _two_parts(owners[key], rename="that one"))


def _owners(part: str, named: Named) -> dict[str, str]:
    """By the name of a column, which architecture or variant has it, in words."""
    return {key: f"{part} {shown(name)}" for name, given in named.items() for key in given}


def _two_parts(owner: str, *, rename: str) -> str:
    return (
        f"is also a hyperparameter of {owner}, and each has a column of its own; "
        f"rename {rename}, in its function too"
    )


def _one_kind_a_column(own: Mapping[Place, Mapping[str, Any]], errors: ErrorCollector) -> None:
    first: dict[str, tuple[str, str]] = {}
    for place, value, kind in _values(own):
        *_, name, key = map(str, place)
        known, owner = first.setdefault(key, (kind, name))
        if not (kind.startswith(known) or known.startswith(kind)):  # [] goes with any list
            errors.add(
                place,
                f"{shown(value)} is of another kind ({kind}) than {key} of {shown(owner)} "
                f"({known}), and they share a column; rename one, or use one kind",
            )


def _values(own: Mapping[Place, Mapping[str, Any]]) -> Iterable[tuple[Place, object, str]]:
    for place, settings in own.items():
        for key, given in settings.items():
            for value in candidates(given):
                if kind := kind_of(value):
                    yield (*place, key), value, kind
