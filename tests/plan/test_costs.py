from dataclasses import replace
from typing import Any

import pytest
from made_up import made_up_space

from mnist_ray.plan.costs import gpu_memory_bytes, memory_bytes, model_cost, training_operations
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.space import Cell


def cell_of(
    architecture: str, canvas: int, /, *, channels: int = 1, **hyperparameters: Any
) -> Cell:
    space = made_up_space(
        {
            "architectures": {"it": {"build": architecture, **hyperparameters}},
            "variants": {"centered": {"canvas": canvas}},
        }
    )
    (cell,) = space.cells((4, 4) if channels == 1 else (4, 4, channels))
    return cell


def images(train: int, test: int) -> DatasetInfo:
    return DatasetInfo("", (9, 9), classes=10, train_images=train, test_images=test, sources={})


SOME_CELLS = [
    cell_of("feed_forward", 28),
    cell_of("feed_forward", 48),
    cell_of("feed_forward", 9, hidden_units=[]),
    cell_of("feed_forward", 9, hidden_units=[5], dropout=0.2),
    cell_of("cnn", 28),
    cell_of("cnn", 48, dropout=0.0),
    cell_of("cnn", 28, pool_stride=2),
    cell_of("cnn", 30, filters=[3, 4, 5], kernel_size=2, pool_size=3, pool_stride=2),
    cell_of("cnn", 9, filters=[2], kernel_size=5, pool_size=1, pool_stride=3, dense_units=7),
    cell_of("feed_forward", 9, channels=3),
    cell_of("cnn", 12, channels=3),
]


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("cell", SOME_CELLS)
@pytest.mark.parametrize("classes", [2, 10])
def test_parameters_are_counted_as_keras_counts_them(cell: Cell, classes: int) -> None:
    from mnist_ray.train import models

    model = models.build(cell, classes=classes)
    assert model_cost(cell, classes).parameters == model.count_params()


def test_operations_of_a_feed_forward_network_by_hand() -> None:
    # Two for each weight: 9*9 -> 5 -> 3.
    cell = cell_of("feed_forward", 9, hidden_units=[5])
    assert model_cost(cell, 3).operations == 2 * (81 * 5 + 5 * 3)


def test_operations_of_a_cnn_by_hand() -> None:
    # 8x8, convolution 3 -> 6x6 of 2 channels, pooling 2 with stride 2 -> 3x3, then 18 -> 4 -> 10.
    cell = cell_of("cnn", 8, filters=[2], kernel_size=3, pool_size=2, pool_stride=2, dense_units=4)
    assert model_cost(cell, 10).operations == 2 * (3 * 3 * 2 * 36 + 18 * 4 + 4 * 10)


def test_colour_has_three_values_a_pixel() -> None:
    dense = cell_of("feed_forward", 9, channels=3, hidden_units=[5])
    convolutional = cell_of("cnn", 8, channels=3, filters=[2], dense_units=4, pool_stride=2)
    assert model_cost(dense, 3).operations == 2 * (3 * 81 * 5 + 5 * 3)
    assert model_cost(convolutional, 10).operations == 2 * (3 * 9 * 2 * 36 + 18 * 4 + 4 * 10)


def test_operations_of_a_trial_by_hand() -> None:
    # 100 images, 10 of them for validation: 3 batches of 32, two epochs; 50 test images.
    cell = cell_of("feed_forward", 9, hidden_units=[])
    forward, parameters = 2 * 81 * 10, 82 * 10
    epoch = 3 * forward * 90 + 20 * parameters * 3 + forward * 10
    operations = training_operations(cell, images(100, 50))
    assert operations == 2 * epoch + forward * 50


def test_a_users_own_architecture_is_guessed_between_the_built_in_ones() -> None:
    own = replace(cell_of("cnn", 28), builder="mine:build", hyperparameters={})
    small, middle, large = (
        training_operations(cell, images(60_000, 10_000))
        for cell in (cell_of("feed_forward", 28), own, cell_of("cnn", 48))
    )
    assert small < middle < large


@pytest.mark.parametrize("cell", SOME_CELLS)
def test_memory_holds_weights_gradients_and_adams_two_moments(cell: Cell) -> None:
    larger_batches = replace(cell, training=cell.training.model_copy(update={"batch_size": 4096}))
    assert memory_bytes(cell, 10) > 4 * 4 * model_cost(cell, 10).parameters
    assert memory_bytes(larger_batches, 10) > memory_bytes(cell, 10)


def test_a_card_holds_the_images_of_an_epoch_but_no_tensorflow_of_the_host() -> None:
    dataset_info = DatasetInfo("f" * 64, (28, 28), 10, 60_000, 10_000, {})
    small, large = (cell_of("feed_forward", canvas) for canvas in (28, 48))
    more_weights = 5 * 4 * (48**2 - 28**2) * 512
    more_numbers = 6 * 4 * (48**2 - 28**2) * 32
    more_images = 70_000 * (48**2 - 28**2)
    difference = gpu_memory_bytes(large, dataset_info) - gpu_memory_bytes(small, dataset_info)
    assert difference == more_weights + more_numbers + more_images
    fewer = replace(dataset_info, train_images=0, test_images=0)
    on_card, on_host = gpu_memory_bytes(small, fewer), memory_bytes(small, 10)
    assert on_card != on_host
