"""What the recorder makes of GPUs that fail, and of results of several kinds of device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from driven_sweep import GPU_NODE, Sweep, go_on, record_elsewhere
from made_up import folder_at, made_up_sweep, on_device

from mnist_ray.errors import InputError
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.run.recorder import LOST_PROCESS_RETRIES


@pytest.fixture
def on_gpus(tmp_path: Path) -> Sweep:
    """A sweep of trials of which eight share a card."""
    sweep = Sweep(folder_at(tmp_path / "results"), node=GPU_NODE)
    assert sweep.share(sweep.queue.plan.missing[0]) == 1 / 8
    return sweep


def fail_gpu(sweep: Sweep, trial: Any, error: str) -> None:
    """As a worker reports it, which then ends."""
    sweep.result(trial, gpu_error=error)
    sweep.lose(trial, "ray::BlockWorker.train() ResourceExhaustedError")


def test_a_trial_for_which_a_card_has_no_memory_runs_again_with_a_larger_share(
    on_gpus: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    first, pending = on_gpus.start(), on_gpus.start()
    assert first.config["block"].first.cell_key == pending.config["block"].first.cell_key
    fail_gpu(on_gpus, first, "ResourceExhaustedError: OOM")
    again = on_gpus.start()
    assert again.config["block"].first.key == first.config["block"].first.key
    assert again.config["block"].request.gpus == 1 / 4
    assert on_gpus.heard.losses == []  # no retry is used up
    # One that had been asked for before it was known gets the larger share too.
    fail_gpu(on_gpus, pending, "ResourceExhaustedError: OOM")
    assert on_gpus.start().config["block"].request.gpus == 1 / 4
    fail_gpu(on_gpus, again, "InternalError: CUDA_ERROR_ILLEGAL_ADDRESS")
    assert on_gpus.start().config["block"].request.gpus == 1 / 2
    [message] = caplog.messages
    assert "ran out of memory" in message


def test_later_trials_of_the_cell_get_the_larger_share_and_other_cells_do_not(
    on_gpus: Sweep,
) -> None:
    first = on_gpus.start()
    fail_gpu(on_gpus, first, "ResourceExhaustedError: OOM")
    cell_key = first.config["block"].first.cell_key
    for block in on_gpus.run():
        assert block.request.gpus == (1 / 4 if block.first.cell_key == cell_key else 1 / 8)
    assert {record.status for record in on_gpus.stored().values()} == {Status.FINISHED}


def test_only_a_trial_for_which_a_whole_card_is_too_small_fails_with_the_figure(
    on_gpus: Sweep,
) -> None:
    shares = []
    while not on_gpus.reported():
        trial = on_gpus.start()
        shares.append(trial.config["block"].request.gpus)
        fail_gpu(on_gpus, trial, "ResourceExhaustedError: OOM when allocating 90.00GiB")
    assert shares == [1 / 8, 1 / 4, 1 / 2, 1]
    [failed] = on_gpus.reported()
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert "90.00GiB" in failed.error


def test_a_card_that_breaks_down_under_a_trial_of_its_own_is_a_lost_process(
    on_gpus: Sweep,
) -> None:
    attempts = 0
    while not on_gpus.reported():
        fail_gpu(on_gpus, on_gpus.start(), "InternalError: CUDA_ERROR_LAUNCH_FAILED")
        attempts += 1
    assert attempts == 3 + LOST_PROCESS_RETRIES + 1  # three times with a larger share
    assert on_gpus.reported()[0].status is Status.FAILED


def test_a_card_that_only_ray_sees_ends_the_sweep_with_what_is_wrong(on_gpus: Sweep) -> None:
    with pytest.raises(InputError, match="sees no GPU"):
        on_gpus.result(on_gpus.start(), done=True, missing_gpu="laptop: TensorFlow sees no GPU")
    assert isinstance(on_gpus.recorder.error, InputError)
    assert on_gpus.stored() == {}


def test_a_card_that_joins_while_results_decide_ends_the_sweep_and_leaves_no_record(
    tmp_path: Path,
) -> None:
    sweep = deciding_on("NVIDIA T4", folder_at(tmp_path / "results"))
    with pytest.raises(InputError, match=r"NVIDIA A100.*NVIDIA T4.*narrow enough"):
        sweep.end_on("NVIDIA A100")
    assert isinstance(sweep.recorder.error, InputError)
    assert {on.setting.device for on in sweep.stored().values() if on.setting} == {"NVIDIA T4"}

    # The same command goes on once the card has left.
    assert len(deciding_on("NVIDIA T4", sweep.folder, records=sweep.stored()).stored()) == 4


def test_what_another_sweep_recorded_on_another_card_decides_nothing_either(
    tmp_path: Path,
) -> None:
    sweep = deciding_on("NVIDIA T4", folder_at(tmp_path / "results"))
    waiting = sweep.queue.plan.missing[0]
    record_elsewhere(sweep, on_device(DECIDING.records[waiting.key], "NVIDIA A100"))
    with pytest.raises(InputError, match=r"NVIDIA A100.*NVIDIA T4"):
        go_on(sweep)


def test_a_sweep_that_goes_on_on_one_card_takes_no_other_for_its_own(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "results")
    recorded = deciding_on("NVIDIA T4", folder).stored()
    with pytest.raises(InputError, match=r"NVIDIA A100.*NVIDIA T4"):
        deciding_on("NVIDIA A100", folder, records=recorded)


def test_a_card_that_joins_a_fixed_number_of_trials_is_welcome(sweep: Sweep) -> None:
    for device in ("NVIDIA T4", "NVIDIA A100"):
        sweep.end_on(device)
    devices = [record.setting.device for record in sweep.stored().values() if record.setting]
    assert sorted(devices) == ["NVIDIA A100", "NVIDIA T4"]


DECIDING = made_up_sweep({"trials": {"until_ci95": 0.001, "at_least": 3, "at_most": 50}}, trials=10)


def deciding_on(
    device: str, folder: ResultsFolder, *, records: Mapping[str, Record] | None = None
) -> Sweep:
    """A sweep of which two trials have run on a device, and whose results decide how many run."""
    sweep = Sweep(folder, made_up=DECIDING, records=records or {})
    for _ in range(2):
        sweep.end_on(device)
    return sweep
