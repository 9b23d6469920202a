"""The whole command on a space that asks where the spread comes from."""

from pathlib import Path

import pandas as pd
from running import opened, write_images, write_space

import mnist_ray

SPACE = {
    "name": "plain",
    "dataset": "small.npz",
    "architectures": {"cnn": {"filters": [4], "dense_units": 8, "dropout": 0.3}},
    "variants": {"centered": {}, "shifted": {"shift": 4}},
    "trials": 4,
}
SPREAD = {**SPACE, "name": "sources", "trials": 3, "spread": {"trials": 3}}


def accuracies(trials: pd.DataFrame) -> dict[str, float]:
    return dict(zip(trials["key"], trials["test_accuracy"], strict=True))


def test_sources_vary_alone_and_leave_ordinary_trials_as_they_are(tmp_path: Path) -> None:
    write_space(tmp_path / "plain.yaml", SPACE)
    write_space(tmp_path / "sources.yaml", SPREAD)
    write_images(tmp_path / "small.npz", train=300, test=100)
    with opened(tmp_path) as place:
        refused = place.run("sources.yaml", "--trials", "2")
        assert refused.code == 2
        assert "spread.trials: got 2; allowed: an integer from 3" in refused.errors

        first = place.run("sources.yaml")
        assert first.code == 0, first
        assert "33 trials wanted (27 of them vary one source alone)" in first.output
        assert "No trials vary placement alone for cnn (centered)" in first.output
        assert "0 to run" in place.run("sources.yaml").output

        extended = place.run("sources.yaml", "--trials", "4")
        assert "33 already recorded, 11 to run" in extended.output
        spread = mnist_ray.load_spread(tmp_path / "results" / "sources")
        assert (spread["trials"] == 4).all()
        assert len(spread) == 5 + 6

        assert place.run("plain.yaml").code == 0
        plain = accuracies(mnist_ray.load_trials(tmp_path / "results" / "plain"))
        trials = mnist_ray.load_trials(tmp_path / "results" / "sources")
        assert accuracies(trials[trials["source"].isna()]) == plain
        assert not set(trials[trials["source"].notna()]["key"]) & set(plain)
        report = mnist_ray.load_report(tmp_path / "results" / "sources")
        assert (report["trials"] == 4).all()
        models = [path.name for path in (tmp_path / "results" / "sources" / "models").iterdir()]
        assert len([name for name in models if name.endswith(".keras")]) == 2
