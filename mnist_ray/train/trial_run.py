"""Train and evaluate one fresh model for one trial."""

import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset
from mnist_ray.data.placement import draw_offsets
from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Costs, Epoch, Evaluation
from mnist_ray.plan.seeds import evaluation_generator
from mnist_ray.plan.trial import Trial
from mnist_ray.space.custom_code import Code
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.memory import give_back_memory, peak_memory, reset_peak_memory
from mnist_ray.train.placed_images import PlacedImages


class TrainingDivergedError(ArithmeticError):
    """The loss is no longer finite, so that the accuracy means nothing."""


@dataclass(frozen=True)
class ModelFiles:
    """A trained model for the `models` folder."""

    archive: bytes
    """In Keras' own format (.keras), without an optimizer."""
    summary: str
    """Its layers and parameters as text."""


class TrialRun:
    """One trial under way: trained epoch by epoch, then evaluated.

    Attributes:
        trial: what is run.
        epochs: the figures of the epochs that are done.
        costs: seconds so far and peak memory.
    """

    def __init__(
        self,
        trial: Trial,
        dataset: Dataset,
        *,
        compiled_models: CompiledModelCache,
        code: Code | None = None,
    ) -> None:
        """Draw placements and weights; `code` has the modules of custom architectures."""
        reset_peak_memory()
        begin = time.perf_counter()
        self.trial = trial
        self.epochs: list[Epoch] = []
        self._seeds = trial.seeds
        self._dataset = dataset
        # Keras' own rule: validation is the last part, whatever the order of training.
        share = 1.0 - trial.cell.training.validation_split
        self._trained = math.floor(len(dataset.train_images) * share)
        sampled = self._sampled()
        self._placed_images = self._placed(
            dataset.train_images[sampled],
            dataset.train_labels[sampled],
            shift=trial.cell.shift,
            generator=np.random.default_rng(self._seeds.placement),
        )
        self._compiled_model = compiled_models.start(
            trial.cell,
            self._placed_images,
            trained=self._trained,
            classes=dataset.classes,
            seed=self._seeds.weights,
            dropout_seed=self._seeds.dropout,
            code=code or {},
        )
        self._train_seconds = self._evaluate_seconds = 0.0
        self._setup_seconds = time.perf_counter() - begin

    @property
    def is_trained(self) -> bool:
        return len(self.epochs) >= self.trial.cell.training.epochs

    @property
    def is_restorable(self) -> bool:
        """Whether a checkpoint holds all that the rest of the trial depends on."""
        return self._compiled_model.is_restorable

    @property
    def parameters(self) -> int:
        """Weights and biases of the model, trainable or not."""
        return int(self._compiled_model.model.count_params())

    @property
    def xla_error(self) -> str | None:
        """Why XLA could not compile the model, which the plain graph then trained."""
        return self._compiled_model.xla_error

    @property
    def costs(self) -> Costs:
        """Seconds of setup, training, and evaluation (on validation and test images alike)."""
        return Costs(
            setup_seconds=self._setup_seconds,
            train_seconds=self._train_seconds,
            evaluate_seconds=self._evaluate_seconds,
            peak_memory_bytes=peak_memory(),
        )

    def train_epoch(self) -> Epoch:
        """Train for one more epoch and evaluate on the validation images.

        Raises:
            InputError: `validation_split` leaves no image to train on.
            TrainingDivergedError: a loss is not finite.
        """
        begin = time.perf_counter()
        loss, accuracy = self._compiled_model.train(
            self._placed_images,
            self._next_order(),
            self.trial.cell.training,
            epoch=len(self.epochs),
        )
        trained = time.perf_counter()
        validation_loss, validation_accuracy = self._validate()
        self._train_seconds += trained - begin
        self._evaluate_seconds += time.perf_counter() - trained
        epoch = Epoch(loss, accuracy, validation_loss, validation_accuracy)
        self.epochs.append(epoch)
        _check_finite({"training": loss, "validation": validation_loss}, epoch=len(self.epochs))
        return epoch

    def _sampled(self) -> NDArray[np.integer[Any]] | slice:
        """Which of the training images are used, in which places.

        A bootstrap draws those that are trained on, with replacement. The validation images stay,
        so that none of them is trained on. What is drawn for a place, such as an offset, does not
        depend on which image is there.
        """
        if self._seeds.sample is None or not self._trained:
            return slice(None)
        places = np.arange(len(self._dataset.train_images))
        generator = np.random.default_rng(self._seeds.sample)
        places[: self._trained] = generator.integers(self._trained, size=self._trained)
        return places

    def _next_order(self) -> NDArray[np.integer[Any]]:
        """The order of the training images in the next epoch."""
        if not self._trained:
            raise InputError(
                f"training: validation_split {self.trial.cell.training.validation_split} leaves "
                f"none of the {len(self._placed_images.images)} training images to train on; give "
                "a smaller one"
            )
        # Each epoch has its own stream, so that a restored trial draws the same.
        stream = self._seeds.shuffle
        epoch = np.random.SeedSequence(
            stream.entropy, spawn_key=(*stream.spawn_key, len(self.epochs))
        )
        return np.random.default_rng(epoch).permutation(self._trained)

    def _validate(self) -> tuple[float | None, float | None]:
        """The loss and accuracy on the validation images, if there are any."""
        placed_images = self._placed_images
        validation = np.arange(self._trained, len(placed_images.images))
        if not len(validation):
            return None, None
        loss, predictions = self._compiled_model.evaluate(placed_images, validation)
        correct = np.count_nonzero(predictions == placed_images.labels[validation])
        return loss, float(correct / len(validation))

    def evaluate(self, shift: int) -> Evaluation:
        """Evaluate the model on the test images, shifted by up to `shift` pixels on its canvas.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        begin = time.perf_counter()
        placed_images = self._placed(
            self._dataset.test_images,
            self._dataset.test_labels,
            shift=shift,
            generator=evaluation_generator(self.trial.seed),
        )
        loss, predictions = self._compiled_model.evaluate(
            placed_images, np.arange(len(placed_images.images))
        )
        _check_finite({"test": loss}, epoch=len(self.epochs))
        self._evaluate_seconds += time.perf_counter() - begin
        return Evaluation.of(shift, predictions=predictions, truth=placed_images.labels, loss=loss)

    def model_files(self) -> ModelFiles:
        """The model as it is now."""
        give_back_memory()
        lines: list[str] = []
        self._compiled_model.model.summary(
            print_fn=lambda line, **_: lines.append(line), line_length=80
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self._compiled_model.model.save(path)
            return ModelFiles(path.read_bytes(), "\n".join(lines) + "\n")

    def save(self, folder: Path) -> None:
        """Write a checkpoint: weights, optimizer, random state, and the figures so far."""
        state = [variable.numpy() for variable in self._compiled_model.state]
        np.savez(folder / "state.npz", *state)
        progress = {
            "key": self.trial.key,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "seconds": [self._setup_seconds, self._train_seconds, self._evaluate_seconds],
        }
        (folder / "progress.json").write_text(json.dumps(progress))

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint of `save`, with the figures of an uninterrupted trial."""
        progress = json.loads((folder / "progress.json").read_text())
        if progress["key"] != self.trial.key:
            raise ValueError(f"the checkpoint in {folder} is of trial {progress['key']}")
        with np.load(folder / "state.npz") as state:
            for variable, name in zip(self._compiled_model.state, state.files, strict=True):
                variable.assign(state[name])
        self.epochs = [Epoch(**epoch) for epoch in progress["epochs"]]
        self._setup_seconds, self._train_seconds, self._evaluate_seconds = progress["seconds"]

    def _placed(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        *,
        shift: int,
        generator: np.random.Generator,
    ) -> PlacedImages:
        canvas = self.trial.cell.canvas
        offsets = draw_offsets(
            self._dataset.image_shape, len(images), shift=shift, canvas=canvas, generator=generator
        )
        return PlacedImages(images, labels, offsets, canvas)


def _check_finite(losses: Mapping[str, float | None], *, epoch: int) -> None:
    for name, loss in losses.items():
        if loss is not None and not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the {name} loss is {loss} in epoch {epoch}; a smaller learning_rate may help"
            )
