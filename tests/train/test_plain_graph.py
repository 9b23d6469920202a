import keras
import numpy as np
import pytest
from small_trials import IMAGES, WITH_DROPOUT, trial_of

from mnist_ray.train import models
from mnist_ray.train.optimizers import optimizer_of
from mnist_ray.train.placed_images import PlacedImages
from mnist_ray.train.plain_graph import PlainGraph

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_weights_that_are_cast_once_give_the_same_bits(precision: str) -> None:
    cell = trial_of(WITH_DROPOUT, precision=precision).cell
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    model = models.build(cell, classes=3)
    keras.config.set_dtype_policy(before)
    images = PlacedImages(
        IMAGES.train_images, IMAGES.train_labels, np.zeros((len(IMAGES.train_images), 2), int), 6
    )
    optimizer, order = optimizer_of(model, cell.training), np.arange(110)
    trained = PlainGraph(optimizer, cell.canvas_shape, is_pure=True)
    cast_each_time = PlainGraph(optimizer, cell.canvas_shape, is_pure=False)

    def assert_same_figures() -> float:
        (loss, classes), (expected_loss, expected) = (
            graph.evaluate(images, order) for graph in (trained, cast_each_time)
        )
        assert (loss, classes.tolist()) == (expected_loss, expected.tolist())
        return loss

    before_training = assert_same_figures()
    # What is cast is what the weights are now.
    trained.train(images, order, 16, rates=np.full(7, 0.01, np.float32))
    assert assert_same_figures() != before_training
