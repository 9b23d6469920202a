"""Train and grade one fresh model for one trial.

The figures are those of Keras' own `compile` and `fit` for the same weights and batches, up to
rounding; what differs is how the work reaches the processor:

- many batches run in one call of a compiled graph, to which uint8 images go as they are;
- Adam updates each variable in one fused pass rather than a dozen (see `optimizers`);
- the compiled graph is kept for the next trial of the same architecture, and the fresh model's
  weights and random state are copied into it: tracing a graph takes longer than a small trial.
"""

import ctypes
import gc
import json
import math
import mmap
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mnist_ray.data.dataset import Dataset, draw_offsets, place
from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Classes, Costs, Epoch, Evaluation
from mnist_ray.plan.seeds import evaluation_generator, trial_seeds
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell
from mnist_ray.train import models
from mnist_ray.train.optimizers import LossScale, optimizer_for

_CHUNK_BYTES = 8 << 20
"""Images handed to the graph at once: enough batches that the call costs nothing, and so few bytes
that no copy of a whole training set is ever made."""

_GRADING_BATCH = 32
"""Measured for the shifted CNN on one core: 32 images at a time are as fast as 250 and 1.6 times as
fast as 8; the feed-forward network does not care."""

_KEPT_PROGRAM_BYTES = 64 << 20
"""Compiled graphs kept for later trials, by the memory of their variables; the newest always is."""


class TrainingDivergedError(ArithmeticError):
    """The loss is no longer a finite number, so that there is no accuracy worth the name."""


def configure(threads: int, *, gpus: bool = True) -> None:
    """Set up TensorFlow in this process, before its first operation.

    Args:
        threads: CPU threads of a trial. They change the last bits of its figures.
        gpus: whether to compute on GPUs, where there are any.
    """
    if not gpus:
        tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.get_visible_devices("GPU"):
        # Trials share a card: each takes what it needs, not all there is.
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    # What was imported stays: looking through it for garbage after each trial would take longer
    # than a small trial.
    gc.collect()
    gc.freeze()
    _give_back_memory()
    _drop_code_of_import()


def device_name() -> str:
    """The name of the GPU that this process computes on, or "CPU"."""
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return str(details.get("device_name", "GPU"))


