"""Experiment trackers: every trial that runs is handed to them through Ray's own callbacks.

They are told; nothing is ever read back, and the ledger stays a sweep's only state.
"""

import json
import logging
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.logger import LoggerCallback
from ray.tune.result import TRAINING_ITERATION

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.seeds import trial_seeds
from mnist_ray.plan.trial import Trial

_LOG = logging.getLogger(__name__)

Parameter = str | bool | int | float


@dataclass(frozen=True)
class _Kind:
    """A tracker that can be asked for.

    Attributes:
        module: what must be installed.
        packages: what pip calls it, with all that is of use with it.
        open: makes Ray's callback for the sweep of that name.
        remedy: what else helps where it can't be used.
    """

    module: str
    packages: str
    open: Callable[[str], LoggerCallback]
    remedy: str


def _open_tensorboard(sweep: str) -> LoggerCallback:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


def _open_mlflow(sweep: str) -> LoggerCallback:
    # Nobody asked for a report to MLflow's makers; a folder as the store was asked for by its URI.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    # MLflow itself tries for minutes, and the sweep would wait.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    callback = MLflowLoggerCallback(experiment_name=sweep)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return callback


def _open_wandb(sweep: str) -> LoggerCallback:
    from ray.air.integrations.wandb import WandbLoggerCallback

    project = os.environ.get("WANDB_PROJECT") or "mnist_ray"
    return WandbLoggerCallback(project=project, group=os.environ.get("WANDB_RUN_GROUP") or sweep)


_KINDS = {
    "tensorboard": _Kind(
        module="tensorboardX",
        packages="tensorboardX tensorboard",
        open=_open_tensorboard,
        remedy="",
    ),
    "mlflow": _Kind(
        module="mlflow",
        packages="mlflow-skinny",
        open=_open_mlflow,
        remedy="MLFLOW_TRACKING_URI says where it writes: a server, a folder (file:///path) or, "
        "with SQLAlchemy and alembic installed, a database. ",
    ),
    "wandb": _Kind(
        module="wandb",
        packages="wandb",
        open=_open_wandb,
        remedy="It needs `wandb login`, WANDB_API_KEY, or WANDB_MODE=offline. ",
    ),
}


