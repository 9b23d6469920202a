"""The identity of a trial: canonical JSON and its hash."""

import hashlib
import json
from typing import Any

PROTOCOL = 1
"""The version of what a trial does. It is raised by one whenever the same inputs would give other
figures than before, so that records from before and after are never mixed up."""

JSON = dict[str, Any]

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(document: JSON) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of `document` as canonical JSON."""
    return digest_of_text(_CANONICAL.encode(document))


def digest_of_text(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def canonical_around(document: JSON, name: str) -> tuple[str, str]:
    """What comes before and after the value of `name` in `document` as canonical JSON.

    Documents that differ in that value alone are so encoded only once. `document` need not have it.
    """
    mark = digest(document)  # No document holds its own hash.
    before, _, after = _CANONICAL.encode({**document, name: mark}).partition(f'"{mark}"')
    return before, after
