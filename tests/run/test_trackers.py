"""Trackers: a sweep that hands its trials to TensorBoard and MLflow, and what is refused."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import ray
from made_up import as_failed, folder_at, made_up_sweep
from mlflow.entities import Run
from object_storage import ObjectStorage
from running import Place, opened, write_space
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import mnist_ray
from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Costs, Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.seeds import trial_seeds
from mnist_ray.plan.trial import trials_of
from mnist_ray.run.trackers import Tracker, open_trackers
from mnist_ray.space.space import Space
from mnist_ray.sweep import main

SPACE = {
    "name": "tracked",
    "dataset": "digits",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}},
    "training": {"epochs": 2},
    "trials": 2,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Where a sweep of two trials has handed them to TensorBoard and MLflow."""
    folder = tmp_path_factory.mktemp("tracked")
    write_space(folder / "tracked.yaml", SPACE)
    with opened(folder) as place:
        environment = {"MLFLOW_TRACKING_URI": store(folder)}
        trackers = ("--log", "tensorboard", "--log", "mlflow")
        ended = place.run("tracked.yaml", *trackers, environment=environment)
        assert ended.code == 0, ended
        assert ended.errors == ""
        yield place


def store(folder: Path) -> str:
    return (folder / "mlflow").as_uri()


@pytest.fixture(scope="module")
def trials(place: Place) -> pd.DataFrame:
    return mnist_ray.load_trials(place.folder / "results/tracked")


@pytest.fixture(scope="module")
def runs(place: Place) -> list[Run]:
    """What MLflow was given, in the order of trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = mlflow.MlflowClient(tracking_uri=store(place.folder))
        experiment = client.get_experiment_by_name("tracked")
        assert experiment
        found: list[Run] = client.search_runs([experiment.experiment_id])
    return sorted(found, key=lambda run: int(run.data.params["trial"]))


@pytest.fixture(scope="module")
def events(place: Place) -> list[EventAccumulator]:
    """What TensorBoard was given, in the order of trials."""
    folders = sorted((place.folder / "results/tracked/tensorboard").iterdir())
    return [EventAccumulator(str(folder)).Reload() for folder in folders]


def test_every_trial_is_a_run_of_mlflow_that_has_ended(runs: list[Run]) -> None:
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    names = [run.info.run_name for run in runs]
    assert names == ["feed_forward-centered-trial-0", "feed_forward-centered-trial-1"]


def test_mlflow_gets_cell_seed_and_hyperparameters_and_nothing_else(
    runs: list[Run], trials: pd.DataFrame
) -> None:
    for index, run in enumerate(runs):
        params = run.data.params
        assert params == {
            "dataset": "digits",
            "architecture": "feed_forward",
            "variant": "centered",
            "trial": str(index),
            "seed": str(trial_seeds(0, index).seed),
            "key": trials["key"][index],
            "hidden_units": "[8]",
            "dropout": "0.0",
            "epochs": "2",
            "batch_size": "32",
            "learning_rate": "0.001",
            "optimizer": "adam",
            "precision": "float32",
            "validation_split": "0.1",
            "shift": "0",
            "canvas": "28",
        }


def test_mlflow_gets_the_figures_of_the_tables(runs: list[Run], trials: pd.DataFrame) -> None:
    for index, run in enumerate(runs):
        for name in ("test_accuracy", "test_loss", "validation_accuracy", "train_seconds"):
            assert run.data.metrics[name] == pytest.approx(trials[name][index], rel=1e-12)
        assert run.data.metrics["parameters"] == 28 * 28 * 8 + 8 + 8 * 10 + 10


def test_every_tracker_gets_the_figures_of_every_epoch(
    place: Place, runs: list[Run], events: list[EventAccumulator]
) -> None:
    epochs = mnist_ray.load_epochs(place.folder / "results/tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = mlflow.MlflowClient(tracking_uri=store(place.folder))
        for index, run in enumerate(runs):
            expected = epochs[epochs["trial"] == index]["validation_loss"].tolist()
            history = client.get_metric_history(run.info.run_id, "validation_loss")
            assert [(each.step, each.value) for each in history] == list(enumerate(expected, 1))
            scalars = events[index].Scalars("ray/tune/validation_loss")
            assert [each.step for each in scalars] == [1, 2]
            assert [each.value for each in scalars] == pytest.approx(expected, rel=1e-6)


def test_tensorboard_gets_scalars_and_hyperparameters_and_no_arrays(
    events: list[EventAccumulator], trials: pd.DataFrame
) -> None:
    for index, each in enumerate(events):
        (accuracy,) = each.Scalars("ray/tune/test_accuracy")
        assert accuracy.value == pytest.approx(trials["test_accuracy"][index], rel=1e-6)
        assert each.Tags()["images"] == each.Tags()["histograms"] == []
        assert hyperparameters(each)["architecture"] == "feed_forward"
        assert hyperparameters(each)["trial"] == index
        assert "job" not in hyperparameters(each)


def hyperparameters(events: EventAccumulator) -> dict[str, Any]:
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def test_trials_that_are_recorded_already_are_not_handed_over_again(place: Place) -> None:
    trackers = ("--log", "tensorboard", "--log", "mlflow")
    ended = place.run("tracked.yaml", *trackers)  # to MLflow's default, were there anything to log
    assert ended.code == 0
    assert "2 already recorded, 0 to run" in ended.output
    assert not (place.folder / "mlruns").exists()
    assert not (place.folder / "mlflow.db").exists()


# What a tracker is handed


class Handed:
    """A store of MLflow's, as records are handed to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder_at(folder / "results")
        self.client = mlflow.MlflowClient(tracking_uri=store(folder))

    def runs(self, *records: Record, space: Space | None = None) -> list[Run]:
        """What MLflow shows of them."""
        space = space or made_up_sweep().space
        [tracker] = open_trackers(["mlflow"], folder=self.folder, space=space)
        for record in records:
            tracker.log(record)
        tracker.close()
        experiment = self.client.get_experiment_by_name(space.name)
        assert experiment
        found: list[Run] = self.client.search_runs([experiment.experiment_id])
        return found

    def history(self, run: Run, metric: str) -> list[tuple[int, float]]:
        found = self.client.get_metric_history(run.info.run_id, metric)
        return [(each.step, each.value) for each in found]


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handed:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store(tmp_path))
    return Handed(tmp_path)


