"""Blocks of trials run through Ray Tune, in workers that stay for the next one.

Ray Tune asks what to run next, and hands back what its workers return; the recorder does the rest.
Ray Tune's own state of the experiment is not needed: it lies in a temporary folder that is deleted
afterwards.
"""

import logging
import os
import tempfile
from typing import Any

from ray import tune
from ray.exceptions import ObjectLostError
from ray.tune.search import Searcher

from mnist_ray.run.recorder import Recorder

_LOG = logging.getLogger(__name__)


def run(recorder: Recorder, *, trainable: Any, max_pending: int, scheduler: Any = None) -> None:
    """Run what the recorder's queue submits until it is done.

    Args:
        recorder: takes in what comes back.
        trainable: what Ray Tune runs blocks in; a `mnist_ray.run.worker.BlockWorker`.
        max_pending: how many blocks may wait for resources at once. A cluster grows by them.
        scheduler: of Ray Tune, for early stopping.

    Raises:
        InputError: the trials cannot run on what there is.
        StorageError: results cannot be written any more.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max_pending)
    with tempfile.TemporaryDirectory(prefix="mnist_ray-", ignore_cleanup_errors=True) as folder:
        while recorder.queue.left:  # Once, unless a result is lost on its way.
            _fit(_tuner(trainable, recorder, scheduler, folder), recorder)


def _tuner(trainable: Any, recorder: Recorder, scheduler: Any, folder: str) -> tune.Tuner:
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=_BlockSource(recorder),
            num_samples=-1,
            reuse_actors=True,
            scheduler=scheduler,
            trial_name_creator=lambda trial: str(trial.trial_id),
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="trials",
            verbose=0,
            # In a notebook Ray Tune's default would clear the cell, although it is to be quiet.
            progress_reporter=tune.CLIReporter(),
            failure_config=tune.FailureConfig(max_failures=0),  # The recorder decides.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
            callbacks=[recorder],
            storage_path=folder,
        ),
    )


def _fit(tuner: tune.Tuner, recorder: Recorder) -> None:
    """Run until the queue is done, or until a result is lost on its way."""
    try:
        tuner.fit()
    except Exception as error:
        # Ray Tune replaces what a callback raises by an error with its traceback as text.
        if recorder.error:
            raise recorder.error from None
        if not isinstance(error.__cause__, ObjectLostError):
            raise
        # A trial had ended, and its machine was lost before the driver had fetched the result.
        # Ray Tune gives up all trials then. The queue still has them.
        _LOG.warning("A machine was lost with the result of a trial; what ran starts again.")
        recorder.queue.requeue_all()
    if recorder.error:
        raise recorder.error


class _BlockSource(Searcher):  # type: ignore[misc]
    """What Ray Tune takes for a search algorithm: the recorder's next block."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        block = self._recorder.next_block(trial_id)
        if block is not None:
            return {"block": block}
        # While trials run, one of them may have to start again.
        return None if self._recorder.queue.left else Searcher.FINISHED

    def _ignore(self, *arguments: Any, **keywords: Any) -> None:
        """Nothing: the recorder hears of trials as a callback, and the ledger is the state."""

    on_trial_complete = save = restore = _ignore
