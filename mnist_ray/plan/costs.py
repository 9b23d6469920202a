"""Operations and bytes of a trial, counted from its cell alone before it runs."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.space import Cell

_BASE_BYTES = 700 << 20
"""A worker with TensorFlow imported and a graph traced, measured (TensorFlow 2.21, Linux)."""
_GPU_BASE_BYTES = 1 << 30
"""A process' CUDA context and the workspaces of its libraries: an assumption, not measured."""
_UNKNOWN_PARAMETERS = 5_000_000
_UNKNOWN_OPERATIONS = 50_000_000
"""Assumed for a custom architecture: between the feed-forward network and the CNN."""


@dataclass(frozen=True)
class ModelCost:
    """The cost of one model on one image.

    `operations` are the floating-point operations of a forward pass (a multiplication and an
    addition are two), `parameters` the weights and biases, `activations` the outputs of all layers.
    """

    operations: int
    parameters: int
    activations: int


def model_cost(cell: Cell, classes: int) -> ModelCost:
    """The cost of the cell's model; assumed values for a custom architecture."""
    if cell.builder == "feed_forward":
        hidden: list[int] = cell.hyperparameters["hidden_units"]  # type: ignore[assignment]
        return _dense_cost([math.prod(cell.input_shape), *hidden, classes])
    if cell.builder == "cnn":
        return _cnn_cost(cell, classes)
    return ModelCost(_UNKNOWN_OPERATIONS, _UNKNOWN_PARAMETERS, _UNKNOWN_PARAMETERS // 10)


def training_operations(cell: Cell, dataset_info: DatasetInfo) -> float:
    """Floating-point operations of a whole trial: a backward pass costs two forward ones.

    The optimizer's pass over the weights counts as 20 operations for each weight and step. It moves
    bytes rather than computes, and takes about the time of that many operations.
    """
    cost = model_cost(cell, dataset_info.classes)
    training = cell.training
    trained = training.trained(dataset_info.train_images)
    steps = math.ceil(trained / training.batch_size)
    validated = dataset_info.train_images - trained
    evaluated = validated * training.epochs + dataset_info.test_images
    steps_cost = 3 * cost.operations * trained + 20 * cost.parameters * steps
    return float(training.epochs * steps_cost + evaluated * cost.operations)


def memory_bytes(cell: Cell, classes: int) -> int:
    """An upper estimate of a worker's peak memory while it trains the cell."""
    cost = model_cost(cell, classes)
    # Weights, gradients, two optimizer slots, and the fresh model that initial weights come from.
    weights = 5 * 4 * cost.parameters
    # Forward and backward, with the rearranged copies that convolutions make.
    activations = 6 * 4 * cost.activations * cell.training.batch_size
    return _BASE_BYTES + weights + activations


def gpu_memory_bytes(cell: Cell, dataset_info: DatasetInfo) -> int:
    """An upper estimate of what a trial of the cell takes of a GPU's memory.

    The images of an epoch lie there, as bytes.
    """
    of_host = memory_bytes(cell, dataset_info.classes) - _BASE_BYTES
    images = dataset_info.train_images + dataset_info.test_images
    return _GPU_BASE_BYTES + of_host + images * math.prod(cell.input_shape)


def _dense_cost(widths: list[int]) -> ModelCost:
    pairs = list(itertools.pairwise(widths))
    return ModelCost(
        operations=sum(2 * before * after for before, after in pairs),
        parameters=sum((before + 1) * after for before, after in pairs),
        activations=sum(widths),
    )


def _cnn_cost(cell: Cell, classes: int) -> ModelCost:
    hyperparameters: dict[str, Any] = cell.hyperparameters
    kernel, pool = hyperparameters["kernel_size"], hyperparameters["pool_size"]
    size, channels = cell.canvas, cell.channels
    operations = parameters = activations = 0
    for filters in hyperparameters["filters"]:
        size = size - kernel + 1
        weights = kernel**2 * channels * filters
        operations += 2 * weights * size**2
        parameters += weights + filters
        activations += filters * size**2
        size = (size - pool) // hyperparameters["pool_stride"] + 1
        activations += filters * size**2
        channels = filters
    dense = _dense_cost([channels * size**2, hyperparameters["dense_units"], classes])
    return ModelCost(
        operations + dense.operations,
        parameters + dense.parameters,
        activations + dense.activations,
    )
