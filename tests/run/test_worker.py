"""A worker without Ray around it, as Ray Tune drives it."""

import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from object_storage import ObjectStorage
from ray import tune
from ray.tune.result import DONE

from mnist_ray.data.dataset import Dataset, load_dataset
from mnist_ray.ledger import results_folder as results
from mnist_ray.ledger.record import Costs, Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.block import Block
from mnist_ray.plan.resources import Request
from mnist_ray.plan.test_sets import TestSets
from mnist_ray.plan.trial import Trial
from mnist_ray.run import worker as workers
from mnist_ray.run.exchange import EndedTrial, SharedInputs
from mnist_ray.run.worker import BlockWorker
from mnist_ray.space.custom_code import modules_of
from mnist_ray.space.space import Cell
from mnist_ray.space.training import Training
from mnist_ray.space.variants import Transform

pytestmark = pytest.mark.usefixtures("tensorflow")

EPOCHS = 4
CELL = Cell(
    architecture="feed_forward",
    builder="feed_forward",
    hyperparameters={"hidden_units": [16], "dropout": 0.3},
    variant="shifted",
    shift=4,
    canvas=32,
    training=Training(epochs=EPOCHS),
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    whole = load_dataset("digits")
    return replace(
        whole,
        train_images=whole.train_images[:400],
        train_labels=whole.train_labels[:400],
        test_images=whole.test_images[:100],
        test_labels=whole.test_labels[:100],
    )


@pytest.fixture
def context(dataset: Dataset, tmp_path: Path) -> SharedInputs:
    """Of a trial that is never checkpointed."""
    return SharedInputs(
        dataset=dataset,
        code={},
        tests=TestSets(),
        checkpoint_seconds=math.inf,
        checkpoints=ResultsFolder.open(tmp_path / "no checkpoints"),
        git_commit=None,
    )


@pytest.fixture
def shared(context: SharedInputs, object_storage: ObjectStorage) -> SharedInputs:
    """Of a trial that is checkpointed after every epoch, on object storage."""
    folder = ResultsFolder.open(object_storage.uri("results"), "sweep")
    folder.check_writable()
    return replace(context, checkpoint_seconds=0.0, checkpoints=folder.checkpoints("run"))


@pytest.fixture
def epochs_trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every epoch that is trained."""
    from mnist_ray.train.trial_run import TrialRun

    trained: list[int] = []
    train_epoch = TrialRun.train_epoch

    def counted(run: TrialRun) -> Any:
        trained.append(1)
        return train_epoch(run)

    monkeypatch.setattr(TrialRun, "train_epoch", counted)
    return trained


def worker_for(
    context: SharedInputs,
    *,
    cell: Cell = CELL,
    reports_epochs: bool = False,
    resumes: bool = False,
    gpus: float = 0.0,
    first: int = 0,
    trials: int = 1,
    models_below: int = 0,
) -> BlockWorker:
    class Worker(BlockWorker):
        def setup(self, config: dict[str, Any]) -> None:  # type: ignore[override]
            super().setup(config, context)

    block = Block(
        tuple(
            Trial(cell, index, 0, context.dataset.fingerprint)
            for index in range(first, first + trials)
        ),
        Request(1, gpus, 0),
        reports_epochs=reports_epochs,
        resumes=resumes,
        models_below=models_below,
    )
    return Worker({"block": block})


class ProcessLost(BaseException):
    """In place of the end of a worker's process."""


def lose_after(
    epochs: int, context: SharedInputs, monkeypatch: pytest.MonkeyPatch, *, cell: Cell = CELL
) -> None:
    """Run the trial in a worker that dies in the epoch after that."""
    from mnist_ray.train.trial_run import TrialRun

    train_epoch = TrialRun.train_epoch

    def deadly(run: TrialRun) -> Any:
        if len(run.epochs) == epochs:
            raise ProcessLost
        return train_epoch(run)

    with monkeypatch.context() as patch:
        patch.setattr(TrialRun, "train_epoch", deadly)
        with pytest.raises(ProcessLost):
            worker_for(context, cell=cell).train()


def finished(worker: BlockWorker) -> Record:
    """The record of the trial, after as many steps as it takes."""
    while not (result := worker.train())[DONE]:
        continue
    record: Record = result["ended"][0].record
    assert record.status is Status.FINISHED, record.traceback
    return record


def figures(record: Record) -> dict[str, Any]:
    """A record without times and places."""
    return asdict(replace(record, setting=None, costs=Costs()))


def test_a_trial_goes_on_from_its_last_epoch_with_the_same_figures(
    context: SharedInputs,
    shared: SharedInputs,
    epochs_trained: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = finished(worker_for(context))
    epochs_trained.clear()
    lose_after(3, shared, monkeypatch)
    assert len(epochs_trained) == 3
    second = worker_for(shared, resumes=True)
    assert figures(finished(second)) == figures(undisturbed)
    assert len(epochs_trained) == EPOCHS


def test_on_one_machine_checkpoints_lie_on_its_disk(
    context: SharedInputs,
    tmp_path: Path,
    epochs_trained: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = ResultsFolder.open(tmp_path / "checkpoints")
    local = replace(context, checkpoint_seconds=0.0, checkpoints=folder)
    undisturbed = finished(worker_for(context))
    epochs_trained.clear()
    lose_after(1, local, monkeypatch)
    assert figures(finished(worker_for(local, resumes=True))) == figures(undisturbed)
    assert len(epochs_trained) == EPOCHS


def test_a_finished_trial_leaves_no_checkpoint_behind(
    context: SharedInputs, tmp_path: Path
) -> None:
    folder = ResultsFolder.open(tmp_path)
    finished(worker_for(replace(context, checkpoint_seconds=0.0, checkpoints=folder)))
    assert not list(tmp_path.iterdir())


def test_a_trial_shorter_than_that_is_never_checkpointed(
    context: SharedInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ResultsFolder.open(tmp_path)
    lose_after(3, replace(context, checkpoint_seconds=3600.0, checkpoints=folder), monkeypatch)
    assert not list(tmp_path.iterdir())
    assert worker_for(replace(context, checkpoint_seconds=3600.0)).train()[DONE]


def ended_in(worker: BlockWorker) -> list[EndedTrial]:
    """What the worker hands over of its block."""
    ended: list[EndedTrial] = []
    while True:
        result = worker.train()
        ended += result["ended"]
        if result[DONE]:
            return ended


def test_the_trials_of_a_block_have_the_figures_of_trials_that_run_alone(
    context: SharedInputs,
) -> None:
    block = [figures(ended.record) for ended in ended_in(worker_for(context, trials=3))]
    alone = [figures(finished(worker_for(context, first=index))) for index in range(3)]
    assert block == alone


def test_each_trial_of_a_block_finds_the_environment_of_the_first(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_ray.train.trial_run import TrialRun

    found: list[str | None] = []
    train_epoch = TrialRun.train_epoch

    def changing(run: TrialRun) -> Any:
        if not run.epochs:
            found.append(os.environ.get("ADDED"))
            os.environ["ADDED"] = "by a trial"
        return train_epoch(run)

    monkeypatch.setattr(TrialRun, "train_epoch", changing)
    ended_in(worker_for(context, trials=2))
    os.environ.pop("ADDED")
    assert found == [None, None]


def test_a_trial_that_fails_stops_no_other_of_its_block(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnist_ray.train.trial_run import TrialRun

    train_epoch = TrialRun.train_epoch

    def fails_once(run: TrialRun) -> Any:
        if run.trial.index == 1:
            raise ValueError("no such luck")
        return train_epoch(run)

    monkeypatch.setattr(TrialRun, "train_epoch", fails_once)
    ended = ended_in(worker_for(context, trials=3, models_below=9))
    assert [each.record.status for each in ended] == [
        Status.FINISHED,
        Status.FAILED,
        Status.FINISHED,
    ]
    assert [each.model is not None for each in ended] == [True, False, False]


def test_a_trial_that_takes_longer_is_handed_over_alone(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LONGEST_WAIT_SECONDS", 0.0)
    worker = worker_for(context, trials=3)
    results = [worker.train() for _ in range(3)]
    assert [len(result["ended"]) for result in results] == [1, 1, 1]
    assert [result[DONE] for result in results] == [False, False, True]


def test_a_model_is_handed_over_only_if_it_may_be_kept(context: SharedInputs) -> None:
    [ended] = ended_in(worker_for(context, first=1, models_below=2))
    assert ended.model is not None
    assert ended.model.archive is not None
    assert bytes(ended.model.archive[:2]) == b"PK"
    assert "Total params" in ended.model.summary
    [ended] = ended_in(worker_for(context, first=2, models_below=2))
    assert ended.model is None


def test_on_object_storage_a_worker_writes_the_model_itself(shared: SharedInputs) -> None:
    [ended] = ended_in(worker_for(shared, models_below=2))
    assert ended.model is not None
    assert ended.model.archive is None
    name = shared.checkpoints.arriving_model(ended.record.key)
    assert shared.checkpoints.read(name)[:2] == b"PK"


NOISY = """
import keras
import tensorflow as tf

class Noise(keras.layers.Layer):
    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))[:, :inputs.shape[1]]

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(), Noise(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


def test_a_trial_whose_random_state_no_checkpoint_can_hold_is_never_checkpointed(
    context: SharedInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy_worker.py").write_text(NOISY)
    code = {"noisy_worker:build": modules_of("noisy_worker:build", tmp_path)}
    noisy = replace(CELL, builder="noisy_worker:build", hyperparameters={})
    folder = ResultsFolder.open(tmp_path / "checkpoints")
    there = replace(context, code=code, checkpoint_seconds=0.0, checkpoints=folder)
    lose_after(2, there, monkeypatch, cell=noisy)
    assert folder.names("") == []
    assert worker_for(there, cell=noisy).train()[DONE]


def test_a_trial_of_a_search_reports_every_epoch_and_is_checkpointed_too(
    shared: SharedInputs,
) -> None:
    worker = worker_for(shared, reports_epochs=True)
    results_of_epochs = [worker.train() for _ in range(EPOCHS - 1)]
    assert len(shared.checkpoints.names("")) == 1
    results_of_epochs.append(worker.train())
    assert [result[DONE] for result in results_of_epochs] == [False] * (EPOCHS - 1) + [True]
    assert [len(result["cut_short"].epochs) for result in results_of_epochs[:-1]] == [1, 2, 3]
    [ended] = results_of_epochs[-1]["ended"]
    assert len(ended.record.epochs) == 4
    assert [result["epochs"] for result in results_of_epochs] == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_checkpoint_that_is_gone_or_damaged_costs_time_and_not_the_trial(
    context: SharedInputs,
    shared: SharedInputs,
    epochs_trained: list[int],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
) -> None:
    lose_after(2, shared, monkeypatch)
    [name] = shared.checkpoints.names("")
    shared.checkpoints.delete_all()
    if content:
        shared.checkpoints.write(name, content)
    epochs_trained.clear()
    second = worker_for(shared, resumes=True)
    assert figures(finished(second)) == figures(finished(worker_for(context)))
    assert len(epochs_trained) == 2 * EPOCHS


def test_a_checkpoint_that_cannot_be_written_costs_nothing(
    shared: SharedInputs,
    object_storage: ObjectStorage,
    epochs_trained: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "PATIENCE_SECONDS", 0.1)
    object_storage.stop()
    short = replace(CELL, training=Training(epochs=3))  # Each time takes pyarrow 6 seconds.
    assert finished(worker_for(shared, cell=short)).status is Status.FINISHED
    assert len(epochs_trained) == 3


# Which worker a trial runs in


def ray_request(*, builder: str, source: str | None, width: int = 8) -> tune.PlacementGroupFactory:
    cell = replace(CELL, builder=builder, hyperparameters={"width": width})
    trial = Trial(cell, index=width, seed=0, fingerprint="", source_digest=source)
    block = Block((trial,), Request(1, 0.0, 1 << 30))
    return BlockWorker.default_resource_request({"block": block})


def test_only_trials_of_the_same_code_have_equal_requests_and_so_share_a_worker() -> None:
    built_in = ray_request(builder="cnn", source=None)
    assert built_in.bundles == [{"CPU": 1.0, "memory": float(1 << 30)}]
    assert built_in == ray_request(builder="feed_forward", source=None, width=9)
    own = ray_request(builder="own:build", source="a")
    assert own == ray_request(builder="own:build", source="a", width=9)
    others = [
        built_in,
        ray_request(builder="own:build", source="b"),
        ray_request(builder="own:other", source="a"),
    ]
    assert own not in others
    assert (1 << 30) - (1 << 20) <= own.bundles[0]["memory"] < 1 << 30


def test_transforms_count_as_code_those_of_other_test_sets_too() -> None:
    def request(*, own: str | None = None, tests: dict[str, str | None]) -> Any:
        transform = Transform("own:noise", {}) if own else None
        trial = Trial(replace(CELL, transform=transform), 0, 0, "", transform_digest=own)
        block = Block((trial,), Request(1, 0.0, 1 << 30), test_code=tests)
        return BlockWorker.default_resource_request({"block": block})

    transformed = request(own="a", tests={})
    assert transformed == request(tests={"own:noise": "a"})  # Both run the same code.
    others = [request(tests={}), request(own="b", tests={}), request(own="a", tests={"own:x": "c"})]
    assert transformed not in others


def test_the_next_trial_of_a_worker_finds_the_environment_of_the_first(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANGED", "before")
    worker = worker_for(context)
    monkeypatch.setenv("CHANGED", "after")
    monkeypatch.setenv("ADDED", "after")
    assert worker.reset_config(worker.config)
    worker.train()
    assert os.environ["CHANGED"] == "before"
    assert "ADDED" not in os.environ


# GPUs


def test_a_trial_without_a_gpu_sees_none(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert finished(worker_for(context)).setting
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_gpu_that_only_ray_sees_is_reported_before_anything_is_trained(
    context: SharedInputs, epochs_trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    result = worker_for(context, gpus=0.25).train()
    assert result[DONE]
    assert not result.get("ended")
    message = result["missing_gpu"]
    for part in ("0.25 of a GPU", "CUDA_VISIBLE_DEVICES: 1", "--gpus-per-trial 0", "driver"):
        assert part in message
    assert epochs_trained == []


@pytest.mark.parametrize("name", ["ResourceExhaustedError", "InternalError"])
def test_a_gpu_error_is_reported_and_ends_the_process_with_the_next_step(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import tensorflow as tf

    from mnist_ray.train import device
    from mnist_ray.train.trial_run import TrialRun

    gpu_error = getattr(tf.errors, name)

    def fails(run: TrialRun) -> Any:
        raise gpu_error(None, None, "OOM when allocating 5.00GiB")

    monkeypatch.setattr(TrialRun, "train_epoch", fails)
    monkeypatch.setattr(device, "device_name", lambda: "NVIDIA T4")
    worker = worker_for(context, gpus=0.25)
    result = worker.train()
    assert not result[DONE]
    assert not result.get("ended")
    assert result["gpu_error"] == f"{name}: OOM when allocating 5.00GiB"
    with pytest.raises(gpu_error):
        worker.train()


def test_a_cpu_without_memory_is_a_failure_of_the_trial(
    context: SharedInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from mnist_ray.train.trial_run import TrialRun

    def fails(run: TrialRun) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(TrialRun, "train_epoch", fails)
    assert worker_for(context).train()["ended"][0].record.status is Status.FAILED


IN_PYTHON = """
import keras
import tensorflow as tf

class InPython(keras.layers.Layer):
    def call(self, inputs):
        return tf.ensure_shape(tf.numpy_function(abs, [inputs], inputs.dtype), inputs.shape)

def build(shape, classes):
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(), InPython(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


def test_a_record_says_why_a_model_was_trained_without_xla(
    context: SharedInputs, tmp_path: Path
) -> None:
    (tmp_path / "in_python_worker.py").write_text(IN_PYTHON)
    code = {"in_python_worker:build": modules_of("in_python_worker:build", tmp_path)}
    training = Training(jit_compile=True)
    own = replace(CELL, builder="in_python_worker:build", hyperparameters={}, training=training)
    record = worker_for(replace(context, code=code), cell=own).train()["ended"][0].record
    assert record.status is Status.FINISHED
    assert "PyFunc" in record.setting.xla_error
    of_built_in = worker_for(context).train()["ended"][0].record
    assert of_built_in.setting.xla_error is None
