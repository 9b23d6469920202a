"""Of each cell the model of its lowest finished trial, and which trials hand theirs over."""

import sys
from collections.abc import Callable, Mapping
from functools import partial

from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.block import Block
from mnist_ray.plan.plan import Plan
from mnist_ray.run.exchange import EndedTrial, TrainedModel

_ASKED_AT_ONCE = 2
"""How many blocks of a cell without a model are asked for one at a time. If the lowest trial fails,
there is the model of the next one. If all were asked, a cluster would send as many models as it has
cores.
"""
_NONE = sys.maxsize


class ModelKeeper:
    """Keeps of each cell the model of its lowest finished trial.

    That one is there early, and no later trial replaces it. No other trial's model is worth sending
    to the driver. So a block is asked for its model when a worker starts with it, only if it is
    lower than that of the model that there is, and not where two lower blocks are already asked.
    """

    def __init__(
        self,
        folder: ResultsFolder,
        plan: Plan,
        records: Mapping[str, Record],
        *,
        arriving: ResultsFolder,
    ) -> None:
        """Find what there is; in `arriving` lie models that workers write themselves."""
        self._folder, self._arriving = folder, arriving
        self._kept = _kept(folder, plan, records)
        """By a cell's key, the index of the trial whose model there is."""
        self._asked: dict[str, list[Block]] = {}
        """By a cell's key, the blocks that run and were asked for a model."""

    def ask(self, block: Block) -> None:
        """Ask a block that has not started for its model, if that may be kept."""
        self.dismiss(block)
        first = block.first
        kept = self._kept.get(first.cell_key, _NONE)
        asked = self._asked.setdefault(first.cell_key, [])
        lower = sum(other.first.index < first.index for other in asked)
        is_asked = not first.source and first.index < kept and lower < _ASKED_AT_ONCE
        block.models_below = kept if is_asked else 0
        if is_asked:
            asked.append(block)

    def dismiss(self, block: Block) -> None:
        """The block has ended."""
        asked = self._asked.get(block.first.cell_key, [])
        if block in asked:
            asked.remove(block)

    def keep(self, ended: EndedTrial, cell_key: str) -> Callable[[], None] | None:
        """Keep the model of a finished trial if no lower trial of its cell has one.

        What is returned writes it; None where there is nothing to write. It is to be called before
        the trial's record is written, and in the order of the calls of this.
        """
        record, model = ended.record, ended.model
        if model is None:
            return None
        if record.trial < self._kept.get(cell_key, _NONE):
            self._kept[cell_key] = record.trial
            return partial(self._write, record, model, cell_key)
        if model.archive is None:
            return partial(self._arriving.delete, self._arriving.arriving_model(record.key))
        return None

    def _write(self, record: Record, model: TrainedModel, cell_key: str) -> None:
        folder, label = self._folder, f"{record.architecture}-{record.variant}"
        name = folder.model(label, cell_key)
        if model.archive is None:
            folder.take(self._arriving, self._arriving.arriving_model(record.key), name)
        else:
            folder.write(name, model.archive.data)
        folder.write(folder.model_summary(label, cell_key), model.summary.encode())


def _kept(folder: ResultsFolder, plan: Plan, records: Mapping[str, Record]) -> dict[str, int]:
    """The lowest finished trial of each cell that has a model."""
    lowest: dict[str, int] = {}
    for trial in plan.wanted:
        record = records.get(trial.key)
        if record and record.status is Status.FINISHED and not trial.source:
            lowest[trial.cell_key] = min(trial.index, lowest.get(trial.cell_key, _NONE))
    with_model = folder.models()
    return {key: index for key, index in lowest.items() if key[:8] in with_model}
