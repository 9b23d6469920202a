"""The whole command on results of other versions: reused with a word, run again by --fresh."""

from pathlib import Path

from made_up import with_versions
from running import opened, write_images, write_space

import mnist_ray
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder

SPACE = {
    "name": "small",
    "dataset": "small.npz",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "trials": 2,
}


def age(folder: Path, variant: str) -> None:
    """Make the records of a variant those of an older NumPy."""
    results = ResultsFolder.open(folder)
    recorded = Ledger(results).read().values()
    for path in (folder / "ledger").glob("*.parquet"):
        path.unlink()
    Ledger(results).write(
        [with_versions(r, numpy_version="1.0") if r.variant == variant else r for r in recorded]
    )


def test_results_of_other_versions_are_reused_with_a_word_and_run_again_when_asked(
    tmp_path: Path,
) -> None:
    write_space(tmp_path / "small.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=200, test=100)
    folder = tmp_path / "results" / "small"
    with opened(tmp_path) as place:
        first = place.run("small.yaml")
        assert first.code == 0, first
        assert "versions:" not in first.output
        before = mnist_ray.load_trials(folder)
        age(folder, "shifted")

        again = place.run("small.yaml")
        assert "4 already recorded, 0 to run" in again.output
        assert "(feed_forward on shifted images: 2); they count all the same" in again.output
        assert "The trials ran with different versions: 2 with" in again.output

        dry = place.run("small.yaml", "--fresh", "--dry-run")
        assert "2 already recorded, 2 to run" in dry.output

        fresh = place.run("small.yaml", "--fresh")
        assert fresh.code == 0, fresh
        assert len(fresh.recorded) == 2
        assert all("shifted" in line for line in fresh.recorded)
        after = mnist_ray.load_trials(folder)
        assert (after["numpy_version"] != "1.0").all()
        assert after["test_accuracy"].tolist() == before["test_accuracy"].tolist()
        assert "0 to run" in place.run("small.yaml", "--fresh").output
        assert "different versions" not in place.run(str(folder), module="mnist_ray.report").output
