"""The real thing: the whole command, with Ray and Keras, on real handwriting."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running import Ended, Place, opened, records, write_space
from small_sweep import SPACE, TEST_IMAGES, write_small_sweep

import mnist_ray
from mnist_ray.data.dataset import load_dataset
from mnist_ray.data.placement import draw_offsets
from mnist_ray.data.placement import place as place_images
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.seeds import evaluation_generator
from mnist_ray.space.space import load_space

CELLS = {(a, v) for a in ("feed_forward", "cnn", "mine") for v in ("centered", "shifted")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder with a search space of six small cells, its images and its own architecture."""
    folder = tmp_path_factory.mktemp("work")
    write_small_sweep(folder)
    with opened(folder) as place:
        yield place


@pytest.fixture(scope="module")
def ended(place: Place) -> Ended:
    """The sweep, run once; its results lie in results/small."""
    return place.run("small.yaml")


@pytest.fixture(scope="module")
def results(place: Place, ended: Ended) -> Path:
    """The folder of the sweep that ran."""
    assert ended.code == 0, ended
    return place.folder / "results" / "small"


# --- What one sweep leaves behind ------------------------------------------------------------


def test_it_ends_well_and_quietly(ended: Ended) -> None:
    assert ended.code == 0
    assert ended.errors == ""
    first, *lines = ended.output.splitlines()
    assert first == (
        "small: 6 cells on small (1,000 training images): 12 trials wanted, 0 already recorded, "
        "12 to run"
    )
    progress = [line for line in lines if line.startswith("[")]
    assert [line.split("]")[0] for line in progress] == [f"[{n}/12" for n in range(1, 13)]
    assert len(set(ended.recorded)) == 12


def test_it_ends_with_means_and_findings_and_says_where_the_report_is(ended: Ended) -> None:
    table, _, rest = ended.output.partition("└")
    assert len(re.findall(r"0\.\d{4} ± 0\.\d{4} \(2\)", table)) == len(CELLS)
    for architecture in ("feed_forward", "cnn", "mine"):
        # With two trials the interval of a drop may hold 0, or there may be none.
        assert re.search(
            f"{architecture}: (mean test accuracy (dropped|rose) from|no difference shown between"
            "|mean test accuracies of)",
            rest,
        )
    assert rest.splitlines()[-1] == "The report: results/small/report.html"


def test_no_process_outlives_it(place: Place, ended: Ended) -> None:
    assert place.orphans() == []


def test_it_leaves_the_files_of_the_contract(results: Path) -> None:
    names = {path.name for path in results.iterdir()}
    tables = {"report", "trials", "epochs", "comparisons"}
    assert {f"{table}.parquet" for table in tables} <= names
    assert {"space.yaml", "ledger", "models", "report.html"} <= names
    assert len(records(results)) == 12
    models = sorted(path.name for path in (results / "models").iterdir())
    assert len(models) == 2 * len(CELLS)
    assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]


def test_the_report_has_the_columns_of_the_contract(results: Path) -> None:
    report = mnist_ray.load_report(results)
    hyperparameters = {"hidden_units", "filters", "width", "learning_rate", "epochs", "shift"}
    figures = [
        *["trials", "failed", "mean_test_accuracy", "std_test_accuracy", "sem_test_accuracy"],
        *["ci95_low", "ci95_high", "min_test_accuracy", "max_test_accuracy"],
        *["mean_validation_accuracy", "mean_test_loss", "mean_train_seconds", "parameters"],
    ]
    columns = list(report.columns)
    assert columns[:3] == ["dataset", "architecture", "variant"]
    start = columns.index("trials")
    assert hyperparameters <= set(columns[3:start])
    assert columns[start : start + len(figures)] == figures
    assert set(zip(report["architecture"], report["variant"], strict=True)) == CELLS
    assert set(report["dataset"]) == {"small"}
    assert set(report["trials"]) == {2}
    assert set(report["failed"]) == {0}


def test_the_means_are_those_of_the_trials(results: Path) -> None:
    report, trials = mnist_ray.load_report(results), mnist_ray.load_trials(results)
    for cell in report.itertuples():
        own = trials[(trials.architecture == cell.architecture) & (trials.variant == cell.variant)]
        accuracies = own.test_accuracy.to_numpy(float)
        assert cell.mean_test_accuracy == pytest.approx(np.mean(accuracies), abs=1e-15)
        assert cell.std_test_accuracy == pytest.approx(np.std(accuracies, ddof=1), abs=1e-15)


def test_every_trial_is_a_row_and_learnt_something(results: Path) -> None:
    trials = mnist_ray.load_trials(results)
    assert len(trials) == 12
    assert set(trials.status) == {"finished"}
    assert set(trials.trial) == {0, 1}
    assert trials.error.isna().all()
    correct = trials.test_accuracy * TEST_IMAGES
    assert np.allclose(correct, correct.round(), atol=1e-9)
    centered = trials[trials.variant == "centered"]
    # Of a cell, not of a trial: how far one comes with so few images depends on the processor.
    assert centered.groupby("architecture").test_accuracy.mean().min() > 0.4  # by chance: 0.1
    assert trials.started_at.dt.tz is not None
    assert (trials.peak_memory_bytes < 1.5e9).all()


def test_equal_trials_share_their_seed_across_cells(results: Path) -> None:
    trials = mnist_ray.load_trials(results)
    seeds = trials.groupby("trial").seed.unique()
    assert [len(found) for found in seeds] == [1, 1]
    assert seeds[0][0] != seeds[1][0]


