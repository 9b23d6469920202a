"""The trials that tell where the spread of a cell comes from: each varies one source alone."""

from collections.abc import Iterable

from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.trial import Trial, trials_of
from mnist_ray.space.sources import Source
from mnist_ray.space.space import Cell, Space


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
