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
    return hashlib.sha256(_CANONICAL.encode(document).encode()).hexdigest()[:32]
