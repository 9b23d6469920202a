"""All that is kept of one trial. It is written once, when the trial ends."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnist_ray.ledger.identity import JSON, digest
from mnist_ray.ledger.versions import installed_version

Classes = NDArray[np.integer[Any]]


class Status(StrEnum):
    """How a trial ended."""

    FINISHED = "finished"
    FAILED = "failed"
    CUT_SHORT = "cut_short"
    """Stopped by early stopping before its last epoch; never part of a mean of whole trials."""

    @property
    def rank(self) -> int:
        """How much is known of such a trial: least of a failed one, most of a finished one."""
        return [Status.FAILED, Status.CUT_SHORT, Status.FINISHED].index(self)


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch, as Keras defines them.

    Training figures are means over the epoch's batches while the weights change. Validation figures
    are taken after it; they are None without validation images. What a custom architecture adds to
    the loss, such as weight decay, is in the training loss alone: `validation_loss` is the mean
    cross-entropy, as for the test images.
    """

    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True)
class Evaluation:
    """A trained model's figures on one test set.

    `shift` is how far its digits are shifted at most, in pixels. `accuracy` is correct / N in
    float64, and `loss` the mean cross-entropy in nats. The predictions
    are kept compressed (a few kB), so that ten thousand trials fit in memory.
    """

    shift: int
    accuracy: float
    loss: float
    size: int
    """Number of test images, N."""
    packed_predictions: bytes
    presentation: str | None = None
    """The digest of how the images are presented, where that is another variant's; None for those
    of the trial's own variant, whatever their shift."""

    @classmethod
    def of(
        cls,
        shift: int,
        *,
        predictions: Classes,
        truth: Classes,
        loss: float,
        presentation: str | None = None,
    ) -> "Evaluation":
        """`predictions` compared with `truth`, both integers [N]; `loss` in nats."""
        accuracy = int(np.count_nonzero(predictions == truth)) / len(truth)
        # uint16 also holds the classes of data sets with more than 256 of them.
        packed = _CODEC.compress(predictions.astype("<u2").tobytes(), asbytes=True)
        return cls(shift, accuracy, loss, len(truth), packed, presentation)

    @property
    def predictions(self) -> NDArray[np.uint16]:
        """The predicted class of every test image, uint16 [N]."""
        raw = _CODEC.decompress(
            self.packed_predictions, decompressed_size=2 * self.size, asbytes=True
        )
        return np.frombuffer(raw, "<u2")


_CODEC = pa.Codec("zstd", compression_level=9)


@dataclass(frozen=True)
class Versions:
    """What the trial ran with."""

    python_version: str
    tensorflow_version: str
    keras_version: str
    ray_version: str
    numpy_version: str

    @classmethod
    def installed(cls) -> "Versions":
        """Those of this Python and its packages; "unknown" for a package that is missing."""
        packages = ("tensorflow", "keras", "ray", "numpy")
        found = {f"{name}_version": installed_version(name) or "unknown" for name in packages}
        return cls(python_version=platform.python_version(), **found)

    @property
    def of_training(self) -> str:
        """Of the packages that compute a trial's figures, as text; equal if and only if they are.

        Another Python or Ray changes no figure.
        """
        return (
            f"TensorFlow {self.tensorflow_version}, Keras {self.keras_version}, "
            f"NumPy {self.numpy_version}"
        )


@dataclass(frozen=True)
class RunEnvironment:
    """Where and when a trial ran. Its result must not depend on that, but a reader may ask."""

    started_at: datetime
    node: str
    device: str
    """"CPU", or the name of the GPU."""
    threads: int
    versions: Versions
    git_commit: str | None
    xla_error: str | None = None
    """Why XLA could not compile the model, which was trained without it; None where it could, or
    was not asked to."""
    gpu_driver_version: str | None = None
    """Of the NVIDIA driver; None on a CPU, and in records of before it was kept."""
    cudnn_version: str | None = None
    """Of cuDNN, likewise."""


