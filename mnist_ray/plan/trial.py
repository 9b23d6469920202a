"""A trial: one training of a fresh model in one cell, and its permanent key."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mnist_ray.ledger.identity import JSON, PROTOCOL, canonical_around, digest, digest_of_text
from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.seeds import TrialSeeds, trial_seeds
from mnist_ray.space.sources import Source
from mnist_ray.space.space import Cell, Space


@dataclass(frozen=True)
class Trial:
    """Trial `index` (from 0) of `cell`, on the data set with `fingerprint`."""

    cell: Cell
    index: int
    seed: int
    """The sweep's seed; what the trial draws from are its `seeds`."""
    fingerprint: str
    """Of the data set's content."""
    source_digest: str | None = None
    """Of the source of a user's own architecture; None for the built-in ones."""
    source: Source | None = None
    """What it draws from its own stream, and all else from that of trial 0; None for an ordinary
    trial, which draws all from its own."""
    transform_digest: str | None = None
    """Of the source of the variant's transform; None where it has none."""

    @cached_property
    def cell_identity(self) -> JSON:
        """All that changes the result of every trial of the cell, and nothing else.

        Names, paths, threads, the number of trials and the extra test sets are left out on purpose.
        """
        return {
            "protocol": PROTOCOL,
            "data": self.fingerprint,
            "builder": self.cell.builder,
            "source": self.source_digest,
            "hyperparameters": self.cell.hyperparameters,
            **self.cell.presentation.identity(self.transform_digest),
            "training": self.cell.training_identity,
            "seed": self.seed,
        }

    @cached_property
    def key(self) -> str:
        """The hash of the trial's identity: 32 hexadecimal digits, equal if and only if the result
        is."""
        before, after = self._around_index
        return digest_of_text(f"{before}{self.index}{after}")

    @property
    def identity(self) -> JSON:
        varied = {} if self.source is None else {"varied": self.source.value}
        return {**self.cell_identity, "trial": self.index, **varied}

    @cached_property
    def _around_index(self) -> tuple[str, str]:
        return canonical_around(self.identity, "trial")

    def with_index(self, index: int) -> "Trial":
        """Another trial of the same cell, for which what they share is not worked out again."""
        other = replace(self, index=index)
        shared = ("cell_identity", "cell_key", "_around_index")
        vars(other).update({name: getattr(self, name) for name in shared})
        return other

    @property
    def seeds(self) -> TrialSeeds:
        return trial_seeds(self.seed, self.index, self.source)

    @cached_property
    def cell_key(self) -> str:
        """The identity of the trial's cell: what its trials have in common."""
        return digest(self.cell_identity)

    def record(self, dataset: str, status: Status, **figures: Any) -> Record:
        """The trial's record: how it ended on the data set of that name, and its figures."""
        return Record(
            key=self.key,
            identity=self.identity,
            dataset=dataset,
            architecture=self.cell.architecture,
            variant=self.cell.variant,
            trial_seed=self.seeds.seed,
            status=status,
            **figures,
        )


def trials_of(
    space: Space,
    cell: Cell,
    dataset_info: DatasetInfo,
    count: int,
    *,
    first: int = 0,
    source: Source | None = None,
) -> tuple[Trial, ...]:
    """`count` trials of a cell, from index `first` on; those that vary `source` if one is given."""
    sources = dataset_info.sources
    code = sources.get(cell.builder)
    transform = sources.get(cell.transform.function) if cell.transform else None
    trial = Trial(cell, first, space.seed, dataset_info.fingerprint, code, source, transform)
    return tuple(trial.with_index(index) for index in range(first, first + count))


def sources_of(space: Space, cell: Cell) -> tuple[Source, ...]:
    """Those that the space asks for and the cell has, in the space's order."""
    asked = space.spread.sources if space.spread else ()
    return tuple(source for source in asked if cell.has(source))


def source_trials(
    space: Space, cells: Iterable[Cell], dataset_info: DatasetInfo
) -> tuple[Trial, ...]:
    """All trials that vary one source alone.

    They begin with index 1: with index 0 all that is drawn would be that of ordinary trial 0.
    """
    if space.spread is None:
        return ()
    count = space.spread.trials
    return tuple(
        trial
        for cell in cells
        for source in sources_of(space, cell)
        for trial in trials_of(space, cell, dataset_info, count, first=1, source=source)
    )


def left_out_sentences(space: Space, cells: Iterable[Cell]) -> list[str]:
    """Which of the sources asked for some cells do not have, a sentence each."""
    lacking: dict[Source, dict[str, None]] = {}
    for cell in cells:
        for source in space.spread.sources if space.spread else ():
            if not cell.has(source):
                name = f"{cell.architecture} ({cell.variant})"
                lacking.setdefault(source, {})[name] = None
    return [
        f"No trials vary {source} alone for {', '.join(names)}, which "
        f"{'has' if len(names) == 1 else 'have'} no {source}."
        for source, names in lacking.items()
    ]
