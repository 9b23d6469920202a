"""What tests of run share."""

from pathlib import Path

import pytest
from driven_sweep import Sweep
from made_up import folder_at

from mnist_ray.ledger import writer


@pytest.fixture(autouse=True)
def _written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WRITE_SECONDS", 0.01)
    monkeypatch.setattr(writer, "LOOK_SECONDS", 0.01)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(folder_at(tmp_path / "results"))
