"""Independent trials of Keras architectures on centered and shifted digits.

The unit of the answer is a mean over trials, with its uncertainty.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_ray.analysis.loading import (
        load_comparisons,
        load_epochs,
        load_report,
        load_robustness,
        load_search,
        load_spread,
        load_trials,
    )
    from mnist_ray.sweep import run_sweep
    from mnist_ray.view.terminal import SweepResult

__version__ = "0.1.0"
__all__ = [
    "SweepResult",
    "load_comparisons",
    "load_epochs",
    "load_report",
    "load_robustness",
    "load_search",
    "load_spread",
    "load_trials",
    "run_sweep",
]


_MODULES = {"SweepResult": "view.terminal", "run_sweep": "sweep"}


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when it is first used: pandas takes half a second."""
    from importlib import import_module

    if name in __all__:
        module = _MODULES.get(name, "analysis.loading")
        return getattr(import_module(f"mnist_ray.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
