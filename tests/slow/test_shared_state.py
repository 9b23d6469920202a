"""Trials of custom architectures that share something in their process, one after another."""

from pathlib import Path

import pytest
import shared_state

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.mark.parametrize(
    ("name", "way"), [case for case in shared_state.CASES if case not in shared_state.QUICK_CASES]
)
def test_a_trial_is_the_same_whatever_ran_in_the_process_before(
    name: str, way: str, tmp_path: Path
) -> None:
    shared_state.assert_the_same_whatever_ran_before(name, way, tmp_path)
