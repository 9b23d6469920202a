"""What XLA compiles, as a program of its own: TensorFlow is set up once in a process.

    python tests/support/xla_matrix.py WAYS [deterministic]

prints, for each architecture, precision and optimizer: why XLA does not compile it, the seconds
until it is compiled, its losses and, without dropout, those of the plain graph. WAYS is `all`, the
name of an architecture, or `few` for Adam in float32 alone.
"""

import itertools
import json
import sys
import time
from dataclasses import asdict
from typing import Any, get_args

import tensorflow as tf
from small_trials import CONVOLUTIONAL, DENSE, WITH_DROPOUT, run, started, trial_of

from mnist_ray.space.training import Precision
from mnist_ray.train.trial_run import TrialRun

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta", "adamax")
"""The usual ones: each takes XLA some seconds."""
ARCHITECTURES = {
    "feed_forward": DENSE,
    "feed_forward, dropout": {**DENSE, "dropout": 0.4},
    "cnn": CONVOLUTIONAL,
    "cnn, dropout": WITH_DROPOUT,
}


def ways_of(name: str) -> list[tuple[str, str, str]]:
    """Architecture, precision and optimizer of each row."""
    if name == "few":
        return [(architecture, "float32", "adam") for architecture in ARCHITECTURES]
    architectures = ARCHITECTURES if name == "all" else [name]
    return list(itertools.product(architectures, get_args(Precision), OPTIMIZERS))


def losses(trained: TrialRun) -> list[float]:
    """Of training and of the test images."""
    epochs = [asdict(epoch)["train_loss"] for epoch in trained.epochs]
    return [*epochs, trained.evaluate(trained.trial.cell.shift).loss]


def row_of(architecture: str, precision: str, optimizer: str) -> dict[str, Any]:
    """Train with XLA and, where both draw the same, with the plain graph."""
    training = {"precision": precision, "optimizer": optimizer, "epochs": 3, "batch_size": 32}
    more = {"variant": {"shift": 2}, **training}
    begin = time.perf_counter()
    trial = started(trial_of(ARCHITECTURES[architecture], jit_compile=True, **more))
    seconds = time.perf_counter() - begin
    while not trial.is_trained:
        trial.train_epoch()
    row = {
        "way": [architecture, precision, optimizer],
        "refusal": trial.xla_error,
        "compile_seconds": round(seconds, 1),
        "losses": losses(trial),
    }
    if "dropout" in architecture:
        return row
    plain = run(trial_of(ARCHITECTURES[architecture], jit_compile=False, **more))
    return {**row, "plain": losses(plain)}


def main() -> None:
    if "deterministic" in sys.argv:
        tf.config.experimental.enable_op_determinism()
    for way in ways_of(sys.argv[1]):
        print(json.dumps(row_of(*way)), flush=True)


if __name__ == "__main__":
    main()
