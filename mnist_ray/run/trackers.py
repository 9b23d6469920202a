"""Experiment trackers: each record is handed to them when its trial has ended.

Nothing is ever read back from a tracker: the ledger stays a sweep's only state.
"""

import json
import logging
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from pydantic import JsonValue

from mnist_ray.analysis.settings import varied_settings
from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.space.space import Space

_LOG = logging.getLogger(__name__)
_MLFLOW_BATCH = 1000
"""The most metrics that an MLflow server takes at once."""

_Parameter = str | bool | int | float

Log = Callable[[str, Record], None]
"""Shows a tracker a trial that has ended: its name for people, and its record."""


def _open_tensorboard(sweep: str, folder: ResultsFolder) -> Log:
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    def log(trial: str, record: Record) -> None:
        path = Path(folder.path) / folder.tensorboard(trial, record.key)
        figures: dict[str, float] = {}
        with SummaryWriter(str(path)) as writer:
            for number, epoch in _epochs(record):
                figures = {f"ray/tune/{name}": value for name, value in epoch.items()}
                for name, value in figures.items():
                    writer.add_scalar(name, value, global_step=number)
            for summary in hparams(_parameters(record), figures):
                writer.file_writer.add_summary(summary)

    return log


def _open_mlflow(sweep: str, folder: ResultsFolder) -> Log:
    # MLflow's makers get no usage report unasked. A folder as the store was asked for by its URI.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    # MLflow's own defaults are minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client = MlflowClient()
    known = client.get_experiment_by_name(sweep)
    experiment = known.experiment_id if known else client.create_experiment(sweep)

    def log(trial: str, record: Record) -> None:
        end = _milliseconds(datetime.now(UTC))
        begin = _milliseconds(record.setting.started_at) if record.setting else end
        tags = {"trial_name": trial}
        run = client.create_run(experiment, start_time=begin, tags=tags, run_name=trial)
        identity = run.info.run_id
        params = [Param(name, str(value)) for name, value in _parameters(record).items()]
        client.log_batch(identity, params=params)
        metrics = [Metric(name, value, end, number) for number, name, value in _points(record)]
        for first in range(0, len(metrics), _MLFLOW_BATCH):
            client.log_batch(identity, metrics=metrics[first : first + _MLFLOW_BATCH])
        has_failed = record.status is Status.FAILED
        client.set_terminated(identity, "FAILED" if has_failed else "FINISHED")

    return log


def _open_wandb(sweep: str, folder: ResultsFolder) -> Log:
    import wandb

    project = os.environ.get("WANDB_PROJECT") or "mnist_ray"
    group = os.environ.get("WANDB_RUN_GROUP") or sweep
    is_online = os.environ.get("WANDB_MODE", "online") == "online"
    if is_online and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
        raise ValueError("there is no API key")

    def log(trial: str, record: Record) -> None:
        run = wandb.init(
            project=project,
            group=group,
            name=trial,
            config=_parameters(record),
            reinit=True,
            settings=wandb.Settings(silent=True),
        )
        for number, epoch in _epochs(record):
            run.log(epoch, step=number)
        run.finish(exit_code=int(record.status is Status.FAILED))

    return log


@dataclass(frozen=True)
class _Kind:
    """A tracker that can be asked for.

    Attributes:
        module: what must be installed.
        packages: what pip calls it, with all that is of use with it.
        open: makes what logs the trials of the sweep of that name.
        remedy: what else helps where it cannot be used.
    """

    module: str
    packages: str
    open: Callable[[str, ResultsFolder], Log]
    remedy: str = ""


_KINDS = {
    "tensorboard": _Kind("tensorboardX", "tensorboardX tensorboard", _open_tensorboard),
    "mlflow": _Kind(
        "mlflow",
        "mlflow-skinny",
        _open_mlflow,
        remedy="MLFLOW_TRACKING_URI says where it writes: a server, a folder (file:///path) or, "
        "with SQLAlchemy and alembic installed, a database. ",
    ),
    "wandb": _Kind(
        "wandb",
        "wandb",
        _open_wandb,
        remedy="It needs `wandb login`, WANDB_API_KEY, or WANDB_MODE=offline. ",
    ),
}


