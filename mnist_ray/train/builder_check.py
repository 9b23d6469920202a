"""Architectures of the user's own, checked in a child process before a sweep starts."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_ray.errors import InputError
from mnist_ray.space.hyperparameters import BUILT_IN
from mnist_ray.space.space import Cell


def check_builders(cells: Sequence[Cell], *, classes: int, folder: Path | None) -> None:
    """Build the model of each cell with an architecture of the user's own, in a child process.

    Raises:
        InputError: one can't be imported, does not take its hyperparameters, or gives no model.
    """
    own = [cell for cell in cells if cell.builder not in BUILT_IN]
    if not own:
        return
    request = {
        "folder": str(folder) if folder else None,
        "classes": classes,
        "models": [
            {"builder": c.builder, "hyperparameters": c.hyperparameters, "canvas": c.canvas}
            for c in own
        ],
    }
    done = subprocess.run(
        [sys.executable, "-m", "mnist_ray.train.builder_check"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout:
        last_words = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise InputError(
            f"build: {own[0].builder}: the process that checked it ended with code "
            f"{done.returncode}: {last_words[0]}"
        )
    fault = json.loads(done.stdout)
    if fault:
        raise InputError(fault)


def _first_fault(request: dict[str, Any]) -> str | None:
    import numpy as np

    from mnist_ray.train import models

    folder = Path(request["folder"]) if request["folder"] else None
    for model in request["models"]:
        canvas = model["canvas"]
        images = np.zeros((2, canvas, canvas, 1), np.float32)
        try:
            built = models.build(
                model["builder"],
                model["hyperparameters"],
                input_shape=images.shape[1:],
                classes=request["classes"],
                folder=folder,
            )
            output = np.asarray(built(images, training=False), np.float32)
        except InputError as error:
            return str(error)
        except Exception as error:
            given = json.dumps(model["hyperparameters"])
            return (
                f"build: {model['builder']} failed with {type(error).__name__}: {error}. It was "
                f"called as function(({canvas}, {canvas}, 1), {request['classes']}, **{given})."
            )
        if not (np.all(output >= 0) and np.allclose(output.sum(axis=-1), 1, atol=0.02)):
            return (
                f"build: {model['builder']} gave a model whose outputs are no probabilities: for a "
                f"black image they are {output[0].tolist()}. They must be at least 0 and sum to 1: "
                'end it with activation="softmax".'
            )
    return None


if __name__ == "__main__":
    # What the user's module prints, be it at the end, must not be taken for the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump(_first_fault(json.load(sys.stdin)), answer)
