"""Early stopping by epochs: Ray Tune's ASHA, one for each search."""

from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from mnist_ray.run.worker import TrialJob

_METRIC = "validation_accuracy"
_LEAST_HORIZON = 3**6
"""Epochs up to which trials are compared, after 1, 3, 9 ...: where epochs are searched for, some
trials are longer than the default, and comparisons that none comes to do no harm."""


class StopEarly(FIFOScheduler):  # type: ignore[misc]
    """Lets ASHA stop the trials of a search after any epoch.

    Each architecture and variant has an ASHA of its own: a centered digit is easier than a shifted
    one, so that their accuracies are no measure for each other. Trials that are measured (those
    that do not report their epochs) are never stopped.
    """

    def __init__(self, *, epochs: int) -> None:
        """Make ready for trials of `epochs` by default."""
        super().__init__()
        self._epochs = epochs
        self._schedulers: dict[tuple[str, str], AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Let the trial's ASHA know of it."""
        if (asha := self._asha(trial)) is not None:
            asha.on_trial_add(tune_controller, trial)

    def on_trial_result(
        self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        """Whether the trial goes on after an epoch."""
        if (asha := self._asha(trial)) is None:
            return str(TrialScheduler.CONTINUE)
        return str(asha.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(
        self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]
    ) -> None:
        """Let the trial's ASHA know how it ended."""
        if (asha := self._asha(trial)) is not None and result.get(_METRIC) is not None:
            asha.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Let the trial's ASHA forget it."""
        if (asha := self._asha(trial)) is not None:
            asha.on_trial_remove(tune_controller, trial)

    def _asha(self, trial: TuneTrial) -> AsyncHyperBandScheduler | None:
        job: TrialJob = trial.config["job"]
        if not job.reports_epochs:
            return None
        pair = (job.trial.cell.architecture, job.trial.cell.variant)
        if pair not in self._schedulers:
            self._schedulers[pair] = AsyncHyperBandScheduler(
                metric=_METRIC,
                mode="max",
                max_t=max(self._epochs, _LEAST_HORIZON),
                grace_period=1,
                reduction_factor=3,
                stop_last_trials=False,
            )
        return self._schedulers[pair]
