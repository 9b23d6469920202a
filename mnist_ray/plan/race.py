"""How many trials each configuration of a batch gets, from what is recorded of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mnist_ray.ledger.record import Status
from mnist_ray.stats.racing import survivors


@dataclass(frozen=True)
class Progress:
    """What is recorded of a configuration's trials, from index 0 on, up to the first gap.

    Attributes:
        scores: validation accuracies of the trials that finished, up to the first that did not.
        broken_off: how that one ended; None where it has not ended.
    """

    scores: tuple[float, ...]
    broken_off: Status | None = None


def trials_without_race(progress: Progress, *, trials_each: int) -> int:
    """How many trials to ask for: all, but none after one that ended without finishing.

    The mean that the search compares is over all trials, so such a configuration has none.
    """
    return len(progress.scores) + 1 if progress.broken_off else trials_each


def trials_of_race(progress: Sequence[Progress], *, trials_each: int) -> list[int]:
    """How many trials each configuration is asked for, as far as the race can be decided.

    After each index that all racing configurations have finished, those that are significantly
    worse than the best drop out. A configuration with a trial that ended without finishing cannot
    win, so it is excluded. Others may have dropped out only because they were worse than that one:
    the race starts again without it.
    """
    asked: dict[int, int] = {}
    entrants = set(range(len(progress)))
    excluded = None
    while excluded != set():
        counts, excluded = _run(progress, entrants, trials_each)
        asked |= counts
        entrants -= excluded
    return [asked[number] for number in range(len(progress))]


def _run(
    progress: Sequence[Progress], entrants: Collection[int], trials_each: int
) -> tuple[dict[int, int], set[int]]:
    """The trials that each entrant is asked for, and those that are then to be excluded."""
    asked: dict[int, int] = {}
    racing = sorted(entrants)
    for finished in range(trials_each):
        if finished >= 2:
            scores = tuple(progress[number].scores[:finished] for number in racing)
            staying = _survivors(scores, trials_each - 2)
            racing = [number for place, number in enumerate(racing) if place in staying]
        asked |= dict.fromkeys(racing, finished + 1)
        behind = {number for number in racing if len(progress[number].scores) == finished}
        if behind:
            is_waiting = any(progress[number].broken_off is None for number in behind)
            return asked, set() if is_waiting else behind
    return asked, set()


# A plan is made after each record, and most often nothing has changed in most of the races.
@lru_cache(maxsize=4096)
def _survivors(scores: tuple[tuple[float, ...], ...], looks: int) -> frozenset[int]:
    return frozenset(survivors(scores, looks=looks))