def test_the_space_that_is_kept_says_what_ran(results: Path) -> None:
    kept = load_space(str(results / "space.yaml"))
    assert (kept.name, kept.trials) == ("small", 2)
    assert list(kept.architectures) == ["feed_forward", "cnn", "mine"]


@pytest.mark.usefixtures("tensorflow")
def test_saved_models_predict_what_is_recorded(results: Path) -> None:
    import keras

    dataset = load_dataset(str(results.parent.parent / "small.npz"))
    folder = ResultsFolder.open(results)
    kept = [record for record in Ledger(folder).read().values() if record.trial == 0]
    assert len(kept) == len(CELLS)
    for record in kept:
        shift, canvas = record.identity["shift"], record.identity["canvas"]
        offsets = draw_offsets(
            dataset.image_shape,
            len(dataset.test_images),
            shift=shift,
            canvas=canvas,
            generator=evaluation_generator(0),
        )
        images = place_images(dataset.test_images, offsets, canvas=canvas)
        label = f"{record.architecture}-{record.variant}"
        model = keras.saving.load_model(results / folder.model(label, record.cell_key))
        predicted = model.predict(images[..., None] / np.float32(255), verbose=0).argmax(axis=1)
        assert np.array_equal(predicted, record.test.predictions)


# --- The same again, and more ----------------------------------------------------------------


def test_the_same_command_again_starts_nothing(place: Place, results: Path) -> None:
    before, sessions = records(results), place.ray_sessions
    ended = place.run("small.yaml")
    assert ended.code == 0, ended
    assert "12 trials wanted, 12 already recorded, 0 to run" in ended.output
    assert ended.recorded == []
    assert place.ray_sessions == sessions
    assert records(results) == before


def test_from_python_it_gives_the_report(place: Place, results: Path) -> None:
    result = mnist_ray.run_sweep(
        place.folder / "small.yaml", results=str(results.parent), quiet=True
    )
    assert result.exit_code == 0
    assert result.folder == str(results)
    assert result.report is not None
    assert result.report.equals(mnist_ray.load_report(results))


# --- Trials that fail ------------------------------------------------------------------------

FAILING = """
import pathlib
import keras

FLAG = pathlib.Path(__file__).with_name("raise")

class Fragile(keras.layers.Layer):
    def call(self, inputs, training=False):
        if training and FLAG.exists():
            raise RuntimeError("no [luck] today")
        return inputs

class Diverging(keras.layers.Layer):
    def call(self, inputs, training=False):
        return inputs * float("nan") if training else inputs

def fragile(input_shape, classes):
    return network(input_shape, classes, Fragile())

def diverging(input_shape, classes):
    return network(input_shape, classes, Diverging())

def network(input_shape, classes, layer):
    head = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential([keras.Input(input_shape), layer, *head])
"""


@pytest.fixture(scope="module")
def failing(place: Place) -> Place:
    """A space in whose cells one architecture fails while there is a file, one always."""
    architectures = {
        "feed_forward": {"hidden_units": [8]},
        "fragile": {"build": "failing:fragile"},
        "diverging": {"build": "failing:diverging"},
    }
    space = {**SPACE, "name": "failing", "architectures": architectures, "trials": 1}
    write_space(place.folder / "failing.yaml", {**space, "variants": {"centered": {}}})
    (place.folder / "failing.py").write_text(FAILING)
    (place.folder / "raise").touch()
    return place


def test_failed_trials_stop_no_other_and_run_again_the_next_time(failing: Place) -> None:
    ended = failing.run("failing.yaml")
    folder = failing.folder / "results" / "failing"
    assert ended.code == 1, ended
    assert ended.errors == ""
    assert "fragile centered trial 0: failed: RuntimeError: " in ended.output
    assert "no [luck] today" in ended.output
    assert "diverging centered trial 0: failed: TrainingDivergedError: " in ended.output
    report = mnist_ray.load_report(folder).set_index("architecture")
    assert dict(report.failed) == {"feed_forward": 0, "fragile": 1, "diverging": 1}
    assert dict(report.trials) == {"feed_forward": 1, "fragile": 0, "diverging": 0}
    assert report.mean_test_accuracy.isna().to_list() == [False, True, True]

    command = re.search(r"mnist-ray (report .*)", ended.output)
    assert command, ended.output
    shown = failing.run(*command[1].split(), module="mnist_ray")
    assert shown.code == 0, shown
    assert "Traceback (most recent call last)" in shown.output
    assert "Error: " in shown.output

    kept = Ledger(ResultsFolder.open(folder)).read()
    are_finished = {key for key, record in kept.items() if record.status is Status.FINISHED}
    finished = {key: text for key, text in records(folder).items() if key in are_finished}
    assert len(finished) == 1
    (failing.folder / "raise").unlink()
    again = failing.run("failing.yaml")
    assert again.code == 1, again
    assert "3 trials wanted, 1 already recorded, 2 to run" in again.output
    assert sorted(again.recorded) == ["diverging centered trial 0", "fragile centered trial 0"]
    assert finished.items() <= records(folder).items()
    report = mnist_ray.load_report(folder).set_index("architecture")
    assert dict(report.failed) == {"feed_forward": 0, "fragile": 0, "diverging": 1}
    assert dict(report.trials) == {"feed_forward": 1, "fragile": 1, "diverging": 0}