@dataclass(frozen=True, eq=False)
class _PlacedImages:
    """Images of one part of a data set, each with its place on the canvas."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    offsets: NDArray[np.integer[Any]]
    canvas: int

    def chunks(
        self, order: NDArray[np.integer[Any]], batch_size: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        """Batches in the given order, many at once.

        Yields:
            uint8 images [k, b, canvas, canvas] and int32 labels [k, b], for k batches of b images;
            the last chunk is one smaller batch if the order does not divide evenly.
        """
        whole = len(order) // batch_size * batch_size
        step = max(1, _CHUNK_BYTES // (batch_size * self.canvas**2)) * batch_size
        for start in range(0, whole, step):
            yield self._load(order[start : min(start + step, whole)].reshape(-1, batch_size))
        if whole < len(order):
            yield self._load(order[whole:].reshape(1, -1))

    def _load(
        self, indices: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        flat = indices.ravel()
        placed = place(self.images[flat], self.offsets[flat], canvas=self.canvas)
        labels = self.labels[indices].astype(np.int32)
        return placed.reshape(*indices.shape, self.canvas, self.canvas), labels


# --- The compiled graph -----------------------------------------------------------------------


class CompiledModel:
    """A model and its optimizer, compiled for training and grading, that can start afresh.

    Attributes:
        model: the Keras model that is trained.
    """

    def __init__(self, cell: Cell, *, classes: int, seed: int, folder: Path | None) -> None:
        self._cell, self._classes, self._folder = cell, classes, folder
        keras.utils.set_random_seed(seed)
        self.model = self._build()
        self._optimizer = optimizer_for(cell.training.optimizer, self.model)
        self._loss_scale = LossScale() if cell.training.precision == "mixed_float16" else None
        slots = [*self._optimizer.slots, *(self._loss_scale.slots if self._loss_scale else [])]
        # Every optimizer fills a slot with one value at the start.
        self._slots = {slot.ref(): slot.numpy().flat[0] for slot in slots}
        self._step, self._forward = self._train_batch, self._grade_batch
        if tf.config.get_visible_devices("GPU"):
            # XLA on a GPU only: on CPUs it makes convolutions twice as slow.
            self._step = tf.function(self._train_batch, jit_compile=True)
            self._forward = tf.function(self._grade_batch, jit_compile=True)
        images = tf.TensorSpec((None, None, cell.canvas, cell.canvas), tf.uint8)
        labels = tf.TensorSpec((None, None), tf.int32)
        rate = tf.TensorSpec((), tf.float32)
        self._train = tf.function(self._train_batches, input_signature=[images, labels, rate])
        self._grade = tf.function(self._grade_batches, input_signature=[images, labels])

    @property
    def state(self) -> list[tf.Variable]:
        """All that training changes: weights, random state and optimizer slots."""
        weights = [variable.value for variable in self.model.variables]
        return weights + [slot.deref() for slot in self._slots]

    @property
    def size(self) -> int:
        """Bytes of its variables."""
        return sum(math.prod(variable.shape) * variable.dtype.size for variable in self.state)

    def restart(self, seed: int) -> None:
        """Become as freshly made with `seed`: a built-in architecture, whose every draw is Keras'.

        Keras draws by Python's generator where it is given no seed. `keras.utils.set_random_seed`
        also seeds TensorFlow, which makes it forget what it has compiled: half of a short trial.
        """
        random.seed(seed)
        fresh = self._build()
        for variable, new in zip(self.model.variables, fresh.variables, strict=True):
            variable.assign(new)
        del fresh, new
        gc.collect()  # A model is a cycle; a large one must not wait for the next to come.
        for slot, start in self._slots.items():
            slot.deref().assign(tf.fill(slot.deref().shape, start))

    def train(
        self, placed_images: _PlacedImages, order: NDArray[np.integer[Any]], cell: Cell
    ) -> tuple[float, float]:
        """Take one step for each batch of the images in `order`; their mean loss and accuracy."""
        rate = cell.training.learning_rate
        loss, correct = 0.0, 0
        for images, labels in placed_images.chunks(order, cell.training.batch_size):
            chunk_loss, chunk_correct = self._train(images, labels, rate)
            loss += float(chunk_loss)
            correct += int(chunk_correct)
        return loss / len(order), correct / len(order)

    def evaluate(
        self, placed_images: _PlacedImages, order: NDArray[np.integer[Any]]
    ) -> tuple[float, Classes]:
        """The mean loss on the images in `order`, and the predicted class of each."""
        loss, predictions = 0.0, []
        for images, labels in placed_images.chunks(order, _GRADING_BATCH):
            chunk_loss, classes = self._grade(images, labels)
            loss += float(chunk_loss)
            predictions.append(classes.numpy().ravel())
        return loss / len(order), np.concatenate(predictions)

    def _build(self) -> keras.Model:
        with _dtype_policy(self._cell.training.precision):
            return models.build(
                self._cell.builder,
                self._cell.hyperparameters,
                input_shape=(self._cell.canvas, self._cell.canvas, 1),
                classes=self._classes,
                folder=self._folder,
            )

    def _probabilities(self, images: tf.Tensor, *, training: bool) -> tf.Tensor:
        scaled = tf.cast(images, tf.float32)[..., tf.newaxis] / 255.0
        return tf.cast(self.model(scaled, training=training), tf.float32)

    def _train_batch(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        variables = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            probabilities = self._probabilities(images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.add_n([tf.reduce_mean(losses), *self.model.losses])
            scaled = self._loss_scale.scale(loss) if self._loss_scale else loss
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if self._loss_scale:
            self._loss_scale.step(gradients, lambda true: self._optimizer.apply(true, rate))
        else:
            self._optimizer.apply(gradients, rate)
        return loss * tf.cast(tf.size(labels), tf.float32), _correct(probabilities, labels)

    def _train_batches(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct = tf.constant(0.0), tf.constant(0)
        for batch in tf.range(tf.shape(images)[0]):
            batch_loss, batch_correct = self._step(images[batch], labels[batch], rate)
            loss += batch_loss
            correct += batch_correct
        return loss, correct

    def _grade_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities = self._probabilities(images, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        return tf.reduce_sum(losses), tf.argmax(probabilities, axis=-1, output_type=tf.int32)

    def _grade_batches(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss = tf.constant(0.0)
        predictions = tf.TensorArray(tf.int32, size=tf.shape(images)[0])
        for batch in tf.range(tf.shape(images)[0]):
            batch_loss, classes = self._forward(images[batch], labels[batch])
            loss += batch_loss
            predictions = predictions.write(batch, classes)
        return loss, predictions.stack()


def _correct(probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    predictions = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(tf.equal(predictions, labels), tf.int32))


@contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class CompiledModelCache:
    """The compiled graphs of this process, kept for the trials to come."""

    def __init__(self) -> None:
        self._kept: dict[str, CompiledModel] = {}

    def start(self, cell: Cell, *, classes: int, seed: int, folder: Path | None) -> CompiledModel:
        """A program for `cell` with fresh weights drawn from `seed`."""
        name = self._name(cell, classes)
        compiled_model = self._kept.pop(name, None)
        if compiled_model is None or cell.builder not in models.BUILT_IN:
            # A user's own builder may give another graph each time: nothing of it is kept.
            self._make_room()
            compiled_model = CompiledModel(cell, classes=classes, seed=seed, folder=folder)
        else:
            compiled_model.restart(seed)
        self._kept[name] = compiled_model
        return compiled_model

    @staticmethod
    def _name(cell: Cell, classes: int) -> str:
        training = [cell.training.optimizer, cell.training.precision]
        graph = [cell.builder, cell.hyperparameters, cell.canvas, classes, training]
        return json.dumps(graph, sort_keys=True)

    def _make_room(self) -> None:
        while (
            sum(compiled_model.size for compiled_model in self._kept.values()) > _KEPT_PROGRAM_BYTES
        ):
            del self._kept[next(iter(self._kept))]
            gc.collect()
            _give_back_memory()


# --- A trial ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelFiles:
    """A trained model for the `models` folder."""

    archive: bytes
    """In Keras' own format (.keras), without an optimizer."""
    summary: str
    """Its layers and parameters as text."""


