"""What trains on this machine, and how fast: the built-in architectures, a few steps each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.resources import Limits, Node, Request, concurrency, gpu_fraction, side_by_side
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell, load_space
from mnist_ray.train.calibration import Timing, time_cells

_PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
_LIMIT_SECONDS = 600.0
"""For all of them; on a GPU, compiling takes most of a minute."""
_BATCHES = {True: 512, False: 4}
"""How many batches are timed of each, by whether they run on a GPU, where one takes less than a
millisecond.
"""

_MNIST = DatasetInfo("", (28, 28), classes=10, train_images=60_000, test_images=10_000, sources={})


@dataclass(frozen=True)
class DeviceTrial:
    """One combination that was tried."""

    cell: Cell
    result: Timing | str
    """How it trains, or why it does not."""
    side_by_side: int
    """How many trials share the machine, or a card, by the memory that this one took."""

    @property
    def name(self) -> str:
        """The combination in words."""
        training = self.cell.training
        xla = "with XLA" if training.jit_compile else "no XLA"
        return f"{self.cell.architecture}, {training.precision}, {xla}"

    @property
    def remark(self) -> str:
        """What a person has to know of it beside its figures."""
        if isinstance(self.result, str):
            return self.result
        refusal = self.result.xla_error
        return f"trained without XLA, which cannot compile it: {refusal}" if refusal else ""

    @property
    def row(self) -> dict[str, str]:
        """Of the table; what did not train has no figures."""
        training = self.cell.training
        row = {
            "architecture": self.cell.architecture,
            "precision": str(training.precision),
            "XLA": "yes" if training.jit_compile else "no",
        }
        if isinstance(self.result, Timing):
            return row | _figures(self.result) | {"fit": str(self.side_by_side)}
        return row | dict.fromkeys(["steps/s", "trials/h", "compiles", "memory", "fit"], "-")


def _figures(timing: Timing) -> dict[str, str]:
    memory = (timing.gpu_memory_bytes or timing.memory_bytes) / 2**30
    return {
        "steps/s": f"{timing.steps_per_second:,.1f}",
        "trials/h": f"{3600 / timing.trial_seconds:,.1f}",
        "compiles": f"{timing.compile_seconds:.1f} s",
        "memory": f"{memory:.1f} GiB",
    }


@dataclass(frozen=True)
class DeviceTrials:
    """All that were tried."""

    trials: Sequence[DeviceTrial]
    node: Node
    """This machine, as Ray would find it."""
    on_gpus: bool

    @property
    def explanation(self) -> str:
        """What the table's figures mean, and what a sweep would do here."""
        canvas = _notebook_cells(larger=self.on_gpus)[0].canvas
        node = self.node if self.on_gpus else replace(self.node, gpus=0.0)
        space = load_space("notebook")
        allocator = ResourceAllocator(space, _MNIST, [node], Limits())
        trials = [Trial(cell, 0, 0, "") for cell in space.cells(_MNIST.image_shape)]
        requests = [allocator.request(trial) for trial in trials]
        memory = "the GPU" if self.on_gpus else "this machine"
        lines = [
            f"Trials are the notebook's, with {canvas}x{canvas} pixels, one at a time. Each "
            f"process compiles once. `fit` is how many trials {memory} holds at a time.",
            f"For each trial, a sweep of the notebook asks for {requests[-1]}: "
            f"{concurrency(requests, [node])} at a time.",
        ]
        remarks = [f"{trial.name}: {trial.remark}" for trial in self.trials if trial.remark]
        return "\n".join(lines + remarks)


def try_trials(node: Node, *, gpus: bool, cells: Sequence[Cell] = ()) -> DeviceTrials:
    """Train a few steps of each cell in each precision, with and without XLA, in a child process.

    Args:
        node: this machine.
        gpus: whether on its GPUs; otherwise on its CPUs.
        cells: what to train; else the notebook's architectures: on a GPU with its larger images, on
            CPUs with its smaller ones.
    """
    combinations = {
        str((cell.architecture, precision, uses_xla)): _variation(cell, precision, uses_xla)
        for cell in cells or _notebook_cells(larger=gpus)
        for precision in _PRECISIONS
        for uses_xla in (False, True)
    }
    results = time_cells(
        combinations,
        _MNIST,
        {},
        gpus=gpus,
        batches=_BATCHES[gpus],
        limit_seconds=_LIMIT_SECONDS,
    )
    trials = [
        DeviceTrial(cell, results[key], _side_by_side(results[key], node, gpus=gpus))
        for key, cell in combinations.items()
    ]
    return DeviceTrials(trials, node, gpus)


def _notebook_cells(*, larger: bool) -> list[Cell]:
    cells = load_space("notebook").cells(_MNIST.image_shape)
    canvas = (max if larger else min)(cell.canvas for cell in cells)
    return [cell for cell in cells if cell.canvas == canvas]


def _variation(cell: Cell, precision: str, uses_xla: bool) -> Cell:
    changed = {"precision": precision, "jit_compile": uses_xla}
    return replace(cell, training=cell.training.model_copy(update=changed))


def _side_by_side(result: Timing | str, node: Node, *, gpus: bool) -> int:
    """How many trials like that share the machine, or a card; 0 of what does not train."""
    if isinstance(result, str):
        return 0
    if gpus and result.gpu_memory_bytes:
        share = gpu_fraction(
            result.gpu_memory_bytes,
            gpu_memory_bytes=node.gpu_memory_bytes,
            cpus_per_gpu=node.cpus / max(node.gpus, 1),
        )
        return side_by_side(share)
    return concurrency([Request(1, 0.0, result.memory_bytes)], [node])