def open_trackers(
    names: Sequence[str], *, folder: ResultsFolder, sweep: str, dataset: str
) -> list["Tracker"]:
    """The trackers of those names, ready to be told of trials.

    Args:
        names: of "tensorboard", "mlflow" and "wandb"; one given twice counts once.
        folder: the sweep's; TensorBoard's files go there.
        sweep: the sweep's name: MLflow's experiment, and the group of W&B's runs.
        dataset: the name of the data set.

    Raises:
        InputError: there is no such tracker, its package is not installed, or it can't be used.
    """
    asked = list(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in asked:
        _check(name, folder)
    return [Tracker(name, _opened(name, sweep), folder=folder, dataset=dataset) for name in asked]


def _check(name: str, folder: ResultsFolder) -> None:
    if name not in _KINDS:
        raise InputError(f"--log {name}: there is no such tracker; take one of {', '.join(_KINDS)}")
    kind = _KINDS[name]
    if find_spec(kind.module) is None:
        raise InputError(
            f"--log {name}: the package {kind.module} is not installed. Install it with "
            f"`pip install 'mnist-ray[{name}]'` (or `pip install {kind.packages}`), or leave "
            f"--log {name} away."
        )
    if name == "tensorboard" and not folder.is_local:
        raise InputError(
            f"--log tensorboard: it writes to a folder of this machine, and the results go to "
            f"{folder.uri}. Name a folder with --results, or leave --log tensorboard away."
        )


def _opened(name: str, sweep: str) -> LoggerCallback:
    """Ray's callback, set up: before Ray starts, so that a tracker out of reach is told at once."""
    try:
        callback = _KINDS[name].open(sweep)
        callback.setup()
    except Exception as error:  # Whatever a tracker raises without its server, store or key.
        raise InputError(
            f"--log {name}: can't be used ({_in_a_line(error)}). {_KINDS[name].remedy}Mend that, "
            f"or leave --log {name} away."
        ) from error
    return callback


def _in_a_line(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")


@dataclass(eq=False)
class _Shown:
    """What Ray's callbacks see in place of Ray Tune's trial.

    Its configuration is the trial's parameters and nothing else, and a person chose its names.
    """

    trial_id: str
    name: str
    local_path: str
    config: dict[str, Parameter]
    experiment_dir_name: str
    epochs: int = 0
    """How many the tracker has been told of."""
    failed: bool = False

    @property
    def evaluated_params(self) -> Mapping[str, Parameter]:
        """What TensorBoard takes for hyperparameters."""
        return self.config

    def init_local_path(self) -> None:
        """Make the folder that TensorBoard's files go to."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


class Tracker(tune.Callback):  # type: ignore[misc]
    """Tells one tracker of every trial, by Ray's own callback for it.

    A tracker that breaks is left alone from then on, with a warning: the sweep is worth more.
    """

    def __init__(
        self, name: str, callback: LoggerCallback, *, folder: ResultsFolder, dataset: str
    ) -> None:
        self._name = name
        self._callback: LoggerCallback | None = callback
        self._folder = folder
        self._dataset = dataset
        self._shown: dict[str, _Shown] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: pickled by Tune for a resumption that the ledger makes needless."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Tell of a trial and its parameters; once more when it is started again."""
        shown = self._shown.setdefault(trial.trial_id, self._show(trial))
        self._tell(lambda callback: callback.log_trial_start(shown))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Tell of the epochs that are new in the trial's record, and of what came out."""
        record: Record | None = result.get("record")
        if record is None:
            return
        shown = self._shown[trial.trial_id]
        for epoch, figures in _figures(record, after=shown.epochs):
            self._tell_result(shown, {TRAINING_ITERATION: epoch, **figures})
        # After a lost process, a trial begins once more with its first epoch.
        shown.epochs = max(shown.epochs, len(record.epochs))
        shown.failed = record.status is Status.FAILED

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Tell that a trial has ended; a failed one does so in order too."""
        shown = self._shown.pop(trial.trial_id)
        self._end(shown, failed=shown.failed)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Tell that a trial's process was lost for good."""
        self._end(self._shown.pop(trial.trial_id), failed=True)

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:
        """Wait for what is still under way to the tracker."""
        self._tell(lambda callback: callback.on_experiment_end(trials=[]))

    def close(self) -> None:
        """Tell that what has not ended never will: the sweep was interrupted."""
        while self._shown:
            self._end(self._shown.popitem()[1], failed=True)

    def _show(self, trial: TuneTrial) -> _Shown:
        own: Trial = trial.config["job"].trial
        name = f"{own.cell.architecture}-{own.cell.variant}-trial-{own.index}"
        path = Path.cwd()
        if self._name == "tensorboard":
            path = Path(self._folder.path) / self._folder.tensorboard(name, own.key)
        return _Shown(
            trial_id=trial.trial_id,
            name=name,
            local_path=str(path),
            config=parameters_of(own, dataset=self._dataset),
            experiment_dir_name=trial.experiment_dir_name,
        )

    def _tell_result(self, shown: _Shown, result: Mapping[str, float]) -> None:
        self._tell(lambda callback: callback.log_trial_result(0, shown, dict(result)))

    def _end(self, shown: _Shown, *, failed: bool) -> None:
        self._tell(lambda callback: callback.log_trial_end(shown, failed=failed))

    def _tell(self, call: Callable[[LoggerCallback], None]) -> None:
        if self._callback is None:
            return
        try:
            call(self._callback)
        except Exception as error:  # A server out of reach, a full disk, a limit of its own.
            self._callback = None
            _LOG.warning(
                "--log %s: the tracker failed (%s); the sweep goes on without it, and its records "
                "are whole.",
                self._name,
                _in_a_line(error),
            )


def parameters_of(trial: Trial, *, dataset: str) -> dict[str, Parameter]:
    """Cell, index, seed and hyperparameters of a trial, by the names of the tables' columns.

    Lists are JSON text; what a cell has no value for is left out.
    """
    values: dict[str, JsonValue] = {
        "dataset": dataset,
        "architecture": trial.cell.architecture,
        "variant": trial.cell.variant,
        **trial.cell.columns(),
        "trial": trial.index,
        "seed": trial_seeds(trial.seed, trial.index).seed,
        "key": trial.key,
    }
    return {
        name: value if isinstance(value, Parameter) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def _figures(record: Record, *, after: int) -> Iterator[tuple[int, dict[str, float]]]:
    """By number of the epoch, the figures of the epochs after the first `after`.

    With those of the last epoch of a finished trial come its test figures and costs, by the names
    of the tables' columns.
    """
    count = len(record.epochs)
    last = {**asdict(record.costs), "parameters": record.parameters}
    if record.test:
        last |= {"test_accuracy": record.test.accuracy, "test_loss": record.test.loss}
        after = min(after, count - 1)
    for number, epoch in enumerate(record.epochs[after:], start=after + 1):
        figures = asdict(epoch) | (last if record.test and number == count else {})
        yield number, {name: value for name, value in figures.items() if value is not None}
