"""Small trials on made-up images, trained in this process."""

import io
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from made_up import made_up_space
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset
from mnist_ray.data.placement import draw_offsets, place
from mnist_ray.ledger.record import Epoch
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.seeds import trial_seeds
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.custom_code import modules_of
from mnist_ray.space.space import Cell
from mnist_ray.train import models
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.trial_run import TrialRun

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
    *, train: int = 110, test: int = 37, size: tuple[int, ...] = (6, 6), classes: int = 3
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
COLOUR_IMAGES = made_up_images(size=(6, 5, 3))


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
    (cell,) = space.cells(dataset.image_shape)
    return trials_of(space, cell, DatasetInfo.of(dataset, sources={}), index + 1)[index]


def started(
    trial: Trial,
    compiled_models: CompiledModelCache | None = None,
    *,
    dataset: Dataset = IMAGES,
    folder: Path | None = None,
) -> TrialRun:
    """The trial as it begins; a custom architecture's modules lie in `folder`."""
    builder = trial.cell.builder
    code = {} if builder in models.BUILT_IN else {builder: modules_of(builder, folder)}
    cache = compiled_models or CompiledModelCache()
    return TrialRun(trial, dataset, compiled_models=cache, code=code)


def run(
    trial: Trial,
    compiled_models: CompiledModelCache | None = None,
    *,
    dataset: Dataset = IMAGES,
    folder: Path | None = None,
) -> TrialRun:
    """The trial, trained to its end."""
    under_way = started(trial, compiled_models, dataset=dataset, folder=folder)
    while not under_way.is_trained:
        under_way.train_epoch()
    return under_way


def keras_model(trained: TrialRun) -> keras.Model:
    """The trained model, as its file holds it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(trained.model_files()[0])
        return keras.saving.load_model(path)


def weights(model: keras.Model) -> list[NDArray[Any]]:
    return [variable.numpy() for variable in model.weights]


def cell_results(trained: TrialRun) -> tuple[list[Epoch], dict[str, Any], list[bytes]]:
    """All that a trial gives, to the last bit: figures, weights, optimizer and random state."""
    content = [variable.tobytes() for variable in state_of(trained)]
    return trained.epochs, asdict(trained.evaluate(trained.trial.cell.shift)), content


def checkpoint_of(trained: TrialRun) -> io.BytesIO:
    """What the trial needs to go on elsewhere, as a file."""
    file = io.BytesIO()
    trained.save(file)
    file.seek(0)
    return file


def state_of(trained: TrialRun) -> list[NDArray[Any]]:
    """All that a checkpoint of the trial holds beside its figures."""
    with np.load(checkpoint_of(trained)) as saved:
        return [saved[name] for name in saved.files if name != "progress"]


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with_channels = images if images.ndim == 4 else images[..., np.newaxis]
    return with_channels.astype(np.float32) / 255


def placed_training_images(trial: Trial, dataset: Dataset) -> NDArray[np.uint8]:
    generator = np.random.default_rng(trial_seeds(trial.seed, trial.index).placement)
    return placed(trial.cell, dataset.train_images, trial.cell.shift, generator)


def placed(
    cell: Cell, images: NDArray[np.uint8], shift: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    size = (images.shape[1], images.shape[2])
    offsets = draw_offsets(size, len(images), shift=shift, canvas=cell.canvas, generator=generator)
    return place(images, offsets, canvas=cell.canvas)
