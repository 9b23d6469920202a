"""What keeps a sweep from running, and what a dry run says of it."""

import logging
from pathlib import Path

import pytest
from made_up import MadeUp, folder_at, made_up_sweep

from mnist_ray.data.dataset import load_dataset
from mnist_ray.errors import InputError
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.plan.planner import plan
from mnist_ray.plan.resources import Limits, Node
from mnist_ray.plan.trial_queue import TrialQueue
from mnist_ray.run import connection
from mnist_ray.run.preflight import check_missing, expected_concurrency
from mnist_ray.run.setup import SweepSetup

GIB = 1 << 30
PRECISION = {"until_ci95": 0.001, "at_least": 3, "at_most": 50}
WITH_A_CARD = Node(
    cpus=8,
    gpus=1,
    memory_bytes=32 * GIB,
    gpu_memory_bytes=16 * GIB,
    gpu_names=("NVIDIA T4",),
)


@pytest.fixture
def a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "this_machine", lambda: WITH_A_CARD)


def ready(
    sweep: MadeUp, place: Path, *, gpus_per_trial: float | None = None
) -> tuple[TrialQueue, SweepSetup]:
    folder = folder_at(place)
    setup = SweepSetup(
        space=sweep.space,
        code=sweep.space.user_code(),
        dataset=load_dataset("digits"),
        dataset_info=sweep.dataset_info,
        folder=folder,
        ledger=Ledger(folder),
        limits=Limits(gpus_per_trial=gpus_per_trial),
        address=None,
    )
    queue = TrialQueue(
        lambda records: plan(sweep.space, sweep.dataset_info, records), sweep.records
    )
    return queue, setup


@pytest.mark.usefixtures("a_card")
def test_a_sweep_and_a_dry_run_refuse_decisions_on_two_kinds_of_device(tmp_path: Path) -> None:
    on_cpus = made_up_sweep({"trials": PRECISION}, trials=2)
    queue, setup = ready(on_cpus, tmp_path)
    for check in (check_missing, expected_concurrency):
        with pytest.raises(InputError, match=r"8 on CPU; .* on NVIDIA T4\."):
            check(queue, setup)
    queue, setup = ready(on_cpus, tmp_path, gpus_per_trial=0)
    check_missing(queue, setup)
    assert expected_concurrency(queue, setup) > 1


@pytest.mark.usefixtures("a_card")
def test_a_dry_run_says_that_trials_would_run_on_another_device(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_cpus = made_up_sweep({"trials": 5}, trials=2)
    with caplog.at_level(logging.WARNING):
        expected_concurrency(*ready(on_cpus, tmp_path, gpus_per_trial=0))
        assert not caplog.messages
        expected_concurrency(*ready(on_cpus, tmp_path))
    [message] = caplog.messages
    assert "8 on CPU; the next ones would run on NVIDIA T4" in message
