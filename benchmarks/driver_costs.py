"""What each trial costs the driver: processor time, memory, and bytes from its worker.

    python benchmarks/driver_costs.py --help

`make bench` runs it too. The sweeps are whole processes, as a person starts them.
"""

import argparse
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TINY = """
name: tiny
dataset: {data}
architectures: {{feed_forward: {{hidden_units: [8]}}}}
variants: {{centered: {{}}}}
"""
CNN = """
name: cnn
dataset: {data}
architectures: {{cnn: {{}}}}
variants: {{shifted: {{shift: 20}}}}
trials: 12
"""
_OF_A_SWEEP = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
}
"""Variables that a sweep sets for Ray, and `intake` for itself."""
# The driver's own processor time, without that of Ray's processes.
SWEEP = """
import resource, sys
from mnist_ray.sweep import main
code = main(sys.argv[1:])
usage = resource.getrusage(resource.RUSAGE_SELF)
print("COST", usage.ru_utime + usage.ru_stime)
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """Of a whole sweep.

    Attributes:
        wall_seconds: from the command to its end.
        cpu_seconds: of the driver.
        memory: bytes that the driver has when so many trials, by their number, are recorded.
    """

    wall_seconds: float
    cpu_seconds: float
    memory: dict[int, int]


def main() -> None:
    """Run what is asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--many", type=int, default=1000, help="tiny trials (default: 1000)")
    parser.add_argument(
        "--memory", type=int, default=10_000, help="tiny trials, for the memory (default: 10000)"
    )
    parser.add_argument(
        "--intake", type=int, default=20_000, help="trials without training (default: 20000)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.many:
            many_trials(options.many, Path(folder))
        if options.memory:
            memory(options.memory, Path(folder))
        if options.intake:
            print_in_child("intake", str(options.intake))
        print_in_child("models", folder)


def print_in_child(*arguments: str) -> None:
    """Run a part of this program by itself, where Ray has not been imported."""
    subprocess.run([sys.executable, __file__, *arguments], check=True)


def write_tiny(folder: Path) -> Path:
    """A space whose trials take a few milliseconds: 200 images of 8x8 pixels."""
    labels = np.arange(200) % 10
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), np.uint8)
    np.savez(folder / "tiny.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    space = folder / "tiny.yaml"
    space.write_text(TINY.format(data=folder / "tiny.npz"))
    return space


def run_sweep(space: Path, *, trials: int) -> Cost:
    """Run a sweep from nothing."""
    results = space.parent / f"results-{trials}-{time.time_ns()}"
    arguments = [str(space), "--results", str(results), "--trials", str(trials)]
    command = [sys.executable, "-c", SWEEP, *arguments]
    begin = time.perf_counter()
    memory, cpu = {}, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("["):
                done = int(line[1:].partition("/")[0])
                if done % 1000 == 0:
                    memory[done] = resident_bytes(process.pid)
            elif line.startswith("COST"):
                cpu = float(line.split()[1])
    return Cost(time.perf_counter() - begin, cpu, memory)


def resident_bytes(process_id: int) -> int:
    """Of a process of this machine, which runs Linux."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def many_trials(count: int, folder: Path) -> None:
    """Time so many trials of a tiny model, beside the start-up."""
    space = write_tiny(folder)
    few, many = run_sweep(space, trials=10), run_sweep(space, trials=10 + count)
    wall = (many.wall_seconds - few.wall_seconds) / count * 1e3
    cpu = (many.cpu_seconds - few.cpu_seconds) / count * 1e3
    print(f"\n{count} further trials of a tiny model: {wall:.2f} ms each, {cpu:.2f} ms of them of")
    print("the driver's processor time (with what the report takes longer)", flush=True)


def memory(count: int, folder: Path) -> None:
    """How much the driver grows from the thousandth trial on."""
    sizes = run_sweep(write_tiny(folder), trials=count).memory
    first, last = min(sizes), max(sizes)
    each = (sizes[last] - sizes[first]) / (last - first)
    print(f"driver's memory from trial {first} to {last}: {each / 1e3:.1f} kB each", flush=True)


# --- Parts that run in a process of their own -----------------------------------------------------


def models(folder: str) -> None:
    """Count what workers send of twelve trials of the notebook's shifted CNN on 2,000 images."""
    from mnist_ray.run.recorder import Recorder
    from mnist_ray.sweep import run_sweep as run

    sent: list[int] = []
    sizes: list[int] = []
    take_result = Recorder.on_trial_result

    def counting(self: Recorder, *arguments: Any, result: dict[str, Any], **rest: Any) -> None:
        ended = result.get("ended", ())
        sent.append(len(pickle.dumps(ended)))
        sizes.extend(each.model.archive.nbytes for each in ended if each.model)
        take_result(self, *arguments, result=result, **rest)

    Recorder.on_trial_result = counting  # type: ignore[method-assign]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2000, 28, 28), np.uint8)
    labels = np.arange(2000) % 10
    data, space = Path(folder) / "cnn.npz", Path(folder) / "cnn.yaml"
    np.savez(data, x_train=images, y_train=labels, x_test=images[:500], y_test=labels[:500])
    space.write_text(CNN.format(data=data))
    run(space, results=f"{folder}/cnn", quiet=True)
    print(
        f"12 trials of the shifted CNN: {sum(sent) / 1e6:.2f} MB from workers to driver, in which "
        f"{len(sizes)} models of {max(sizes) / 1e6:.2f} MB",
        flush=True,
    )


def intake(count: str) -> None:
    """Time how many trials a second the driver takes in from eight workers that answer at once."""
    os.environ.update(_OF_A_SWEEP)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init("local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            seconds, cpu = _take_in(int(count), Path(folder))
    finally:
        ray.shutdown()
    print(
        f"{count} trials that end at once, in 8 workers on {os.cpu_count()} cores: "
        f"{int(count) / seconds:.0f} a second; driver's processor time "
        f"{cpu / int(count) * 1e3:.2f} ms each",
        flush=True,
    )


def _take_in(count: int, folder: Path) -> tuple[float, float]:
    """Seconds from the first record to the last, and the driver's processor time meanwhile."""
    from instant_worker import InstantWorker

    from mnist_ray.data.dataset import load_dataset
    from mnist_ray.ledger.ledger import Ledger
    from mnist_ray.ledger.results_folder import ResultsFolder
    from mnist_ray.ledger.writer import LedgerWriter
    from mnist_ray.plan.allocation import ResourceAllocator
    from mnist_ray.plan.dataset_info import DatasetInfo
    from mnist_ray.plan.planner import Planner
    from mnist_ray.plan.resources import Limits, Node
    from mnist_ray.plan.trial_queue import TrialQueue
    from mnist_ray.run import runner
    from mnist_ray.run.model_keeper import ModelKeeper
    from mnist_ray.run.recorder import Recorder
    from mnist_ray.space.space import load_space

    space = load_space(str(write_tiny(folder))).override(trials=count)
    dataset = load_dataset(str(folder / "tiny.npz"))
    info = DatasetInfo.of(dataset, sources={})
    queue = TrialQueue(Planner(space, info).plan, {})
    results = ResultsFolder.open(folder / "results")
    ledger, heard = Ledger(results), Heard()
    with LedgerWriter(ledger, ledger.read()) as writer:
        recorder = Recorder(
            queue,
            dataset=dataset.name,
            allocator=ResourceAllocator(
                space, info, [Node(cpus=8, gpus=0, memory_bytes=64 << 30)], Limits()
            ),
            models=ModelKeeper(results, queue.plan, queue.counting, arriving=results),
            writer=writer,
            listener=heard,
            workers=8,
        )
        runner.run(recorder, trainable=InstantWorker, max_pending=16)
    recorder.report_written()
    return heard.seconds, heard.cpu_seconds


class Heard:
    """A listener that keeps the time."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self.seconds = self.cpu_seconds = 0.0

    def recorded(self, record: object, *, left: int) -> None:
        """Note when."""
        now = time.perf_counter(), time.process_time()
        self._first = self._first or now
        self.seconds, self.cpu_seconds = now[0] - self._first[0], now[1] - self._first[1]

    def lost(self, trial: object, reason: str) -> None:
        """Nothing."""

    def waiting(self, request: object) -> None:
        """Nothing."""


def run_part(arguments: Sequence[str]) -> None:
    """A part of this program, by its name."""
    {"models": models, "intake": intake}[arguments[0]](arguments[1])


if __name__ == "__main__":
    if len(sys.argv) == 3 and not sys.argv[1].startswith("-"):
        run_part(sys.argv[1:])
    else:
        main()
