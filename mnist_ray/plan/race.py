"""How many trials each configuration of a batch gets, from what is recorded of them."""

from collections.abc import Sequence
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


class Race:
    """Decides, trial index by trial index, how many trials each configuration is asked for.

    After each index that all racing configurations have finished, those that are significantly
    worse than the best drop out. A configuration with a trial that ended without finishing cannot
    win, so it is excluded. Others may have dropped out only because they were worse than that one:
    the race starts again without it.
    """

    def __init__(self, progress: Sequence[Progress], *, trials_each: int) -> None:
        self._progress, self._trials_each = progress, trials_each
        self._entrants = set(range(len(progress)))
        self._asked = [0] * len(progress)
        self._start()

    def run(self) -> list[int]:
        """The trials that each configuration is asked for, as far as the race can be decided."""
        while self._racing and self._index < self._trials_each:
            for number in self._racing:
                self._asked[number] = self._index + 1
            behind = {n for n in self._racing if len(self._progress[n].scores) == self._index}
            if any(self._progress[number].broken_off is None for number in behind):
                break
            if behind:
                self._entrants -= behind
                self._start()
            else:
                self._advance()
        return self._asked

    def _start(self) -> None:
        self._racing, self._index = frozenset(self._entrants), 0
        for number in self._entrants:
            self._asked[number] = 0

    def _advance(self) -> None:
        """All racing configurations have finished the trial of this index."""
        self._index += 1
        if 2 <= self._index < self._trials_each:
            numbers = tuple(sorted(self._racing))
            scores = tuple(self._progress[number].scores[: self._index] for number in numbers)
            self._racing = frozenset(
                numbers[place] for place in _survivors(scores, self._trials_each - 2)
            )


# A plan is made after each record, and most often nothing has changed in most of the races.
@lru_cache(maxsize=4096)
def _survivors(scores: tuple[tuple[float, ...], ...], looks: int) -> frozenset[int]:
    return frozenset(survivors(scores, looks=looks))
