"""Settings of one name share a column, so they must be of one kind and of one part of a cell."""

from collections.abc import Iterable, Mapping
from typing import Any

from mnist_ray.space.distributions import Distribution
from mnist_ray.space.error_collector import ErrorCollector, Place, shown
from mnist_ray.space.hyperparameters import ArchitectureSettings, kind_of
from mnist_ray.space.variants import Variant


def check_columns(
    architectures: Mapping[str, ArchitectureSettings],
    variants: Mapping[str, Variant],
    errors: ErrorCollector,
) -> dict[str, str]:
    """Notes values of several kinds for one column, and names that two parts of a cell have.

    Returns:
        By the names of their hyperparameters whose they are, such as `architecture "mine"`.
    """
    own: dict[Place, Mapping[str, Any]] = {
        ("architectures", name): dict(settings) for name, settings in architectures.items()
    }
    own |= {("variants", name): variant.parameters for name, variant in variants.items()}
    _one_kind_a_column(own, errors)
    owners = {
        key: f"architecture {shown(name)}"
        for name, settings in architectures.items()
        for key, _ in settings
    }
    _transforms_have_columns_of_their_own(owners, variants, errors)
    return owners | {
        key: f"variant {shown(name)}" for name, each in variants.items() for key in each.parameters
    }


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


def candidates(given: object) -> list[object]:
    """The values that stand for all that a setting may have: one, or those of a distribution."""
    return list(given.candidates().values()) if isinstance(given, Distribution) else [given]


def _transforms_have_columns_of_their_own(
    owners: Mapping[str, str], variants: Mapping[str, Variant], errors: ErrorCollector
) -> None:
    for name, variant in variants.items():
        for key in ("transform", *variant.parameters) if variant.transform else ():
            if key in owners:
                errors.add(
                    ("variants", name, key),
                    f"is also a hyperparameter of {owners[key]}, and each has "
                    "a column of its own; rename one, in its function too",
                )
