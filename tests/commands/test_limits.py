"""A container's limits: a dry run and a sweep refuse the same, with the same words."""

from pathlib import Path

import container_limits
import pytest

pytestmark = pytest.mark.skipif(
    container_limits.mounting_is_refused(), reason="only root may mount limits"
)


@pytest.mark.parametrize(("case", "version"), container_limits.QUICK_CASES)
def test_a_dry_run_refuses_what_the_sweep_refuses(case: str, version: str, tmp_path: Path) -> None:
    container_limits.assert_refused_alike(case, version, tmp_path)
