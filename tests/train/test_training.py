import gc
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pytest
from made_up import made_up_space
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset, draw_offsets, place
from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Epoch
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import trials_of
from mnist_ray.plan.seeds import evaluation_generator, trial_seeds
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell
from mnist_ray.train import models
from mnist_ray.train.training import CompiledModelCache, TrainingDivergedError, TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

TRAINING = {"batch_size": 16, "validation_split": 0.15, "learning_rate": 0.01}
DENSE = {"build": "feed_forward", "hidden_units": [12, 8]}
CONVOLUTIONAL = {
    "build": "cnn",
    "filters": [3, 4],
    "kernel_size": 2,
    "dense_units": 8,
    "dropout": 0.0,
}
WITH_DROPOUT = {**CONVOLUTIONAL, "dropout": 0.4}


def made_up_images(
    *, train: int = 110, test: int = 37, size: tuple[int, int] = (6, 6), classes: int = 3
) -> Dataset:
    """Noise in which each class has pixels of its own that are brighter."""
    rng = np.random.default_rng(0)
    patterns = rng.random((classes, *size)) < 0.3

    def part(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        labels = rng.permutation(count).astype(np.int32) % classes
        noise = rng.integers(0, 120, (count, *size))
        return (noise + 100 * patterns[labels]).astype(np.uint8), labels

    return Dataset("made-up", *part(train), *part(test))


IMAGES = made_up_images()


def trial_of(
    architecture: dict[str, Any] = DENSE,
    *,
    index: int = 0,
    dataset: Dataset = IMAGES,
    variant: dict[str, int] | None = None,
    **training: Any,
) -> Trial:
    space = made_up_space(
        {
            "architectures": {"it": architecture},
            "variants": {"it": variant or {}},
            "training": {**TRAINING, **training},
        }
    )
    (cell,) = space.cells(dataset.image_size)
    return trials_of(space, cell, DatasetInfo.of(dataset, sources={}), index + 1)[index]


def run(
    trial: Trial,
    compiled_models: CompiledModelCache | None = None,
    *,
    dataset: Dataset = IMAGES,
    folder: Path | None = None,
) -> TrialRun:
    """The trial, trained to its end."""
    under_way = TrialRun(
        trial, dataset, compiled_models=compiled_models or CompiledModelCache(), folder=folder
    )
    while not under_way.is_trained:
        under_way.train_epoch()
    return under_way


def keras_model(trained: TrialRun) -> keras.Model:
    """The trained model, as its file holds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(trained.model_files().archive)
        return keras.saving.load_model(path)


def weights(model: keras.Model) -> list[NDArray[Any]]:
    return [variable.numpy() for variable in model.weights]


def cell_results(trained: TrialRun) -> tuple[list[Epoch], dict[str, Any], list[bytes]]:
    """All that a trial gives, to the last bit: figures, weights, optimizer and random state."""
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder))
        with np.load(Path(folder) / "state.npz") as state:
            content = [state[name].tobytes() for name in state.files]
    return trained.epochs, asdict(trained.evaluate(trained.trial.cell.shift)), content


# Against plain Keras


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images[..., np.newaxis].astype(np.float32) / 255


def placed_training_images(trial: Trial, dataset: Dataset) -> NDArray[np.uint8]:
    generator = np.random.default_rng(trial_seeds(trial.seed, trial.index).placement)
    return placed(trial.cell, dataset.train_images, trial.cell.shift, generator)


def placed(
    cell: Cell, images: NDArray[np.uint8], shift: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    size = (images.shape[1], images.shape[2])
    offsets = draw_offsets(size, len(images), shift=shift, canvas=cell.canvas, generator=generator)
    return place(images, offsets, canvas=cell.canvas)


def plain_keras(
    trial: Trial, dataset: Dataset, folder: Path | None = None
) -> tuple[keras.Model, list[Epoch]]:
    """The same trial by `compile` and `fit`, batch by batch the same."""
    cell, training = trial.cell, trial.cell.training
    seeds = trial_seeds(trial.seed, trial.index)
    keras.utils.set_random_seed(seeds.weights)
    model = models.build(
        cell.builder,
        cell.hyperparameters,
        input_shape=(cell.canvas, cell.canvas, 1),
        classes=dataset.classes,
        folder=folder,
    )
    optimizer = keras.optimizers.get(training.optimizer)
    optimizer.learning_rate = training.learning_rate
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images = scaled(placed_training_images(trial, dataset))
    labels = dataset.train_labels
    split = int(len(labels) * (1 - training.validation_split))
    validation = (images[split:], labels[split:]) if split < len(labels) else None
    epochs = []
    for stream in seeds.shuffle.spawn(training.epochs):
        order = np.random.default_rng(stream).permutation(split)
        history = model.fit(
            images[order],
            labels[order],
            batch_size=training.batch_size,
            validation_data=validation,
            shuffle=False,
            verbose=0,
        ).history
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        epoch = Epoch(*(history[name][0] if name in history else None for name in names))
        if epoch.validation_loss is not None:  # Keras adds what regularization costs.
            epoch = replace(epoch, validation_loss=epoch.validation_loss - float(sum(model.losses)))
        epochs.append(epoch)
    return model, epochs


def assert_as_plain_keras(trained: TrialRun, dataset: Dataset, folder: Path | None = None) -> None:
    model, epochs = plain_keras(trained.trial, dataset, folder)
    for mine, theirs in zip(weights(keras_model(trained)), weights(model), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5)
    figures = [[v for v in asdict(e).values() if v is not None] for e in trained.epochs]
    expected = [[v for v in asdict(e).values() if v is not None] for e in epochs]
    np.testing.assert_allclose(figures, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "variant", "training"),
    [
        (DENSE, {}, {}),
        (CONVOLUTIONAL, {"shift": 3}, {"epochs": 2}),
        (DENSE, {}, {"validation_split": 0.0, "batch_size": 200}),
    ],
    ids=["dense", "convolutional, shifted, two epochs", "one batch larger than the training set"],
)
def test_weights_and_figures_are_those_of_plain_keras(
    architecture: dict[str, Any], variant: dict[str, int], training: dict[str, Any]
) -> None:
    trained = run(trial_of(architecture, variant=variant, **training))
    assert len(trained.epochs) == training.get("epochs", 1)
    assert_as_plain_keras(trained, IMAGES)


def test_another_optimizer_trains_as_in_plain_keras() -> None:
    assert_as_plain_keras(run(trial_of(optimizer="rmsprop")), IMAGES)


OWN = """
import keras
from keras import layers

def build(shape, classes, *, width):
    return keras.Sequential([
        keras.Input(shape), layers.Flatten(),
        layers.Dense(width, use_bias=False, kernel_regularizer="l2", kernel_constraint="max_norm"),
        layers.BatchNormalization(), layers.ReLU(), layers.Dense(classes, activation="softmax"),
    ])
"""


def test_a_users_own_model_with_all_that_keras_offers_trains_as_in_plain_keras(
    tmp_path: Path,
) -> None:
    (tmp_path / "own_training.py").write_text(OWN)
    trial = trial_of({"build": "own_training:build", "width": 7}, epochs=2)
    compiled_models = CompiledModelCache()
    first, again = (run(trial, compiled_models, folder=tmp_path) for _ in range(2))
    assert first.parameters == 36 * 7 + 4 * 7 + 8 * 3
    assert cell_results(again) == cell_results(run(trial, folder=tmp_path))
    assert_as_plain_keras(again, IMAGES, tmp_path)


# Figures


def test_accuracies_are_correct_images_over_all_of_the_last_part_and_the_test_set() -> None:
    trial = trial_of(variant={"shift": 2})
    trained = run(trial)
    model = keras_model(trained)

    def counted(images: NDArray[np.uint8], labels: NDArray[Any]) -> float:
        return int(np.sum(model(scaled(images)).numpy().argmax(axis=1) == labels)) / len(labels)

    split = int(110 * 0.85)
    validation = placed_training_images(trial, IMAGES)[split:]
    (epoch,) = trained.epochs
    assert epoch.validation_accuracy == counted(validation, IMAGES.train_labels[split:])
    for shift in (2, 0, 1):
        generator = evaluation_generator(trial.seed)
        test = placed(trial.cell, IMAGES.test_images, shift, generator)
        graded = trained.evaluate(shift)
        assert graded.accuracy == counted(test, IMAGES.test_labels)
        assert graded.shift == shift
        assert graded.size == 37
        assert graded.predictions.tolist() == model(scaled(test)).numpy().argmax(axis=1).tolist()
        expected = keras.losses.sparse_categorical_crossentropy(
            IMAGES.test_labels, model(scaled(test))
        )
        assert graded.loss == pytest.approx(float(np.mean(expected)), rel=1e-5)


def test_grading_leaves_the_model_as_it_was() -> None:
    trained = run(trial_of(WITH_DROPOUT))
    before = cell_results(trained)
    trained.evaluate(0)
    assert cell_results(trained) == before


def test_costs_are_told() -> None:
    trained = run(trial_of())
    trained.evaluate(0)
    costs = asdict(trained.costs)
    seconds = [value for name, value in costs.items() if name.endswith("_seconds")]
    assert len(seconds) == 3
    assert all(value > 0 for value in seconds)
    assert costs["peak_memory_bytes"] > 50e6


def test_a_model_file_has_a_summary_and_no_optimizer() -> None:
    trained = run(trial_of())
    files = trained.model_files()
    assert "hidden_1" in files.summary
    assert f"{trained.parameters:,}" in files.summary
    assert not hasattr(keras_model(trained), "optimizer")


# Sameness


@pytest.mark.parametrize(
    ("architecture", "optimizer"), [(DENSE, "adagrad"), (WITH_DROPOUT, "adam")]
)
def test_a_trial_is_the_same_to_the_last_bit_whatever_ran_in_the_process_before(
    architecture: dict[str, Any], optimizer: str
) -> None:
    def trial(index: int) -> Trial:
        return trial_of(architecture, index=index, epochs=2, optimizer=optimizer)

    compiled_models = CompiledModelCache()
    run(trial(0), compiled_models)
    run(trial_of(CONVOLUTIONAL), compiled_models)
    later = cell_results(run(trial(1), compiled_models))
    alone = cell_results(run(trial(1)))
    assert later == alone
    assert cell_results(run(trial(0), compiled_models)) != alone


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_trial_that_goes_on_elsewhere_has_the_figures_of_an_undisturbed_one(
    precision: str, tmp_path: Path
) -> None:
    trial = trial_of(WITH_DROPOUT, epochs=3, precision=precision)
    begun = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    begun.train_epoch()
    begun.save(tmp_path)
    elsewhere = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    elsewhere.restore(tmp_path)
    assert elsewhere.epochs == begun.epochs
    while not elsewhere.is_trained:
        elsewhere.train_epoch()
    assert cell_results(elsewhere) == cell_results(run(trial))
    assert elsewhere.costs.train_seconds is not None
    assert begun.costs.train_seconds is not None
    assert elsewhere.costs.train_seconds > begun.costs.train_seconds


def test_a_checkpoint_of_another_trial_is_not_taken(tmp_path: Path) -> None:
    TrialRun(trial_of(), IMAGES, compiled_models=CompiledModelCache()).save(tmp_path)
    other = TrialRun(trial_of(index=1), IMAGES, compiled_models=CompiledModelCache())
    with pytest.raises(ValueError, match=trial_of().key):
        other.restore(tmp_path)


# Whatever data and hyperparameters there may be


def learns(trial: Trial, dataset: Dataset = IMAGES) -> TrialRun:
    trained = run(trial, dataset=dataset)
    assert trained.epochs[-1].train_loss < trained.epochs[0].train_loss
    assert trained.evaluate(trial.cell.shift).accuracy > 2 / dataset.classes
    return trained


@pytest.mark.parametrize(
    ("architecture", "size"), [(DENSE, (5, 8)), (CONVOLUTIONAL, (9, 4))], ids=["wide", "high"]
)
def test_images_need_not_be_square(architecture: dict[str, Any], size: tuple[int, int]) -> None:
    dataset = made_up_images(size=size)
    learns(trial_of(architecture, dataset=dataset, variant={"shift": 1}, epochs=12), dataset)


@pytest.mark.parametrize(
    ("architecture", "precision"),
    [(DENSE, "mixed_bfloat16"), (CONVOLUTIONAL, "mixed_float16")],
)
def test_mixed_precision_learns_and_keeps_its_weights_in_32_bits(
    architecture: dict[str, Any], precision: str
) -> None:
    trained = learns(trial_of(architecture, precision=precision, epochs=15))
    assert {weight.dtype for weight in weights(keras_model(trained))} == {np.dtype("float32")}


def test_more_classes_than_a_byte_holds_are_told_apart() -> None:
    dataset = made_up_images(train=900, test=300, classes=300)
    trial = trial_of({"build": "feed_forward", "hidden_units": [64]}, dataset=dataset, epochs=8)
    assert learns(trial, dataset).evaluate(0).predictions.max() > 255


def test_without_validation_images_there_are_no_validation_figures() -> None:
    (epoch,) = run(trial_of(validation_split=0.0)).epochs
    assert epoch.validation_loss is None
    assert epoch.validation_accuracy is None


# What can't go well


def test_a_loss_that_is_no_number_ends_the_trial() -> None:
    with pytest.raises(TrainingDivergedError, match=r"training loss is nan in epoch 1.*smaller"):
        run(trial_of(optimizer="sgd", learning_rate=1e38))


def test_a_model_that_only_its_last_step_ruined_has_no_accuracy_either() -> None:
    ruined = run(
        trial_of(optimizer="sgd", learning_rate=1e38, validation_split=0.0, batch_size=200)
    )
    with pytest.raises(TrainingDivergedError, match=r"test loss is nan"):
        ruined.evaluate(0)


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    dataset = made_up_images(train=5)
    with pytest.raises(InputError, match=r"validation_split 0.9 .* 5 training images"):
        run(trial_of(dataset=dataset, validation_split=0.9), dataset=dataset)


# Memory


def test_many_trials_in_one_process_leave_next_to_nothing_behind() -> None:
    # As in a worker, where what was imported before is not looked through after every trial.
    gc.collect()
    gc.freeze()
    compiled_models, process, used = CompiledModelCache(), psutil.Process(), []
    for index in range(30):
        trained = run(trial_of(DENSE if index % 3 else WITH_DROPOUT, index=index), compiled_models)
        trained.evaluate(0)
        trained.model_files()
        used.append(process.memory_info().rss)
    assert used[-1] - used[9] < 30e6
