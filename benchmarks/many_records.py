"""What it takes to read, plan and report many records; they are made up, and as large as real ones.

python benchmarks/many_records.py 100000
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from made_up import ACCURACIES, MadeUp, made_up_record, made_up_sweep, made_up_test_set
from pages import rebuild

from mnist_ray.analysis.reading import read_results
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.planner import plan
from mnist_ray.plan.trial import trials_of
from mnist_ray.space.space import Cell

_IMAGES = 10_000
_DIFFERENT = 500
"""Trials of a cell whose figures differ; those after them have the same ones again."""
_BATCH = 500


def main() -> None:
    """Make the records up and measure, or measure those in a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="of the records, in four cells")
    parser.add_argument("folder", nargs="?", help="where they are already")
    options = parser.parse_args()
    if options.folder:
        measure(options.count, ResultsFolder.open(options.folder))
    else:
        many_records(options.count)


def many_records(count: int) -> None:
    """Make `count` records up, then read, plan and report them in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write(count, ResultsFolder.open(folder))
        command = [sys.executable, __file__, str(count), folder]
        subprocess.run(command, check=True)


def write(count: int, folder: ResultsFolder) -> None:
    """Write a sweep of so many finished trials in the four usual cells."""
    labels = np.random.default_rng(0).integers(0, 10, _IMAGES).astype(np.int32)
    test_set = replace(made_up_test_set(_IMAGES, side=28), labels=labels)
    sweep = made_up_sweep({"trials": count // 4}, trials=1, test_set=test_set)
    replace(sweep, records={}).write(folder)
    for cell in sweep.space.cells(test_set.image_shape):
        records = list(records_of(cell, sweep, count // 4))
        for first in range(0, len(records), _BATCH):
            Ledger(folder).write(records[first : first + _BATCH])


def records_of(cell: Cell, sweep: MadeUp, count: int) -> Iterator[Record]:
    """Those of the first trials of a cell."""
    made: list[Record] = []
    for trial in trials_of(sweep.space, cell, sweep.dataset_info, count):
        if trial.index < _DIFFERENT:
            rng = np.random.default_rng(int(trial.key[:8], 16))
            accuracy = float(rng.normal(ACCURACIES[cell.architecture, cell.variant], 0.004))
            made.append(made_up_record(trial, accuracy, test_set=sweep.test_set, rng=rng))
        like = made[trial.index % _DIFFERENT]
        yield replace(like, key=trial.key, identity=trial.identity, trial_seed=trial.seeds.seed)


def measure(count: int, folder: ResultsFolder) -> None:
    """Print what each step takes, and the most memory that this process had."""
    records, read = timed(Ledger(folder).read)
    results = read_results(folder, records=records)
    sweep = made_up_sweep({"trials": count // 4}, trials=1, test_set=results.test_set)
    planned, planning = timed(lambda: plan(sweep.space, sweep.dataset_info, records))
    _, reporting = timed(lambda: rebuild(folder, records=records))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    size = sum(path.stat().st_size for path in Path(folder.path, "ledger").iterdir()) / 1e6
    print(f"\n{planned.settled:,} records of {_IMAGES:,} test images, {size:.0f} MB on disk")
    print(f"  read {read:.1f} s, planned {planning:.1f} s, reported {reporting:.1f} s")
    print(f"  at most {peak:.2f} GB of memory", flush=True)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and its seconds."""
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def dry_run(count: int) -> None:
    """Time the dry run of so many trials."""
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "large.yaml"
        space.write_text(
            "name: large\ndataset: digits\narchitectures: {feed_forward: {}, cnn: {}}\n"
            f"variants: {{centered: {{}}, shifted: {{shift: 4}}}}\ntrials: {count // 4}\n"
        )
        command = [sys.executable, "-m", "mnist_ray", "sweep", str(space), "--dry-run"]
        _, seconds = timed(
            lambda: subprocess.run(
                [*command, "--results", folder],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        )
    print(f"\ndry run of {count:,} trials: {seconds:.1f} s, calibration included")


if __name__ == "__main__":
    main()
