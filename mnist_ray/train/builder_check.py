"""Custom architectures are checked in a child process before a sweep starts."""

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence

from mnist_ray.errors import InputError
from mnist_ray.space.custom_code import Code
from mnist_ray.space.hyperparameters import BUILT_IN
from mnist_ray.space.space import Cell


def check_builders(cells: Sequence[Cell], *, classes: int, code: Code) -> None:
    """Build the model of each cell with a custom architecture, in a child process.

    Raises:
        InputError: one cannot be imported, does not take its hyperparameters, or gives no model
            whose outputs are probabilities.
    """
    custom = [cell for cell in cells if cell.builder not in BUILT_IN]
    if not custom:
        return
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ray.train.builder_check"],
        input=pickle.dumps((custom, classes, code)),
        capture_output=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        errors = done.stderr.decode(errors="replace")
        last_words = errors.strip().splitlines()[-1:] or ["no message"]
        raise InputError(
            f"build: {custom[0].builder}: the process that checked it ended with code "
            f"{done.returncode}: {last_words[0]}"
        )
    fault = json.loads(done.stdout)
    if fault:
        raise InputError(fault)


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
    # Nothing that the user's modules print, even at exit, may get into the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump(_first_fault(*pickle.load(sys.stdin.buffer)), answer)  # noqa: S301 (of our own parent)
