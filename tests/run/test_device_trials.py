"""The figures of what was trained here, and the shares that follow; the timings are made up."""

from dataclasses import replace

import pytest

from mnist_ray.plan.resources import Node
from mnist_ray.run import checks, device_trials
from mnist_ray.run.checks import conclude
from mnist_ray.run.device_trials import DeviceTrials, try_trials
from mnist_ray.train.calibration import Timing

GIB = 1 << 30
CARD = Node(cpus=16, gpus=1, memory_bytes=64 * GIB, gpu_memory_bytes=80 * GIB)
TIMING = Timing(
    trial_seconds=7.2,
    steps_per_second=4000.0,
    compile_seconds=3.0,
    memory_bytes=GIB,
    gpu_memory_bytes=16 * GIB,
    xla_error=None,
)


def tried(
    monkeypatch: pytest.MonkeyPatch, *results: Timing | str, node: Node = CARD, gpus: bool = True
) -> DeviceTrials:
    """As if the combinations gave these results, and the rest the last of them."""

    def give(cells: dict[str, object], *_: object, **__: object) -> dict[str, Timing | str]:
        rest = [results[-1]] * (len(cells) - len(results))
        return dict(zip(cells, [*results, *rest], strict=True))

    monkeypatch.setattr(device_trials, "time_cells", give)
    return try_trials(node, gpus=gpus)


def test_each_architecture_is_tried_in_each_precision_with_and_without_xla(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = tried(monkeypatch, TIMING)
    combinations = {tuple(each.row.values())[:3] for each in trained.trials}
    assert len(combinations) == len(trained.trials) == 2 * 3 * 2
    check = conclude("training", lambda: checks.training(trained))
    assert (check.ok, check.found[:15]) == (True, "12 combinations")


def test_a_row_has_the_figures_that_follow_from_the_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = tried(monkeypatch, TIMING).trials[0]
    assert first.row == {
        "architecture": "feed_forward",
        "precision": "float32",
        "XLA": "no",
        "steps/s": "4,000.0",
        "trials/h": "500.0",
        "compiles": "3.0 s",
        "memory": "16.0 GiB",
        "fit": "5",  # 80 GiB / 16 GiB
    }


def test_on_cpus_the_machines_memory_and_cores_decide_how_many_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timing = replace(TIMING, gpu_memory_bytes=None)
    small = Node(cpus=4, gpus=0, memory_bytes=3 * GIB)
    trained = tried(monkeypatch, timing, node=small, gpus=False)
    assert trained.trials[0].side_by_side == 3
    assert "28x28 pixels" in trained.explanation
    assert "this machine holds" in trained.explanation


def test_the_explanation_says_what_share_a_sweep_would_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "0.125 GPUs" in tried(monkeypatch, TIMING).explanation
    assert "8 at a time" in tried(monkeypatch, TIMING).explanation


def test_what_does_not_train_is_wrong_and_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tried(monkeypatch, "InternalError: no such kernel", TIMING)
    check = conclude("training", lambda: checks.training(trained))
    assert check.ok is False
    assert check.found.startswith(
        "1 of 12 combinations do not train: feed_forward, float32, no XLA"
    )
    assert "InternalError: no such kernel" in check.found
    assert [*trained.trials[0].row.values()][3:] == ["-"] * 5


def test_what_xla_cannot_compile_is_said_and_is_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tried(monkeypatch, replace(TIMING, xla_error="no PyFunc"), TIMING)
    assert conclude("training", lambda: checks.training(trained)).ok
    assert "without XLA, which cannot compile it: no PyFunc" in trained.explanation
