"""How much of a machine a trial gets: pure arithmetic on the cells and the machine's size."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

_SMALLEST_CLASS = 1 << 30
_RAY_STEPS = 10_000


@dataclass(frozen=True)
class CellWorkload:
    """The trials of one cell, as far as their size matters."""

    trials: int
    operations: float
    memory_bytes: int
    gpu_memory_bytes: int = 0


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster has to give, in Ray's units."""

    cpus: float
    gpus: float
    memory_bytes: float
    gpu_memory_bytes: float = 0.0
    """Of one card."""
    gpu_names: tuple[str, ...] = ()
    """Of its cards, as far as they are known."""

    def __str__(self) -> str:
        return _in_words(self.cpus, self.gpus, self.memory_bytes)


@dataclass(frozen=True)
class Limits:
    """What a person asked for in place of what follows from the machine."""

    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None


@dataclass(frozen=True)
class Request:
    """What one trial asks Ray for."""

    cpus: int
    gpus: float
    memory_bytes: int

    def fits(self, node: Node) -> bool:
        """Whether a node that does nothing else can hold the trial."""
        return self.times_in(node) >= 1

    def times_in(self, node: Node) -> float:
        """How many such trials such a node has room for, fractions included."""
        there = {"CPU": node.cpus, "GPU": node.gpus, "memory": node.memory_bytes}
        return min(there[name] / amount for name, amount in self.to_ray().items())

    def __str__(self) -> str:
        return _in_words(self.cpus, self.gpus, self.memory_bytes)

    def to_ray(self) -> dict[str, float]:
        """As a bundle of Ray's resources."""
        bundle = {"CPU": float(self.cpus), "GPU": self.gpus, "memory": float(self.memory_bytes)}
        return {name: amount for name, amount in bundle.items() if amount}


def _in_words(cpus: float, gpus: float, memory_bytes: float) -> str:
    of_gpus = f", {gpus:g} GPUs" if gpus else ""
    return f"{cpus:g} CPUs{of_gpus}, {memory_bytes / 1e9:.1f} GB of memory"


def threads(work: Mapping[str, CellWorkload], cores: int) -> dict[str, int]:
    """CPU threads for a trial of each cell.

    One, where there are at least as many trials as cores: single-threaded trials side by side
    finish more than one trial with many threads. Otherwise the spare cores go to the cells whose
    trials would be done last. It depends on the space and the cores alone, since it changes the
    last bits of the figures. `work` holds, by cell, all trials that the space asks for, recorded or
    not.
    """
    given = dict.fromkeys(work, 1)
    spare = cores - sum(cell.trials for cell in work.values())
    while True:
        fitting = [key for key, cell in work.items() if 0 < cell.trials <= spare]
        if not fitting:
            return given
        slowest = max(fitting, key=lambda key: work[key].operations / given[key])
        given[slowest] += 1
        spare -= work[slowest].trials


def memory_classes(work: Mapping[str, CellWorkload], node: Node) -> dict[str, int]:
    """Bytes that a trial of each cell asks for: few different amounts, so that workers are reused.

    One amount for all where as many of the largest fit as the node has cores; otherwise each
    cell's estimate, rounded up to a power of two where the node has that.
    """
    largest = max((cell.memory_bytes for cell in work.values()), default=0)
    if largest * max(node.cpus, 1) <= node.memory_bytes:
        return dict.fromkeys(work, largest)
    # What fits must not be rounded up to what does not.
    available = int(node.memory_bytes)
    return {
        key: max(cell.memory_bytes, min(memory_class(cell.memory_bytes), available))
        for key, cell in work.items()
    }


def gpu_fraction(memory_bytes: int, *, gpu_memory_bytes: float, cpus_per_gpu: float) -> float:
    """The share of a GPU for a trial, so that several small ones fill a card.

    As many trials as its memory holds, but no more than there are cores to feed them, and no more
    than eight: beyond that they only wait for each other. `memory_bytes` is what a trial needs,
    `gpu_memory_bytes` what a card has.
    """
    fitting = gpu_memory_bytes // max(memory_bytes, 1)
    return gpu_share(min(int(fitting), int(cpus_per_gpu), 8))


def gpu_share(trials: int) -> float:
    """The share of a GPU with which `trials` run on it side by side; all of it for less than 2."""
    # Ray counts in steps of 1/10,000, to the nearest: six times 0.1667 would be more than a card.
    return (_RAY_STEPS // max(1, trials)) / _RAY_STEPS


def side_by_side(share: float) -> int:
    """How many trials with that share of a GPU run on it side by side; 1 for whole GPUs."""
    return max(1, _RAY_STEPS // max(1, round(share * _RAY_STEPS)))


def concurrency(requests: Collection[Request], nodes: Sequence[Node]) -> int:
    """How many trials of the largest request run at once on all nodes; one at least."""
    largest = max(requests, key=lambda request: (request.gpus, request.memory_bytes, request.cpus))
    return max(1, sum(math.floor(largest.times_in(node) + 1e-9) for node in nodes))


def memory_class(memory_bytes: int) -> int:
    """`memory_bytes` rounded up to a power of two, and to 1 GiB at least."""
    return max(_SMALLEST_CLASS, 1 << (memory_bytes - 1).bit_length())
