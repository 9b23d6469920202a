"""Tests of `mnist_ray.sanity_check`: saved models that read test digits, and the command."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import ACCURACIES, folder_at, made_up_space, made_up_sweep
from object_storage import ObjectStorage

from mnist_ray.data.dataset import Dataset, load_dataset
from mnist_ray.errors import InputError
from mnist_ray.ledger.ledger import Ledger, SweepManifest
from mnist_ray.ledger.record import Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import TestSet, write_test_set
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.sanity_check import check_models, main
from mnist_ray.space.custom_code import Code, modules_of, source_digests
from mnist_ray.space.space import Space
from mnist_ray.view.cell_views import label

ARCHITECTURES = {
    "feed_forward": {"hidden_units": [16]},
    "cnn": {"filters": [4], "dense_units": 8, "pool_stride": 2},
}
TEST_DIGITS = 60


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tensorflow: None) -> Path:
    """A sweep's folder: one short trial of each of the four usual cells on few digits."""
    path = tmp_path_factory.mktemp("results") / "made-up"
    train_sweep(path, made_up_space({"architectures": ARCHITECTURES, "trials": 1}), code={})
    return path


def train_sweep(path: Path, space: Space, *, code: Code) -> None:
    folder, dataset = folder_at(path), few_digits()
    dataset_info = DatasetInfo.of(dataset, sources=source_digests(code))
    folder.write(folder.space, space.to_yaml().encode())
    ledger = Ledger(folder)
    ledger.write_manifest(SweepManifest(dataset_info.fingerprint, source_digests(code)))
    test_labels = dataset.test_labels.astype(np.int32)
    write_test_set(
        folder,
        TestSet(
            "digits", dataset_info.fingerprint, dataset.classes, dataset.test_images, test_labels
        ),
    )
    for trial in trials_of_all_cells(space, dataset_info):
        train(trial, dataset, folder, code=code)


def few_digits() -> Dataset:
    whole = load_dataset("digits")
    return Dataset(
        name="digits",
        train_images=whole.train_images[:400],
        train_labels=whole.train_labels[:400],
        test_images=whole.test_images[:TEST_DIGITS],
        test_labels=whole.test_labels[:TEST_DIGITS],
    )


def trials_of_all_cells(space: Space, dataset_info: DatasetInfo) -> list[Trial]:
    cells = space.cells(dataset_info.image_shape)
    return [trial for cell in cells for trial in trials_of(space, cell, dataset_info, 1)]


def train(trial: Trial, dataset: Dataset, folder: ResultsFolder, *, code: Code) -> None:
    """As a worker does, and the runner with what it gives."""
    from mnist_ray.train.compiled_model import CompiledModelCache
    from mnist_ray.train.trial_run import TrialRun

    run = TrialRun(trial, dataset, compiled_models=CompiledModelCache(), code=code)
    while not run.is_trained:
        run.train_epoch()
    record = trial.record(
        "digits", Status.FINISHED, epochs=run.epochs, test=run.evaluate(trial.cell.shift)
    )
    Ledger(folder).write([record])
    name = folder.model(f"{record.architecture}-{record.variant}", record.cell_key)
    folder.write(name, run.model_files()[0])


def test_saved_models_say_of_every_digit_what_their_trial_recorded(trained: Path) -> None:
    check = check_models(folder_at(trained), images=TEST_DIGITS, seed=0)
    records = {(r.architecture, r.variant): r for r in Ledger(folder_at(trained)).read().values()}
    assert len(check.guesses) == len(records) == 4
    for guess in check.guesses:
        test = records[guess.results.cell.architecture, guess.results.cell.variant].test
        assert test is not None
        assert guess.predictions.tolist() == test.predictions[check.guesses[0].indices].tolist()
        # All digits were drawn, so that what is right of them is the recorded accuracy.
        assert TEST_DIGITS - guess.mistakes == round(test.accuracy * TEST_DIGITS)
        assert guess.probability_of_none == pytest.approx(test.accuracy**TEST_DIGITS)


def test_all_models_get_the_same_digits_and_none_twice(trained: Path) -> None:
    check = check_models(folder_at(trained), images=7, seed=1)
    assert len(set(check.guesses[0].indices.tolist())) == 7
    sides = {guess.results.cell.variant: guess.images.shape[1] for guess in check.guesses}
    assert sides == {"centered": 28, "shifted": 32}
    for guess in check.guesses:
        ink = guess.images.sum(axis=(1, 2), dtype=int)
        assert ink.tolist() == check.guesses[0].images.sum(axis=(1, 2), dtype=int).tolist()


def test_the_seed_alone_draws_the_digits(trained: Path) -> None:
    folder = folder_at(trained)
    drawn = [
        check_models(folder, images=5, seed=seed).guesses[0].indices.tolist() for seed in (3, 3, 4)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_command_shows_truth_predictions_mistakes_and_the_probability_of_none(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(trained), "--digits", "4", "--save", str(tmp_path / "picture.png")]) == 0
    shown = capsys.readouterr().out
    check = check_models(folder_at(trained), images=4, seed=0)
    rows = {cells[0]: cells[1:] for cells in map(cells_of, shown.splitlines()) if len(cells) == 4}
    assert rows["truth"][0].split() == [str(label) for label in check.guesses[0].truth]
    for guess in check.guesses:
        digits, mistakes, probability = rows[label(guess.parts)]
        assert [int(digit.strip("✗")) for digit in digits.split()] == guess.predictions.tolist()
        assert digits.count("✗") == int(mistakes) == guess.mistakes
        (test,) = [record.test for record in guess.results.finished]
        assert test is not None
        assert float(probability) == pytest.approx(test.accuracy**4, abs=0.0005)
    assert "mean test accuracy to the power of 4" in shown


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]


