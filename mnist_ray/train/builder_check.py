"""Custom architectures are checked in a child process before a sweep starts."""

import json
from collections.abc import Sequence

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import Code
from mnist_ray.space.hyperparameters import BUILT_IN
from mnist_ray.space.space import Cell
from mnist_ray.train.child_check import answer_parent, check_in_child


def check_builders(cells: Sequence[Cell], *, classes: int, code: Code) -> None:
    """Build the model of each cell with a custom architecture, in a child process.

    Raises:
        InputError: one cannot be imported, does not take its hyperparameters, or gives no model
            whose outputs are probabilities.
    """
    custom = [cell for cell in cells if cell.builder not in BUILT_IN]
    if not custom:
        return
    check_in_child(
        "mnist_ray.train.builder_check", (custom, classes, code), what=f"build: {custom[0].builder}"
    )


def _first_fault(cells: Sequence[Cell], classes: int, code: Code) -> str | None:
    import numpy as np

    from mnist_ray.train import models

    for cell in cells:
        images = np.zeros((2, *cell.input_shape), np.float32)
        try:
            built = models.build(
                cell.builder,
                cell.hyperparameters,
                input_shape=cell.input_shape,
                classes=classes,
                modules=code.get(cell.builder),
            )
            output = np.asarray(built(images, training=False), np.float32)
        except InputError as error:
            return str(error)
        except Exception as error:
            given = json.dumps(cell.hyperparameters)
            return (
                f"build: {cell.builder} failed with {type(error).__name__}: {error}. It was "
                f"called as function({cell.input_shape}, {classes}, **{given})."
            )
        if not (np.all(output >= 0) and np.allclose(output.sum(axis=-1), 1, atol=0.02)):
            return (
                f"build: {cell.builder} gave a model whose outputs are no probabilities: for a "
                f"black image they are {output[0].tolist()}. They must be at least 0 and sum to 1: "
                'end it with activation="softmax".'
            )
    return None


if __name__ == "__main__":
    answer_parent(_first_fault)
