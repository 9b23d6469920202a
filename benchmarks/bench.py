"""How fast a sweep is, beside a plain Keras loop on the same work and beside the machine's limits.

    make bench                        # the notebook's cells, 8 small trials, costs of the driver,
                                      # a slow bucket, 100,000 records
    PYTHONPATH=tests/support python benchmarks/bench.py --help

Both run as whole processes, in turn, as often as `--repeat` says; medians are reported. They have
the same models, images, batch size and number of epochs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from many_records import dry_run, many_records
from slow_bucket import compare_with_disk

from mnist_ray.data.dataset import Dataset, load_dataset
from mnist_ray.plan.costs import model_cost
from mnist_ray.plan.estimates import wall_seconds
from mnist_ray.space.space import Cell, load_space

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Work:
    """What both run."""

    name: str
    cells: tuple[str, ...]
    """As "architecture:shift"."""
    images: int
    trials: int


WORKS = (
    Work("four cells", ("feed_forward:0", "feed_forward:20", "cnn:0", "cnn:20"), 12_000, 2),
    Work("feed-forward network", ("feed_forward:0",), 60_000, 8),
)


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--work", choices=[work.name for work in WORKS], help="only this one")
    parser.add_argument(
        "--many",
        type=int,
        default=1000,
        help="trials of a tiny model (default: 1000; 0: nothing of what trials cost the driver)",
    )
    parser.add_argument(
        "--records",
        type=int,
        default=100_000,
        help="made-up records to read, plan and report, and a tenth of the trials of a dry run "
        "(default: 100000; 0: none)",
    )
    options = parser.parse_args()
    dataset = load_dataset("mnist", data=os.environ.get("MNIST_RAY_DATA") or None)
    limits = machine_limits()
    rates = f"{limits.operations / 1e9:.0f} GFLOP/s in a matrix product"
    print(f"machine: {cores_here()} cores; one core: {rates},")
    print(f"{limits.bytes / 1e9:.1f} GB/s in a copy")
    for work in WORKS:
        if options.work in (None, work.name):
            compare(work, dataset, limits, repeat=options.repeat)
    if options.many:
        driver_costs(options.many)
        compare_with_disk(options.many)
    if options.records:
        many_records(options.records)
        dry_run(10 * options.records)


def compare(work: Work, dataset: Dataset, limits: "Limits", *, repeat: int) -> None:
    """Time the sweep and the plain loop in turn, and print both."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        save(dataset, work.images, data)
        sweeps, loops = [], []
        for number in range(repeat):
            results = Path(folder) / f"results-{number}"
            sweeps.append(time_sweep(work, data, results))
            loops.append(time_loop(work, data))
        trials = pd.read_parquet(results / "bench" / "trials.parquet")
        space = load_space(str(Path(folder) / "bench.yaml"))
    ours, theirs = statistics.median(sweeps), statistics.median(loops)
    print(f"\n{work.name}: {work.trials} trials a cell, {work.images:,} images, 1 epoch")
    print(f"  sweep      {ours:7.1f} s   {spread(sweeps)}")
    print(f"  plain loop {theirs:7.1f} s   {spread(loops)}")
    print(f"  ratio      {ours / theirs:7.2f}")
    seconds = trials[["setup_seconds", "train_seconds", "evaluate_seconds"]].sum(axis=1)
    overhead = sweeps[-1] - wall_seconds(sorted(seconds, reverse=True), workers=cores_here())
    print(f"  overhead of the last sweep: {overhead:.1f} s beside its trials")
    for cell in space.cells(dataset.image_shape):
        share = achieved_share(cell, trials, limits, dataset, work.images)
        print(f"  {cell.architecture} {cell.variant}: {share:.0%} of one core's limit in training")


def spread(values: list[float]) -> str:
    """All runs, in order."""
    return "(" + ", ".join(f"{value:.1f}" for value in values) + ")"


def save(dataset: Dataset, images: int, path: Path) -> None:
    """The first `images` training images, and all test images."""
    np.savez(
        path,
        x_train=dataset.train_images[:images],
        y_train=dataset.train_labels[:images],
        x_test=dataset.test_images,
        y_test=dataset.test_labels,
    )


def time_sweep(work: Work, data: Path, results: Path) -> float:
    """Seconds of a whole sweep, from the command to its end."""
    architectures = {name: {} for name, _ in sorted(pairs(work))}
    variants = {f"shift_{shift}": {"shift": shift} for _, shift in sorted(pairs(work))}
    space = data.parent / "bench.yaml"
    space.write_text(
        "name: bench\n"
        f"dataset: {data}\n"
        f"architectures: {json.dumps(architectures)}\n"
        f"variants: {json.dumps(variants)}\n"
        f"trials: {work.trials}\n"
    )
    command = [sys.executable, "-m", "mnist_ray.sweep", str(space), "--results", str(results)]
    return timed([*command, "--quiet"])


def time_loop(work: Work, data: Path) -> float:
    """Seconds of the same with plain Keras."""
    command = [sys.executable, str(HERE / "plain_keras.py"), str(data), str(work.trials)]
    return timed([*command, *work.cells])


def timed(command: list[str]) -> float:
    """Seconds of a whole process."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def pairs(work: Work) -> list[tuple[str, int]]:
    """Architecture and shift of each cell."""
    return [(cell.split(":")[0], int(cell.split(":")[1])) for cell in work.cells]


def driver_costs(count: int) -> None:
    """Measure what so many tiny trials cost the driver, and what it takes in from workers."""
    command = [sys.executable, str(HERE / "driver_costs.py"), "--many", str(count)]
    subprocess.run(command, check=True)


# --- The machine's limits ---------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Of one core: floating-point operations and bytes a second."""

    operations: float
    bytes: float


def machine_limits() -> Limits:
    """Measured in a child process with one thread, as a trial has."""
    answer = subprocess.run(
        [sys.executable, str(HERE / "machine_limits.py")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    operations, copied = json.loads(answer.stdout.splitlines()[-1])
    return Limits(operations, copied)


def achieved_share(
    cell: Cell, trials: pd.DataFrame, limits: Limits, dataset: Dataset, images: int
) -> float:
    """The least time that training could take on one core, over the time that it took.

    Each step does its operations, and moves every weight: read forward and backward, its gradient
    written and read, and weight and two moments read and written by Adam (44 bytes a weight).
    """
    of_cell = trials[
        (trials["architecture"] == cell.architecture) & (trials["variant"] == cell.variant)
    ]
    cost = model_cost(cell, dataset.classes)
    trained = int(images * (1 - cell.training.validation_split))
    steps = -(-trained // cell.training.batch_size)
    computing = 3 * cost.operations * trained / limits.operations
    moving = 44 * cost.parameters * steps / limits.bytes
    return float(max(computing, moving) / of_cell["train_seconds"].mean())


if __name__ == "__main__":
    main()
