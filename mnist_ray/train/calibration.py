"""How fast this machine trains a cell: a few batches are timed in a child process."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.custom_code import Code
from mnist_ray.space.space import Cell
from mnist_ray.train.child_process import in_child

if TYPE_CHECKING:
    from mnist_ray.data.dataset import Dataset
    from mnist_ray.train.memory import GpuMemory
    from mnist_ray.train.trial_run import TrialRun

_BATCHES = 16


@dataclass(frozen=True)
class Timing:
    """How a cell trains on this machine, from a few batches of noise."""

    trial_seconds: float
    """Of a whole trial, without compilation."""
    steps_per_second: float
    compile_seconds: float
    """How much longer setting up takes for the first trial in a process."""
    memory_bytes: int
    """The peak of the process' resident memory."""
    gpu_memory_bytes: int | None
    """The peak on a GPU, CUDA's own share included; None where it computes on CPUs."""
    xla_error: str | None
    """Why XLA, although asked for, did not compile the model; None otherwise."""


def calibrate(cells: Mapping[str, Cell], dataset_info: DatasetInfo, code: Code) -> dict[str, float]:
    """The estimated seconds of a trial of each cell on this machine, by the keys of `cells`.

    A cell that fails has no estimate.
    """
    timings = time_cells(cells, dataset_info, code)
    return {
        key: timing.trial_seconds for key, timing in timings.items() if isinstance(timing, Timing)
    }


def time_cells(
    cells: Mapping[str, Cell],
    dataset_info: DatasetInfo,
    code: Code,
    *,
    gpus: bool = True,
    batches: int = _BATCHES,
    limit_seconds: float | None = None,
) -> dict[str, Timing | str]:
    """How each cell trains on this machine, or why it does not, by the keys of `cells`.

    A child process trains them one after the other, with one CPU thread. Where it ends before its
    time, as on an error of a driver, the cell that it was at has failed, and another child takes
    the rest.

    Args:
        cells: what to train.
        dataset_info: the size of images and data set.
        code: the modules of custom architectures.
        gpus: whether to compute on GPUs, where there are any.
        batches: that are timed of each cell.
        limit_seconds: after which a child is ended.
    """
    timings: dict[str, Timing | str] = {}
    while left := {key: cell for key, cell in cells.items() if key not in timings}:
        request = (left, dataset_info, code, gpus, batches)
        answers, ending = in_child(_time_all, *request, limit_seconds=limit_seconds)
        timings |= dict(answers[1:])
        failed = [key for key in left if key not in timings]
        reason = ": ".join([f"its process ended with exit code {ending.code}", *ending.last_words])
        if ending.code is None:
            reason = f"not done after {limit_seconds:g} s"
        # Where TensorFlow does not start, no cell can be trained.
        timings |= dict.fromkeys(failed[:1] if answers else failed, reason)
    return timings


# In the child process


def _time_all(
    cells: Mapping[str, Cell], dataset_info: DatasetInfo, code: Code, gpus: bool, batches: int
) -> Iterator[str | tuple[str, Timing | str]]:
    """Yields once when TensorFlow has started, then the timing of each cell."""
    from mnist_ray.train import device, trial_run  # noqa: F401 (imports come before configuring)
    from mnist_ray.train.memory import GpuMemory

    device.configure(threads=1, gpus=gpus)
    gpu_memory = GpuMemory()
    yield "ready"
    for key, cell in cells.items():
        try:
            yield key, _time(cell, dataset_info, code, batches=batches, gpu_memory=gpu_memory)
        except Exception as error:  # A sweep reports it when the cell's trials run.
            yield key, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _time(
    cell: Cell, dataset_info: DatasetInfo, code: Code, *, batches: int, gpu_memory: "GpuMemory"
) -> Timing:
    from mnist_ray.plan.trial import Trial
    from mnist_ray.train.compiled_model import CompiledModelCache
    from mnist_ray.train.memory import peak_memory
    from mnist_ray.train.trial_run import TrialRun

    training, compiled_models = cell.training, CompiledModelCache()
    dataset = _noise(dataset_info, min(training.batch_size * batches, dataset_info.train_images))
    trial = Trial(cell, 0, 0, dataset.fingerprint)
    gpu_memory.reset()
    setup_seconds = []
    for _ in range(2):  # The first one pays for what happens once in a process.
        run = TrialRun(trial, dataset, compiled_models=compiled_models, code=code)
        run.train_epoch()
        test_seconds = _evaluate(run, cell)
        setup_seconds.append(run.seconds["setup"])
    memory_bytes = peak_memory()
    # From the third trial of a process on, what starts a kept model again is compiled.
    another = TrialRun(trial, dataset, compiled_models=compiled_models, code=code)
    setup_seconds.append(another.seconds["setup"])
    trained = training.trained(len(dataset.train_images))
    train_seconds = run.seconds["train"]
    evaluation = test_seconds / len(dataset.test_images)
    # The setup transforms all images of the data set, not only those that were timed.
    times_more = dataset_info.train_images / len(dataset.train_images) - 1
    setup = setup_seconds[-1] + another.transform_seconds * times_more
    return Timing(
        trial_seconds=setup
        + _whole(cell, dataset_info, train=train_seconds / trained, evaluate=evaluation),
        steps_per_second=math.ceil(trained / training.batch_size) / train_seconds,
        compile_seconds=max(0.0, setup_seconds[0] - setup_seconds[-1]),
        memory_bytes=memory_bytes,
        gpu_memory_bytes=gpu_memory.peak(),
        xla_error=run.xla_error,
    )


def _evaluate(run: "TrialRun", cell: Cell) -> float:
    """The seconds that the test images take."""
    before = run.seconds["evaluate"]
    run.evaluate(cell.shift)
    return run.seconds["evaluate"] - before


def _whole(cell: Cell, dataset_info: DatasetInfo, *, train: float, evaluate: float) -> float:
    """Seconds of a trial on all images, from those of an image; `train` is for one epoch."""
    training = cell.training
    trained = training.trained(dataset_info.train_images)
    validated = dataset_info.train_images - trained
    evaluated = validated * training.epochs + dataset_info.test_images
    return train * trained * training.epochs + evaluate * evaluated


def _noise(dataset_info: DatasetInfo, count: int) -> "Dataset":
    import numpy as np

    from mnist_ray.data.dataset import Dataset

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *dataset_info.image_shape), dtype=np.uint8)
    labels = generator.integers(0, dataset_info.classes, count).astype(np.int32)
    labels[0] = dataset_info.classes - 1
    return Dataset("noise", images, labels, images, labels)
