"""Prints [operations a second of a matrix product, bytes a second of a copy] of one core."""

import json
import time

import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def best(action: object, *, times: int) -> float:
    """Seconds of the fastest of so many calls, after one to warm up."""
    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        action()  # type: ignore[operator]
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


SIZE = 1536
matrix = tf.random.normal((SIZE, SIZE))
product = best(lambda: tf.linalg.matmul(matrix, matrix).numpy(), times=10)
source, target = np.ones(1 << 26), np.empty(1 << 26)
copy = best(lambda: np.copyto(target, source), times=5)
print(json.dumps([2 * SIZE**3 / product, 2 * source.nbytes / copy]))