@dataclass(frozen=True)
class Costs:
    """What a trial took: seconds, and the peak of its worker's resident memory in bytes."""

    setup_seconds: float | None = None
    train_seconds: float | None = None
    evaluate_seconds: float | None = None
    peak_memory_bytes: int | None = None

    @property
    def seconds(self) -> float:
        """Of setup, training and evaluation together; 0 of what is not known."""
        parts = (self.setup_seconds, self.train_seconds, self.evaluate_seconds)
        return sum(part or 0.0 for part in parts)


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One trial: what it was, how it ended, and every figure that a later statistic may need.

    `identity` is what the key is the hash of (see `mnist_ray.plan.trial.Trial`). `dataset`,
    `architecture` and `variant` are the names that the space had for it when it ran. `test` is its
    evaluation on the variant's own test set, `robustness` those on other test sets.
    """

    key: str
    identity: JSON
    dataset: str
    architecture: str
    variant: str
    trial_seed: int
    status: Status
    error: str | None = None
    traceback: str | None = None
    parameters: int | None = None
    epochs: Sequence[Epoch] = ()
    test: Evaluation | None = None
    robustness: Sequence[Evaluation] = ()
    setting: RunEnvironment | None = None
    costs: Costs = Costs()

    def joined(self, later: "Record") -> "Record":
        """What to keep of this record and a later one of the same trial.

        The one with more results, or the later of two failures. A finished trial is replaced only
        by one that finished with other versions of the packages that compute and started after it:
        such a trial was run again on purpose. Otherwise only evaluations on other test sets are
        added to it.
        """
        if self.status.rank != later.status.rank:
            return max(self, later, key=lambda record: record.status.rank)
        if self.status is Status.FAILED:
            return later
        if self.setting and later.setting and later.has_other_versions(self.setting.versions):
            return later if later.setting.started_at > self.setting.started_at else self
        own = (self.test, *self.robustness)
        known = {(each.presentation, each.shift) for each in own if each}
        added = [e for e in later.robustness if (e.presentation, e.shift) not in known]
        return replace(self, robustness=(*self.robustness, *added)) if added else self

    def has_other_versions(self, versions: Versions) -> bool:
        """Whether it ran with another TensorFlow, Keras or NumPy; False where that is not known."""
        return (
            self.setting is not None and self.setting.versions.of_training != versions.of_training
        )

    @property
    def trial(self) -> int:
        """The trial's index in its cell, from 0."""
        return int(self.identity["trial"])

    @property
    def cell_key(self) -> str:
        """The identity of the trial's cell, as `mnist_ray.plan.trial.Trial.cell_key`."""
        of_trial = ("trial", "varied")
        return digest({k: value for k, value in self.identity.items() if k not in of_trial})

    @property
    def source(self) -> str | None:
        """The source of randomness that the trial varied alone; None for an ordinary trial."""
        return self.identity.get("varied")

    @property
    def hyperparameters(self) -> JSON:
        """Of architecture, training and variant alike, by the names of their columns."""
        identity, transform = self.identity, self.identity.get("transform")
        own = {"transform": transform["function"], **transform["parameters"]} if transform else {}
        return {
            **identity["hyperparameters"],
            **_flat(identity["training"]),
            **own,
            "shift": identity["shift"],
            "canvas": identity["canvas"],
        }

    @property
    def device(self) -> str | None:
        """None where it did not start."""
        return self.setting.device if self.setting else None

    @property
    def train_accuracy(self) -> float | None:
        """In the last epoch."""
        return self.epochs[-1].train_accuracy if self.epochs else None

    @property
    def validation_accuracy(self) -> float | None:
        """After the last epoch."""
        return self.epochs[-1].validation_accuracy if self.epochs else None

    def evaluation(self, shift: int, presentation: JSON | None = None) -> Evaluation | None:
        """The evaluation on test images shifted by up to `shift` pixels, if there is one.

        They are its own variant's images, where they are not presented in another way: that is what
        `mnist_ray.space.variants.Presentation.identity` gives.
        """
        other = presentation or self.identity
        is_own = all(other.get(name) == self.identity.get(name) for name in ("canvas", "transform"))
        wanted = (None if is_own else digest(other), shift)
        evaluations = (*self.robustness, self.test)
        return next((e for e in evaluations if e and (e.presentation, e.shift) == wanted), None)


def join(known: dict[str, Record], record: Record) -> Record | None:
    """Join `record` to what is known of its trial; None where it says nothing new."""
    before = known.get(record.key)
    joined = record if before is None else before.joined(record)
    known[record.key] = joined
    return None if joined is before else joined


def _flat(training: JSON) -> JSON:
    """With a column for each argument of the optimizer and of a schedule."""
    flat: JSON = {}
    for key, value in training.items():
        arguments = dict(value) if isinstance(value, dict) else {"name": value}
        flat |= {key: arguments.pop("name", None), **arguments}
    return flat
