"""The version of an installed package.

Only the standard library is imported: the function is also sent to nodes of a cluster, where
nothing of this project need be installed.
"""

import importlib.metadata

# Distributions of one package under several names.
_OTHER_NAMES = {"tensorflow": ("tensorflow-cpu", "tensorflow-macos", "tf-nightly")}


def installed_version(package: str) -> str | None:
    """The version of a package, under any of its names; None where it is not installed."""
    for name in (package, *_OTHER_NAMES.get(package, ())):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
