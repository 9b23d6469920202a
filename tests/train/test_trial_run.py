import gc
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from small_trials import (
    CONVOLUTIONAL,
    DENSE,
    IMAGES,
    WITH_DROPOUT,
    cell_results,
    checkpoint_of,
    keras_model,
    made_up_images,
    placed,
    placed_training_images,
    run,
    scaled,
    trial_of,
    weights,
)

from mnist_ray.data.dataset import Dataset
from mnist_ray.errors import InputError
from mnist_ray.plan.seeds import evaluation_generator
from mnist_ray.plan.trial import Trial
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrainingDivergedError, TrialRun

pytestmark = pytest.mark.usefixtures("tensorflow")

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
        evaluated = trained.evaluate(shift)
        assert evaluated.accuracy == counted(test, IMAGES.test_labels)
        assert evaluated.shift == shift
        assert evaluated.size == 37
        assert evaluated.predictions.tolist() == model(scaled(test)).numpy().argmax(axis=1).tolist()
        expected = keras.losses.sparse_categorical_crossentropy(
            IMAGES.test_labels, model(scaled(test))
        )
        assert evaluated.loss == pytest.approx(float(np.mean(expected)), rel=1e-5)


def test_evaluation_leaves_the_model_as_it_was() -> None:
    trained = run(trial_of(WITH_DROPOUT))
    before = cell_results(trained)
    trained.evaluate(0)
    assert cell_results(trained) == before


def test_costs_are_reported() -> None:
    trained = run(trial_of())
    trained.evaluate(0)
    costs = asdict(trained.costs)
    seconds = [value for name, value in costs.items() if name.endswith("_seconds")]
    assert len(seconds) == 3
    assert all(value > 0 for value in seconds)
    assert costs["peak_memory_bytes"] > 50e6


def test_a_model_file_has_a_summary_and_no_optimizer() -> None:
    trained = run(trial_of())
    _, summary = trained.model_files()
    assert "hidden_1" in summary
    assert f"{trained.parameters:,}" in summary
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
    precision: str,
) -> None:
    trial = trial_of(WITH_DROPOUT, epochs=3, precision=precision)
    begun = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    begun.train_epoch()
    elsewhere = TrialRun(trial, IMAGES, compiled_models=CompiledModelCache())
    elsewhere.restore(checkpoint_of(begun))
    assert elsewhere.epochs == begun.epochs
    while not elsewhere.is_trained:
        elsewhere.train_epoch()
    assert cell_results(elsewhere) == cell_results(run(trial))
    assert elsewhere.costs.train_seconds is not None
    assert begun.costs.train_seconds is not None
    assert elsewhere.costs.train_seconds > begun.costs.train_seconds


def test_a_checkpoint_of_another_trial_is_not_taken() -> None:
    one = TrialRun(trial_of(), IMAGES, compiled_models=CompiledModelCache())
    other = TrialRun(trial_of(index=1), IMAGES, compiled_models=CompiledModelCache())
    with pytest.raises(ValueError, match=trial_of().key):
        other.restore(checkpoint_of(one))


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


def test_more_classes_than_a_byte_holds_are_distinguished() -> None:
    dataset = made_up_images(train=900, test=300, classes=300)
    trial = trial_of({"build": "feed_forward", "hidden_units": [64]}, dataset=dataset, epochs=8)
    assert learns(trial, dataset).evaluate(0).predictions.max() > 255


def test_without_validation_images_there_are_no_validation_figures() -> None:
    (epoch,) = run(trial_of(validation_split=0.0)).epochs
    assert epoch.validation_loss is None
    assert epoch.validation_accuracy is None


# What cannot go well


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
