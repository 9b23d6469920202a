"""Blocks: trials of one cell that a worker runs one after the other.

Each start costs the driver about ten milliseconds. It therefore starts blocks, so that its own work
grows with the seconds of training and not with the number of trials.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from mnist_ray.ledger.record import Record, Status
from mnist_ray.plan.resources import Request
from mnist_ray.plan.trial import Trial

_BLOCK_SECONDS = 2.0
_DRIVER_SECONDS = 0.02
"""Twice what the driver spends on a block, so that it is at most half busy with blocks."""
_REMEMBERED = 5
_SHORTEST_SECONDS = 1e-3


@dataclass(eq=False)
class Block:
    """Trials of one cell that a worker runs one after the other.

    Attributes:
        trials: at least one.
        request: what each is given of the machine.
        reports_epochs: whether every epoch is reported, so that the trial, which is then alone, can
            be stopped after it.
        resumes: whether the trial, which is then alone, was started before and lost its process, so
            that there may be a checkpoint to go on from.
        test_code: the digests of the transforms of other test sets, which the trials run too.
        models_below: a trial with a lower index hands over its model. It may be changed until a
            worker starts with the block.
    """

    trials: tuple[Trial, ...]
    request: Request
    reports_epochs: bool = False
    resumes: bool = False
    test_code: Mapping[str, str | None] = field(default_factory=dict)
    models_below: int = 0

    @property
    def first(self) -> Trial:
        return self.trials[0]

    def __repr__(self) -> str:
        return self.first.key  # Ray Tune makes names of it.

    def __deepcopy__(self, memo: object) -> Self:
        return self  # Ray Tune copies the configuration of each of its trials.


class BlockSizes:
    """How many trials make a block: guided self-scheduling.

    A block has about two seconds of expected work, and more where there are so many workers that
    the driver could not keep up. It never has more than half of the waiting trials per worker, so
    that all workers end at about the same time. See Polychronopoulos and Kuck, "Guided
    self-scheduling", IEEE Transactions on Computers 36 (1987).
    """

    def __init__(self, *, workers: int, records: Iterable[Record] = ()) -> None:
        """Make ready for so many workers; `records` say how long trials have taken."""
        self._workers = workers
        self._seconds: dict[str, deque[float]] = {}
        self.learn(records)

    def learn(self, records: Iterable[Record]) -> None:
        """Learn how long finished trials took."""
        for record in records:
            if record.status is Status.FINISHED:
                known = self._seconds.setdefault(record.cell_key, deque(maxlen=_REMEMBERED))
                known.append(max(record.costs.seconds, _SHORTEST_SECONDS))

    def size(self, trial: Trial, *, waiting: int) -> int:
        """How many trials of that cell make a block, the first included.

        One where no trial of the cell is known. The median of the last few trials counts, since the
        first one in a process takes longer.
        """
        known = self._seconds.get(trial.cell_key)
        if not known:
            return 1
        aim = max(_BLOCK_SECONDS, self._workers * _DRIVER_SECONDS)
        fair = waiting // (2 * self._workers)
        return max(1, min(math.ceil(aim / median(known)), fair))
