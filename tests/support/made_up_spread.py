"""Made-up sweeps whose trials vary one source of randomness alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from made_up import MadeUp, made_up_record, made_up_sweep, made_up_test_set

from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import Trial
from mnist_ray.space.sources import Source

STDS = {"weights": 0.006, "shuffling": 0.002, "placement": 0.001, "dropout": 0.001}
"""Of the sources that add up in an ordinary trial."""
_SAMPLE = 0.003


def adding_up(stds: Mapping[str, float] = STDS) -> Callable[[Trial], float]:
    """Accuracies to which every source that a trial varies adds something of its own."""

    def accuracy(trial: Trial) -> float:
        if trial.source is None:
            varied = {
                s: std for s, std in stds.items() if s != "sample" and trial.cell.has(Source(s))
            }
        else:
            varied = {trial.source.value: {"sample": _SAMPLE, **stds}[trial.source]}
        return 0.9 + sum(std * _draw(trial, source) for source, std in varied.items())

    return accuracy


def _draw(trial: Trial, source: str) -> float:
    """What trials of equal index share."""
    return float(np.random.default_rng([trial.index, *source.encode()]).standard_normal())


def not_adding_up(trial: Trial) -> float:
    """Accuracies that whatever is drawn anew changes altogether."""
    return 0.9 + 0.005 * np.random.default_rng(int(trial.key[:8], 16)).standard_normal()


def made_up_spread(
    accuracy: Callable[[Trial], float], changes: Mapping[str, object] | None = None
) -> MadeUp:
    """A finished sweep with the sources of its spread; by default the usual cells and 20 trials."""
    test_set = made_up_test_set(20_000)
    sweep = made_up_sweep({"spread": {"trials": 20}, **(changes or {})}, test_set=test_set)
    rng = np.random.default_rng(0)
    records = {
        trial.key: made_up_record(trial, accuracy(trial), test_set=test_set, rng=rng)
        for trial in plan(sweep.space, sweep.dataset_info, {}).wanted
    }
    return replace(sweep, records=records)
