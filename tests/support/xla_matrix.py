"""What XLA compiles, as a program of its own: TensorFlow is set up once in a process.

    python tests/support/xla_matrix.py WAYS [deterministic]

prints, for each architecture, precision and optimizer: why XLA does not compile it, the seconds
until it is compiled, and its losses and those of the plain graph. WAYS is `all`, or `few` for Adam
in float32 alone.
"""

import itertools
import json
import sys
import time
from dataclasses import asdict
from typing import get_args

import tensorflow as tf
from small_trials import CONVOLUTIONAL, DENSE, WITH_DROPOUT, run, started, trial_of

from mnist_ray.space.hyperparameters import Optimizer, Precision
from mnist_ray.train.trial_run import TrialRun

ARCHITECTURES = {
    "feed_forward": DENSE,
    "feed_forward, dropout": {**DENSE, "dropout": 0.4},
    "cnn": CONVOLUTIONAL,
    "cnn, dropout": WITH_DROPOUT,
}


def all_ways() -> list[tuple[str, str, str]]:
    """Architecture, precision and optimizer of each row."""
    return list(itertools.product(ARCHITECTURES, get_args(Precision), get_args(Optimizer)))


def losses(trained: TrialRun) -> list[float]:
    """Of training and of the test images."""
    epochs = [asdict(epoch)["train_loss"] for epoch in trained.epochs]
    return [*epochs, trained.evaluate(trained.trial.cell.shift).loss]


def main() -> None:
    if "deterministic" in sys.argv:
        tf.config.experimental.enable_op_determinism()
    for architecture, precision, optimizer in all_ways():
        if "few" in sys.argv and (precision, optimizer) != ("float32", "adam"):
            continue
        training = {"precision": precision, "optimizer": optimizer, "epochs": 3, "batch_size": 32}
        more = {"variant": {"shift": 2}, **training}
        begin = time.perf_counter()
        trial = started(trial_of(ARCHITECTURES[architecture], jit_compile=True, **more))
        seconds = time.perf_counter() - begin
        while not trial.is_trained:
            trial.train_epoch()
        plain = run(trial_of(ARCHITECTURES[architecture], jit_compile=False, **more))
        row = {
            "way": [architecture, precision, optimizer],
            "refusal": trial.xla_error,
            "compile_seconds": round(seconds, 1),
            "losses": losses(trial),
            "plain": losses(plain),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