@pytest.fixture
def record() -> Record:
    """Of a finished trial of three epochs."""
    sweep = made_up_sweep({"training": {"epochs": 3}, "trials": 1})
    (trial, *_) = trials_of(sweep.space, sweep.space.cells((8, 8))[0], sweep.dataset_info, 1)
    return sweep.records[trial.key]


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    return folder_at(tmp_path / "results")


def test_a_failed_trial_is_reported_as_failed_though_its_process_ended_well(
    handed: Handed, record: Record
) -> None:
    [run] = handed.runs(as_failed(record))
    assert (run.info.run_name, run.info.status) == ("feed_forward-centered-trial-0", "FAILED")


def test_the_cells_of_a_grid_have_different_names(handed: Handed) -> None:
    grid = {"feed_forward": {"hidden_units": {"grid_search": [[8], [16, 8]]}}}
    rates = {"learning_rate": {"grid_search": [0.001, 0.00321]}}
    changes = {"architectures": grid, "variants": {"centered": {}}, "training": rates, "trials": 1}
    sweep = made_up_sweep(changes)
    runs = handed.runs(*sweep.records.values(), space=sweep.space)
    assert {run.info.run_name for run in runs} == {
        f"feed_forward-centered-hidden_units={units}-learning_rate={rate}-trial-0"
        for units in ("[8]", "[16, 8]")
        for rate in ("0.001", "0.00321")
    }


def test_every_epoch_is_reported_once_and_the_test_figures_with_the_last(
    handed: Handed, record: Record
) -> None:
    [run] = handed.runs(record)
    assert (run.info.run_name, run.info.status) == ("feed_forward-centered-trial-0", "FINISHED")
    losses = [epoch.train_loss for epoch in record.epochs]
    assert handed.history(run, "train_loss") == list(enumerate(losses, start=1))
    assert record.test
    assert handed.history(run, "test_accuracy") == [(3, record.test.accuracy)]


def test_a_trial_that_was_cut_short_is_reported_up_to_its_last_epoch(
    handed: Handed, record: Record
) -> None:
    early = replace(record, status=Status.CUT_SHORT, test=None, epochs=record.epochs[:2])
    [run] = handed.runs(early)
    assert [step for step, _ in handed.history(run, "train_loss")] == [1, 2]
    assert run.info.status == "FINISHED"


def test_a_trial_whose_process_was_lost_for_good_is_reported_too(
    handed: Handed, record: Record
) -> None:
    """Its worker died before it could say anything: there is neither an epoch nor a place."""
    [run] = handed.runs(replace(as_failed(record), setting=None, costs=Costs()))
    assert run.info.status == "FAILED"
    assert run.data.metrics == {}


def test_a_tracker_that_breaks_is_reported_once_and_stops_nothing(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(trial: str, record: Record) -> None:
        raise ConnectionError("no route to the server")

    tracker = Tracker("mlflow", break_down, made_up_sweep().space)
    for _ in range(2):
        tracker.log(record)
    tracker.close()
    (message,) = caplog.messages
    assert "--log mlflow" in message
    assert "no route to the server" in message


# What is refused


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_reported_with_the_command_before_anything_starts(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX" if name == "tensorboard" else name, None)
    write_space(tmp_path / "tracked.yaml", SPACE)
    arguments = [str(tmp_path / "tracked.yaml"), "--results", str(tmp_path / "results")]
    assert main([*arguments, "--log", name]) == 2
    assert f"pip install 'mnist-ray[{name}]'" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    assert not ray.is_initialized()


def test_an_unknown_tracker_is_refused_with_those_that_there_are(folder: ResultsFolder) -> None:
    with pytest.raises(InputError, match=r"neptune.*tensorboard, mlflow, wandb"):
        open_trackers(["neptune"], folder=folder, space=made_up_sweep().space)


def test_tensorboard_is_refused_where_results_go_to_object_storage(
    object_storage: ObjectStorage,
) -> None:
    folder = ResultsFolder.open(object_storage.uri("made-up"))
    with pytest.raises(InputError, match=r"--log tensorboard: .*--results"):
        open_trackers(["tensorboard"], folder=folder, space=made_up_sweep().space)


def test_an_mlflow_that_cannot_be_used_is_refused_with_the_remedy(
    folder: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://server")
    with pytest.raises(InputError, match=r"--log mlflow: .*nonsense.*MLFLOW_TRACKING_URI"):
        open_trackers(["mlflow"], folder=folder, space=made_up_sweep().space)


def test_a_tracker_named_twice_or_alone_counts_once(folder: ResultsFolder) -> None:
    for names in (["tensorboard", "tensorboard"], "tensorboard"):
        found = open_trackers(names, folder=folder, space=made_up_sweep().space)
        assert len(found) == 1