class TrialRun:
    """One trial under way: trained epoch by epoch, then graded.

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
        folder: Path | None = None,
    ) -> None:
        """Draw placement and weights.

        Args:
            trial: what to run.
            dataset: the images.
            programs: the compiled graphs of this process.
            folder: where a user's own architecture is looked up.
        """
        _reset_peak_memory()
        begin = time.perf_counter()
        self.trial = trial
        self.epochs: list[Epoch] = []
        self._seeds = trial_seeds(trial.seed, trial.index)
        self._dataset = dataset
        self._train_feed = self._train_images()
        self._program = compiled_models.start(
            trial.cell, classes=dataset.classes, seed=self._seeds.weights, folder=folder
        )
        self._train_seconds = self._evaluate_seconds = 0.0
        self._setup_seconds = time.perf_counter() - begin

    @property
    def is_trained(self) -> bool:
        """Whether all epochs are done."""
        return len(self.epochs) >= self.trial.cell.training.epochs

    @property
    def parameters(self) -> int:
        """Weights and biases of the model, trainable or not."""
        return int(self._program.model.count_params())

    @property
    def costs(self) -> Costs:
        """Setup, training, and grading (on validation and test images alike), in seconds."""
        return Costs(
            setup_seconds=self._setup_seconds,
            train_seconds=self._train_seconds,
            evaluate_seconds=self._evaluate_seconds,
            peak_memory_bytes=_peak_memory(),
        )

    def train_epoch(self) -> Epoch:
        """Train for one more epoch and grade on the validation images.

        Raises:
            InputError: `validation_split` leaves no image to train on.
            TrainingDivergedError: a loss is not finite.
        """
        cell, placed_images = self.trial.cell, self._train_feed
        count = len(placed_images.images)
        # Keras' own rule: validation is the last part, whatever the order of training.
        split = math.floor(count * (1.0 - cell.training.validation_split))
        if not split:
            raise InputError(
                f"training: validation_split {cell.training.validation_split} leaves none of the "
                f"{count} training images to train on; give a smaller one"
            )
        # Each epoch has a stream of its own, so that one that goes on elsewhere draws the same.
        stream = self._seeds.shuffle.spawn_key
        shuffle = np.random.SeedSequence(
            self._seeds.shuffle.entropy, spawn_key=(*stream, len(self.epochs))
        )
        begin = time.perf_counter()
        order = np.random.default_rng(shuffle).permutation(split)
        loss, accuracy = self._program.train(placed_images, order, cell)
        trained = time.perf_counter()
        self._train_seconds += trained - begin
        validation = np.arange(split, count)
        validation_loss, validation_accuracy = None, None
        if len(validation):
            validation_loss, predictions = self._program.evaluate(placed_images, validation)
            correct = np.count_nonzero(predictions == placed_images.labels[validation])
            validation_accuracy = correct / len(validation)
        self._evaluate_seconds += time.perf_counter() - trained
        epoch = Epoch(loss, accuracy, validation_loss, validation_accuracy)
        self.epochs.append(epoch)
        _check_finite({"training": loss, "validation": validation_loss}, epoch=len(self.epochs))
        return epoch

    def evaluate(self, shift: int) -> Evaluation:
        """Grade the model on the test images, shifted by up to `shift` pixels on its canvas.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        begin = time.perf_counter()
        placed_images = self._test_images(shift)
        loss, predictions = self._program.evaluate(
            placed_images, np.arange(len(placed_images.images))
        )
        _check_finite({"test": loss}, epoch=len(self.epochs))
        self._evaluate_seconds += time.perf_counter() - begin
        return Evaluation.of(shift, predictions=predictions, truth=placed_images.labels, loss=loss)

    def model_files(self) -> ModelFiles:
        """The model as it is now."""
        _give_back_memory()
        lines: list[str] = []
        self._program.model.summary(print_fn=lambda line, **_: lines.append(line), line_length=80)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self._program.model.save(path)
            return ModelFiles(path.read_bytes(), "\n".join(lines) + "\n")

    def save(self, folder: Path) -> None:
        """Write all that the trial needs to go on elsewhere: weights, optimizer, random state."""
        np.savez(folder / "state.npz", *[variable.numpy() for variable in self._program.state])
        progress = {
            "key": self.trial.key,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "seconds": [self._setup_seconds, self._train_seconds, self._evaluate_seconds],
        }
        (folder / "progress.json").write_text(json.dumps(progress))

    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote; figures from here on are those of an undisturbed trial."""
        progress = json.loads((folder / "progress.json").read_text())
        if progress["key"] != self.trial.key:
            raise ValueError(f"the checkpoint in {folder} is of trial {progress['key']}")
        with np.load(folder / "state.npz") as state:
            for variable, name in zip(self._program.state, state.files, strict=True):
                variable.assign(state[name])
        self.epochs = [Epoch(**epoch) for epoch in progress["epochs"]]
        self._setup_seconds, self._train_seconds, self._evaluate_seconds = progress["seconds"]

    def _train_images(self) -> _PlacedImages:
        images, labels = self._dataset.train_images, self._dataset.train_labels
        generator = np.random.default_rng(self._seeds.placement)
        return self._feed(images, labels, self.trial.cell.shift, generator)

    def _test_images(self, shift: int) -> _PlacedImages:
        images, labels = self._dataset.test_images, self._dataset.test_labels
        generator = evaluation_generator(self.trial.seed)
        return self._feed(images, labels, shift, generator)

    def _feed(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        shift: int,
        generator: np.random.Generator,
    ) -> _PlacedImages:
        canvas = self.trial.cell.canvas
        offsets = draw_offsets(
            self._dataset.image_size, len(images), shift=shift, canvas=canvas, generator=generator
        )
        return _PlacedImages(images, labels, offsets, canvas)


def _check_finite(losses: Mapping[str, float | None], *, epoch: int) -> None:
    for name, loss in losses.items():
        if loss is not None and not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the {name} loss is {loss} in epoch {epoch}; a smaller learning_rate may help"
            )


# --- Memory -----------------------------------------------------------------------------------


def _give_back_memory() -> None:
    """Let the C library return what is free, before something large is made."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _drop_code_of_import() -> None:
    """Take machine code out of this process' memory (Linux) until it is run again.

    Importing TensorFlow runs 200 MB of code that no trial needs. It is read from its files, and so
    is what is needed after all.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for line in Path("/proc/self/maps").read_text().splitlines():
            place, permissions, _, _, file, *_ = line.split()
            if permissions == "r-xp" and file != "0":
                first, last = (int(address, 16) for address in place.split("-"))
                size = ctypes.c_size_t(last - first)
                libc.madvise(ctypes.c_void_p(first), size, mmap.MADV_DONTNEED)


def _reset_peak_memory() -> None:
    """Count the peak from here on (Linux), so that a kept worker tells each trial's own."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """The peak of this process' resident memory, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # There is none on Windows.

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