@pytest.mark.parametrize(("digits", "suffix"), [(1, ".png"), (11, ".svg")])
def test_the_picture_holds_for_any_number_of_digits(
    trained: Path, tmp_path: Path, digits: int, suffix: str
) -> None:
    path = tmp_path / f"picture{suffix}"
    assert main([str(trained), "--digits", str(digits), "--save", str(path)]) == 0
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_results_may_lie_on_object_storage(trained: Path, object_storage: ObjectStorage) -> None:
    here, there = folder_at(trained), ResultsFolder.open(object_storage.uri("made-up"))
    for file in (file for file in trained.rglob("*") if file.is_file()):
        there.write(file.relative_to(trained).as_posix(), file.read_bytes())
    checks = [check_models(folder, images=3, seed=0) for folder in (here, there)]
    for one, other in zip(*(check.guesses for check in checks), strict=True):
        assert one.predictions.tolist() == other.predictions.tolist()


def test_a_cell_without_a_model_is_reported_and_the_others_are_asked(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    next((copy / "models").glob("cnn-shifted-*")).unlink()
    assert main([str(copy)]) == 0
    shown = capsys.readouterr().out
    assert "No saved model: cnn · shifted" in shown
    assert "feed_forward · shifted" in shown


LAYERS = """
import keras
from sane_helper import FACTOR

@keras.saving.register_keras_serializable()
class Scaled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * FACTOR

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(), Scaled(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


def test_a_model_with_layers_of_ones_own_is_asked_where_their_module_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder, factor in ((here, 2.0), (elsewhere, 0.0)):
        folder.mkdir()
        (folder / "sane_layers.py").write_text(LAYERS)
        (folder / "sane_helper.py").write_text(f"FACTOR = {factor}\n")
    import keras

    monkeypatch.syspath_prepend(elsewhere)
    builder = "sane_layers:build"
    architectures = {"mine": {"build": builder}}
    space = made_up_space({"architectures": architectures, "trials": 1, "variants": {"it": {}}})
    train_sweep(tmp_path / "made-up", space, code={builder: modules_of(builder, here)})
    folder = folder_at(tmp_path / "made-up")
    keras.saving.get_custom_objects().clear()  # As in the process of the command.
    monkeypatch.chdir(here)
    (guess,) = check_models(folder, images=TEST_DIGITS, seed=0).guesses
    (record,) = Ledger(folder).read().values()
    assert record.test is not None
    assert guess.predictions.tolist() == record.test.predictions[guess.indices].tolist()
    keras.saving.get_custom_objects().clear()
    (here / "sane_layers.py").unlink()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(elsewhere)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run this in the folder where their module lies"):
        check_models(folder, images=TEST_DIGITS, seed=0)


# What is refused


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    made_up_sweep(accuracies=ACCURACIES).write(folder_at(tmp_path / "made-up"))
    with pytest.raises(InputError, match="no saved models"):
        check_models(folder_at(tmp_path / "made-up"), images=5, seed=0)


def test_more_digits_than_there_are_are_refused(trained: Path) -> None:
    with pytest.raises(InputError, match=f"--digits 61: .* {TEST_DIGITS} test digits"):
        check_models(folder_at(trained), images=TEST_DIGITS + 1, seed=0)


def test_a_folder_without_test_images_is_refused(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    next((copy / "ledger").glob("test-*.npz")).unlink()
    with pytest.raises(InputError, match="no test images"):
        check_models(folder_at(copy), images=5, seed=0)


def test_a_damaged_model_is_refused_by_its_name(trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    damaged = next((copy / "models").glob("cnn-centered-*.keras"))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(InputError, match=damaged.name):
        check_models(folder_at(copy), images=5, seed=0)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        pytest.param([], "no sweep's folder", id="no_results"),
        pytest.param(["--save", "picture.doc"], ".png", id="a_picture_of_an_unknown_kind"),
        pytest.param(["--save", "nowhere/picture.png"], "no folder nowhere", id="nowhere"),
    ],
)
def test_bad_input_is_reported_without_a_traceback_and_without_tensorflow(
    tmp_path: Path, arguments: list[str], part: str
) -> None:
    program = (
        "import sys; from mnist_ray.sanity_check import main; "
        f"code = main([{str(tmp_path)!r}, *{arguments!r}]); "
        "assert not {'tensorflow', 'keras'} & sys.modules.keys(); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mnist-ray sanity-check: ")
    assert part in done.stderr


@pytest.mark.parametrize("option", [["--digits", "0"], ["--digits", "some"], ["--seed", "-1"]])
def test_an_option_out_of_range_is_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["results", *option])
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_cells_of_equal_settings_and_renamed_ones_have_the_model_that_was_trained(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    folder = folder_at(tmp_path)
    small = {"build": "feed_forward", **ARCHITECTURES["feed_forward"]}
    space = made_up_space({"architectures": {"small": small, "tiny": small}, "trials": 1})
    folder.write(folder.space, space.to_yaml().encode())
    check = check_models(folder, images=5, seed=0)
    names = [
        (guess.results.cell.architecture, guess.results.cell.variant) for guess in check.guesses
    ]
    assert names == [(a, v) for a in ("small", "tiny") for v in ("centered", "shifted")]
    assert check.without_model == []
    assert check.guesses[0].predictions.tolist() == check.guesses[2].predictions.tolist()
