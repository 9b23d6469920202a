"""Train and evaluate one fresh model for one trial."""

import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset
from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.record import Costs, Epoch, Evaluation
from mnist_ray.plan.seeds import evaluation_generator, transform_generator
from mnist_ray.plan.test_sets import TestSets, VariantTest
from mnist_ray.plan.trial import Trial
from mnist_ray.space.custom_code import Code
from mnist_ray.space.variants import Presentation
from mnist_ray.train.compiled_model import CompiledModelCache
from mnist_ray.train.memory import give_back_memory, peak_memory, reset_peak_memory
from mnist_ray.train.placed_images import PlacedImages
from mnist_ray.train.transforms import TestImageCache, transformed


class TrainingDivergedError(ArithmeticError):
    """The loss is no longer finite, so that the accuracy means nothing."""


class TrialRun:
    """One trial under way: trained epoch by epoch, then evaluated.

    Attributes:
        trial: what is run.
        epochs: the figures of the epochs that are done.
        seconds: that it took so far, for `setup`, to `train`, and to `evaluate` on validation and
            test images alike.
        transform_seconds: that transforming the training images took, as part of the setup.
    """

    def __init__(
        self,
        trial: Trial,
        dataset: Dataset,
        *,
        compiled_models: CompiledModelCache,
        test_images: TestImageCache | None = None,
        code: Code | None = None,
    ) -> None:
        """Transform and place the training images, and draw weights.

        `compiled_models` and `test_images` are those of the process; the latter are of the same
        data set and code. `code` is that of the user's own architectures and transforms.

        Raises:
            InputError: a custom architecture or transform does not do what it must.
        """
        reset_peak_memory()
        begin = time.perf_counter()
        self.trial, self._dataset = trial, dataset
        self.epochs: list[Epoch] = []
        self._seeds, self._code = trial.seeds, code or {}
        self._test_images = test_images or TestImageCache()
        self._trained = trial.cell.training.trained(len(dataset.train_images))
        self._placed_images = self._placed_training_images()
        self._compiled_model = compiled_models.start(
            trial, self._placed_images, classes=dataset.classes, code=self._code
        )
        self.seconds = {"setup": time.perf_counter() - begin, "train": 0.0, "evaluate": 0.0}

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
        """The seconds so far and the peak memory."""
        seconds = {f"{part}_seconds": taken for part, taken in self.seconds.items()}
        return Costs(**seconds, peak_memory_bytes=peak_memory())

    def train_epoch(self) -> None:
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
        self.seconds["train"] += trained - begin
        self.seconds["evaluate"] += time.perf_counter() - trained
        self.epochs.append(Epoch(loss, accuracy, validation_loss, validation_accuracy))
        _check_finite({"training": loss, "validation": validation_loss}, epoch=len(self.epochs))

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
        loss, predictions = self._compiled_model.graph.evaluate(placed_images, validation)
        correct = np.count_nonzero(predictions == placed_images.labels[validation])
        return loss, float(correct / len(validation))

    def evaluate(self, shift: int) -> Evaluation:
        """Evaluate the model on its variant's test images, shifted by up to `shift` pixels.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        return self._evaluate(replace(self.trial.cell.presentation, shift=shift))

    def evaluate_others(self, tests: TestSets) -> tuple[Evaluation, ...]:
        """Evaluate the model on each of `tests` but its variant's own; each test set once.

        None for a trial that varies one source alone.

        Raises:
            InputError: a transform does not give images that the model takes.
            TrainingDivergedError: a loss is not finite.
        """
        if self.trial.source:
            return ()
        own = self.trial.cell.presentation
        of_own = {shift: replace(own, shift=shift) for shift in tests.shifts}
        wanted: dict[str | None, dict[int, Presentation]] = {None: of_own}
        for test in tests.variants:
            of_name = wanted.setdefault(self._name_of(test), {})
            of_name.setdefault(test.presentation.shift, test.presentation)
        wanted[None].pop(own.shift, None)
        return tuple(
            self._evaluate(presentation, name=name)
            for name, presentations in wanted.items()
            for presentation in presentations.values()
        )

    def _name_of(self, test: VariantTest) -> str | None:
        """As `Evaluation.presentation` has it."""
        own = self.trial.cell.presentation.identity(self.trial.transform_digest)
        is_own = {**test.identity, "shift": 0} == {**own, "shift": 0}
        return None if is_own else digest(test.identity)

    def _evaluate(self, presentation: Presentation, *, name: str | None = None) -> Evaluation:
        begin, seed = time.perf_counter(), self.trial.seed
        images = self._test_images.images(
            self._dataset, presentation.transform, seed=seed, code=self._code
        )
        placed_images = PlacedImages.drawn(
            images, self._dataset.test_labels, presentation, evaluation_generator(seed)
        )
        loss, predictions = self._compiled_model.graph.evaluate(
            placed_images, np.arange(len(placed_images.images))
        )
        _check_finite({"test": loss}, epoch=len(self.epochs))
        self.seconds["evaluate"] += time.perf_counter() - begin
        return Evaluation.of(
            presentation.shift,
            predictions=predictions,
            truth=placed_images.labels,
            loss=loss,
            presentation=name,
        )

    def model_files(self) -> tuple[bytes, str]:
        """The model as it is now, for the `models` folder.

        Returns: The model in Keras' own format (.keras), without an optimizer; its layers and
            parameters as text.
        """
        give_back_memory()
        lines: list[str] = []
        self._compiled_model.model.summary(
            print_fn=lambda line, **_: lines.append(line), line_length=80
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self._compiled_model.model.save(path)
            return path.read_bytes(), "\n".join(lines) + "\n"

    def save(self, file: BinaryIO) -> None:
        """Write a checkpoint: weights, optimizer, random state, and the figures so far."""
        state = [variable.numpy() for variable in self._compiled_model.state]
        progress = {
            "key": self.trial.key,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "seconds": self.seconds,
        }
        np.savez(file, *state, progress=json.dumps(progress))

    def restore(self, file: BinaryIO) -> None:
        """Go on from a checkpoint of `save`, with the figures of an uninterrupted trial."""
        with np.load(file) as saved:
            progress = json.loads(str(saved["progress"]))
            if progress["key"] != self.trial.key:
                raise ValueError(f"the checkpoint is of trial {progress['key']}")
            names = [name for name in saved.files if name != "progress"]
            for variable, name in zip(self._compiled_model.state, names, strict=True):
                variable.assign(saved[name])
        self.epochs = [Epoch(**epoch) for epoch in progress["epochs"]]
        self.seconds = progress["seconds"]

    def _placed_training_images(self) -> PlacedImages:
        placement, presentation = self._seeds.placement, self.trial.cell.presentation
        sampled = self._sampled()
        begin = time.perf_counter()
        images = transformed(
            self._dataset.train_images[sampled],
            presentation.transform,
            transform_generator(placement),
            code=self._code,
        )
        self.transform_seconds = time.perf_counter() - begin
        labels = self._dataset.train_labels[sampled]
        generator = np.random.default_rng(placement)
        return PlacedImages.drawn(images, labels, presentation, generator)


def _check_finite(losses: Mapping[str, float | None], *, epoch: int) -> None:
    for name, loss in losses.items():
        if loss is not None and not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the {name} loss is {loss} in epoch {epoch}; a smaller learning_rate may help"
            )
