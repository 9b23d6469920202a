"""A whole sweep gives the same figures, however many of its trials run at a time."""

from pathlib import Path

from running import assert_same_figures, opened
from small_sweep import write_small_sweep


def test_one_trial_at_a_time_gives_the_same_figures(tmp_path: Path) -> None:
    write_small_sweep(tmp_path)
    with opened(tmp_path) as place:
        together = place.run("small.yaml")
        assert together.code == 0, together
        # Also in the presence of what a cluster left behind that was not stopped.
        place.leave_stale_cluster_file()
        ended = place.run("small.yaml", "--max-concurrent", "1", "--results", "one-by-one")
        assert ended.code == 0, ended
    assert_same_figures(tmp_path / "results" / "small", tmp_path / "one-by-one" / "small")
