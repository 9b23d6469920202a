"""What trains on this machine, and how fast: the built-in architectures, a few steps each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnist_ray.plan.allocation import ResourceAllocator
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.resources import Limits, Node, Request, concurrency, gpu_fraction, side_by_side
from mnist_ray.plan.trial import Trial
from mnist_ray.space.space import Cell, Space, load_space
from mnist_ray.space.training import JitCompile
from mnist_ray.train.calibration import Timing, time_cells

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
LIMIT_SECONDS = 600.0
"""For all of them; on a GPU, compiling takes most of a minute."""
_BATCHES = {True: 512, False: 4}
"""That are timed of each, by whether it is on a GPU, where one takes less than a millisecond."""

_MNIST = DatasetInfo("", (28, 28), classes=10, train_images=60_000, test_images=10_000, sources={})


@dataclass(frozen=True)
class DeviceTrial:
    """One combination that was tried."""

    architecture: str
    precision: str
    uses_xla: bool
    timing: Timing | None
    """None where it does not train."""
    side_by_side: int
    """How many trials share the machine, or a card, by the memory that this one took."""
    error: str = ""
    """Why it does not train."""

    @property
    def name(self) -> str:
        """The combination in words."""
        return f"{self.architecture}, {self.precision}, {'with' if self.uses_xla else 'no'} XLA"

    @property
    def remark(self) -> str:
        """What a person has to know of it beside its figures."""
        refusal = self.timing.xla_error if self.timing else None
        return f"trained without XLA, which cannot compile it: {refusal}" if refusal else self.error


@dataclass(frozen=True)
class DeviceTrials:
    """All that were tried."""

    trials: Sequence[DeviceTrial]
    node: Node
    """This machine, as Ray would find it."""
    on_gpus: bool


def try_trials(
    node: Node, *, gpus: bool, cells: Sequence[Cell] = (), batches: int | None = None
) -> DeviceTrials:
    """Train a few steps of each cell in each precision, with and without XLA, in a child process.

    Args:
        node: this machine.
        gpus: whether on its GPUs; otherwise on its CPUs.
        cells: what to train; else the notebook's architectures: on a GPU with its larger images, on
            CPUs with its smaller ones.
        batches: how many are timed of each.
    """
    combinations = {
        str((cell.architecture, precision, uses_xla)): _variation(cell, precision, uses_xla)
        for cell in cells or _notebook_cells(larger=gpus)
        for precision in PRECISIONS
        for uses_xla in (False, True)
    }
    timings = time_cells(
        combinations,
        _MNIST,
        threads=1,
        code={},
        gpus=gpus,
        batches=batches or _BATCHES[gpus],
        limit_seconds=LIMIT_SECONDS,
    )
    trials = [_tried(cell, timings[key], node, gpus=gpus) for key, cell in combinations.items()]
    return DeviceTrials(trials, node, gpus)


HEADINGS = ("architecture", "precision", "XLA", "steps/s", "trials/h", "compiles", "memory", "fit")


def row(trial: DeviceTrial) -> tuple[str, ...]:
    """A row of the table with `HEADINGS`; what did not train has no figures."""
    uses_xla = "yes" if trial.uses_xla else "no"
    name = (trial.architecture, trial.precision, uses_xla)
    timing = trial.timing
    if timing is None:
        return (*name, *["-"] * 5)
    memory = (timing.gpu_memory_bytes or timing.memory_bytes) / 2**30
    return (
        *name,
        f"{timing.steps_per_second:,.1f}",
        f"{3600 / timing.trial_seconds:,.1f}",
        f"{timing.compile_seconds:.1f} s",
        f"{memory:.1f} GiB",
        str(trial.side_by_side),
    )


def explanation(trained: DeviceTrials) -> str:
    """What the table's figures mean, and what a sweep would do here."""
    canvas = _notebook_cells(larger=trained.on_gpus)[0].canvas
    node = trained.node if trained.on_gpus else replace(trained.node, gpus=0.0)
    requests = _planned_requests(node)
    at_a_time = concurrency(requests, [node])
    memory = "the GPU" if trained.on_gpus else "this machine"
    lines = [
        f"Trials are the notebook's, with {canvas}x{canvas} pixels, one at a time. Each process "
        f"compiles once. `fit` is how many trials {memory} holds at a time.",
        f"For each trial, a sweep of the notebook asks for {requests[-1]}: {at_a_time} at a time.",
    ]
    remarks = [f"{trial.name}: {trial.remark}" for trial in trained.trials if trial.remark]
    return "\n".join(lines + remarks)


def _planned_requests(node: Node) -> list[Request]:
    space = load_space("notebook")
    allocator = ResourceAllocator(space, _MNIST, [node], Limits())
    return [allocator.request(Trial(cell, 0, 0, "")) for cell in _cells(space)]


def _notebook_cells(*, larger: bool) -> list[Cell]:
    cells = _cells(load_space("notebook"))
    canvas = (max if larger else min)(cell.canvas for cell in cells)
    return [cell for cell in cells if cell.canvas == canvas]


def _cells(space: Space) -> list[Cell]:
    return space.cells(_MNIST.image_shape)


def _variation(cell: Cell, precision: str, jit_compile: JitCompile) -> Cell:
    changed = {"precision": precision, "jit_compile": jit_compile}
    return replace(cell, training=cell.training.model_copy(update=changed))


def _tried(cell: Cell, result: Timing | str, node: Node, *, gpus: bool) -> DeviceTrial:
    timing = result if isinstance(result, Timing) else None
    return DeviceTrial(
        architecture=cell.architecture,
        precision=str(cell.training.precision),
        uses_xla=cell.training.jit_compile is True,
        timing=timing,
        side_by_side=_side_by_side(timing, node, gpus=gpus) if timing else 0,
        error="" if isinstance(result, Timing) else result,
    )


def _side_by_side(timing: Timing, node: Node, *, gpus: bool) -> int:
    if gpus and timing.gpu_memory_bytes:
        share = gpu_fraction(
            timing.gpu_memory_bytes,
            gpu_memory_bytes=node.gpu_memory_bytes,
            cpus_per_gpu=node.cpus / max(node.gpus, 1),
        )
        return side_by_side(share)
    return concurrency([Request(1, 0.0, timing.memory_bytes)], [node])