class Tracker:
    """Hands records to one tracker, in a thread of its own: a slow one does not hold up the sweep.

    If a tracker breaks, it gets no more records, and a warning says so: the sweep is worth more.
    """

    def __init__(self, name: str, log: Log, space: Space) -> None:
        self._name, self._space = name, space
        self._log: Log | None = log
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"log-{name}")

    def log(self, record: Record) -> None:
        """Hand over the record of a trial that has ended."""
        self._thread.submit(self._try, record)

    def close(self) -> None:
        """Wait until the tracker has all that it was handed."""
        self._thread.shutdown()

    def _try(self, record: Record) -> None:
        if self._log is None:
            return
        try:
            self._log("-".join(_names(record, self._space)), record)
        except Exception as error:  # A server out of reach, a full disk, a limit of its own.
            self._log = None
            _LOG.warning(
                "--log %s: the tracker failed (%s); the sweep goes on without it, and its records "
                "are complete.",
                self._name,
                _in_a_line(error),
            )


def open_trackers(names: Sequence[str], *, folder: ResultsFolder, space: Space) -> list[Tracker]:
    """The trackers of those names, ready for records.

    They are opened before Ray starts, so that one out of reach is reported at once.

    Args:
        names: of "tensorboard", "mlflow" and "wandb"; one given twice counts once.
        folder: the sweep's; TensorBoard's files go there.
        space: what is run; its name is MLflow's experiment, and the group of W&B's runs.

    Raises:
        InputError: there is no such tracker, its package is not installed, or it cannot be used.
    """
    asked = list(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in asked:
        _check(name, folder)
    return [Tracker(name, _opened(name, space.name, folder), space) for name in asked]


def _check(name: str, folder: ResultsFolder) -> None:
    if name not in _KINDS:
        raise InputError(f"--log {name}: there is no such tracker; take one of {', '.join(_KINDS)}")
    kind = _KINDS[name]
    if find_spec(kind.module) is None:
        raise InputError(
            f"--log {name}: the package {kind.module} is not installed. Install it with "
            f"`pip install 'mnist-ray[{name}]'` (or `pip install {kind.packages}`), or leave "
            f"--log {name} out."
        )
    if name == "tensorboard" and not folder.is_local:
        raise InputError(
            f"--log tensorboard: it writes to a folder of this machine, and the results go to "
            f"{folder.uri}. Name a folder with --results, or leave --log tensorboard out."
        )


def _opened(name: str, sweep: str, folder: ResultsFolder) -> Log:
    try:
        return _KINDS[name].open(sweep, folder)
    except Exception as error:  # Whatever a tracker raises without its server, store or key.
        raise InputError(
            f"--log {name}: cannot be used ({_in_a_line(error)}). {_KINDS[name].remedy}Mend that, "
            f"or leave --log {name} out."
        ) from error


def _in_a_line(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")


def _milliseconds(time: datetime) -> int:
    return int(1000 * time.timestamp())


def _names(record: Record, space: Space) -> Iterator[str]:
    """What tells a trial from others, such as cnn, centered, pool_stride=2, trial-0."""
    cell = record.architecture, record.variant
    yield from cell
    for name, value in varied_settings(space, *cell, record.hyperparameters).items():
        yield f"{name}={value}"
    if record.source:
        yield record.source
    yield f"trial-{record.trial}"


def _parameters(record: Record) -> dict[str, _Parameter]:
    """Cell, index, seed and hyperparameters, by the names of the tables' columns.

    Lists are JSON text, and nulls are left out.
    """
    values: dict[str, JsonValue] = {
        "dataset": record.dataset,
        "architecture": record.architecture,
        "variant": record.variant,
        **record.hyperparameters,
        "trial": record.trial,
        "seed": record.trial_seed,
        "source": record.source,
        "key": record.key,
    }
    return {
        name: value if isinstance(value, _Parameter) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def _points(record: Record) -> Iterator[tuple[int, str, float]]:
    """Each figure of each epoch: the epoch's number, the figure's name, and its value."""
    for number, epoch in _epochs(record):
        yield from ((number, name, value) for name, value in epoch.items())


def _epochs(record: Record) -> Iterator[tuple[int, dict[str, float]]]:
    """The number (from 1) and figures of each epoch of a trial.

    The last one of a finished trial also has its test figures and costs, by the names of the
    tables' columns.
    """
    outcome: dict[str, float | None] = {}
    if record.test:
        outcome = {**asdict(record.costs), "parameters": record.parameters}
        outcome |= {"test_accuracy": record.test.accuracy, "test_loss": record.test.loss}
    for number, epoch in enumerate(record.epochs, start=1):
        figures = asdict(epoch) | (outcome if number == len(record.epochs) else {})
        yield number, {name: value for name, value in figures.items() if value is not None}
