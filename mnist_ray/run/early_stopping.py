"""Early stopping by epochs: Ray Tune's ASHA, one for each search."""

from types import SimpleNamespace
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from mnist_ray.plan.block import Block
from mnist_ray.space.training import Training

_METRIC = "validation_accuracy"
_LEAST_HORIZON = 3**6
"""Epochs up to which trials are compared, after 1, 3, 9 ... epochs. Where epochs are searched for,
some trials are longer than the default. A comparison that no trial reaches does no harm."""


class StopEarly(FIFOScheduler):  # type: ignore[misc]
    """Lets ASHA stop the trials of a search after any epoch.

    Each architecture and variant has an ASHA of its own: a centered digit is easier than a shifted
    one, so their accuracies cannot be compared. Trials that are measured, which do not report
    their epochs, are never stopped.
    """

    def __init__(self, training: Training) -> None:
        """Make ready for the longest trials of a search."""
        super().__init__()
        searched = training.varied().get("epochs")
        choices = searched.candidates() if searched else [training.epochs]
        longest = max(training.bound({"epochs": each}).epochs for each in choices)
        self._horizon = max(longest, _LEAST_HORIZON)
        self._schedulers: dict[tuple[str, str], AsyncHyperBandScheduler] = {}

    def on_trial_result(
        self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        """Whether the trial goes on after an epoch."""
        if (entry := self._entry(trial, result)) is None:
            return str(TrialScheduler.CONTINUE)
        asha, entrant = entry
        return str(asha.on_trial_result(tune_controller, entrant, result))

    def on_trial_complete(
        self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]
    ) -> None:
        """Give ASHA the trial's last accuracy, if it has one."""
        if entry := self._entry(trial, result):
            asha, entrant = entry
            asha.on_trial_complete(tune_controller, entrant, result)

    def _entry(
        self, trial: TuneTrial, result: dict[str, Any]
    ) -> tuple[AsyncHyperBandScheduler, SimpleNamespace] | None:
        """The ASHA of a trial that is compared, and what it sees in place of Ray Tune's trial.

        A trial that lost its process starts again as another trial of Ray Tune's. Under its own key
        ASHA takes it for the same one, and counts its accuracies once.
        """
        block: Block = trial.config["block"]
        if not block.reports_epochs or result.get(_METRIC) is None:
            return None
        pair = (block.first.cell.architecture, block.first.cell.variant)
        if pair not in self._schedulers:
            self._schedulers[pair] = AsyncHyperBandScheduler(
                time_attr="epochs",
                metric=_METRIC,
                mode="max",
                max_t=self._horizon,
                grace_period=1,
                reduction_factor=3,
                stop_last_trials=False,
            )
        asha, entrant = self._schedulers[pair], SimpleNamespace(trial_id=block.first.key)
        asha.on_trial_add(None, entrant)  # That it is known already makes no difference.
        return asha, entrant
