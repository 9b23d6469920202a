"""Early stopping by epochs: Ray Tune's ASHA, one for each search."""

from dataclasses import dataclass
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from mnist_ray.plan.block import Block

_METRIC = "validation_accuracy"
_LEAST_HORIZON = 3**6
"""Epochs up to which trials are compared, after 1, 3, 9 ... epochs. Where epochs are searched for,
some trials are longer than the default. A comparison that no trial reaches does no harm."""


@dataclass(frozen=True)
class _Entrant:
    """What ASHA sees in place of Ray Tune's trial.

    A trial that lost its process starts again as another trial of Ray Tune's. Under its own key
    ASHA takes it for the same one, and counts its accuracies once.
    """

    trial_id: str


class StopEarly(FIFOScheduler):  # type: ignore[misc]
    """Lets ASHA stop the trials of a search after any epoch.

    Each architecture and variant has an ASHA of its own: a centered digit is easier than a shifted
    one, so their accuracies cannot be compared. Trials that are measured, which do not report
    their epochs, are never stopped.
    """

    def __init__(self, *, epochs: int) -> None:
        """Make ready for trials of up to `epochs`."""
        super().__init__()
        self._epochs = epochs
        self._schedulers: dict[tuple[str, str], AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Enter the trial in its ASHA."""
        if (asha := self._asha(trial)) is not None:
            asha.on_trial_add(tune_controller, _entrant(trial))

    def on_trial_result(
        self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        """Whether the trial goes on after an epoch."""
        if (asha := self._asha(trial)) is None or result.get(_METRIC) is None:
            return str(TrialScheduler.CONTINUE)
        return str(asha.on_trial_result(tune_controller, _entrant(trial), result))

    def on_trial_complete(
        self, tune_controller: TuneController, trial: TuneTrial, result: dict[str, Any]
    ) -> None:
        """Give ASHA the trial's last accuracy, if it has one."""
        if (asha := self._asha(trial)) is not None and result.get(_METRIC) is not None:
            asha.on_trial_complete(tune_controller, _entrant(trial), result)

    def on_trial_remove(self, tune_controller: TuneController, trial: TuneTrial) -> None:
        """Take the trial out of its ASHA."""
        if (asha := self._asha(trial)) is not None:
            asha.on_trial_remove(tune_controller, _entrant(trial))

    def _asha(self, trial: TuneTrial) -> AsyncHyperBandScheduler | None:
        block: Block = trial.config["block"]
        if not block.reports_epochs:
            return None
        pair = (block.first.cell.architecture, block.first.cell.variant)
        if pair not in self._schedulers:
            self._schedulers[pair] = AsyncHyperBandScheduler(
                time_attr="epochs",
                metric=_METRIC,
                mode="max",
                max_t=max(self._epochs, _LEAST_HORIZON),
                grace_period=1,
                reduction_factor=3,
                stop_last_trials=False,
            )
        return self._schedulers[pair]


def _entrant(trial: TuneTrial) -> _Entrant:
    return _Entrant(trial.config["block"].first.key)
