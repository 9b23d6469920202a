import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mnist_ray.ledger.identity import digest
from mnist_ray.plan.sampler import BATCH_SIZE, OptunaSampler, Scores, Values, random_configurations
from mnist_ray.space.distributions import Distribution

ALL: dict[str, Distribution] = {
    "units": Distribution("choice", ([128], [512, 256])),
    "a/b": Distribution("uniform", (0, 0.5)),
    "rate": Distribution("loguniform", (1e-4, 1e-2)),
    "width": Distribution("quniform", (32, 256, 32)),
    "depth": Distribution("randint", (1, 4)),
}
"""One of each kind; a name that Ray Tune would take for a path."""


def drawn(
    count: int, *, seed: int = 0, place: str = "here", of: dict[str, Distribution] | None = None
) -> list[Values]:
    return random_configurations(of or ALL, seed=seed, place=place, count=count)


def optuna(*, seed: int = 0, of: dict[str, Distribution] | None = None) -> OptunaSampler:
    return OptunaSampler(of or ALL, seed=seed, place="here")


def assert_within(values: Values) -> None:
    """Each of its kind and within its range."""
    assert values["units"] in ([128], [512, 256])
    share, rate, width, depth = (values[name] for name in ("a/b", "rate", "width", "depth"))
    assert isinstance(share, float)
    assert 0 <= share <= 0.5
    assert isinstance(rate, float)
    assert 0.9999e-4 <= rate <= 1e-2
    assert isinstance(width, int)
    assert width in range(32, 257, 32)
    assert isinstance(depth, int)
    assert depth in (1, 2, 3)


# --- Random ----------------------------------------------------------------------------------


def test_random_values_are_plain_and_within_their_ranges() -> None:
    for values in drawn(50):
        assert list(values) == list(ALL)
        assert_within(values)


def test_all_random_configurations_come_at_once() -> None:
    assert len(random_configurations(ALL, seed=0, place="here", count=7)) == 7


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(5, seed=1)
    assert drawn(5) != drawn(5, place="there")


def test_more_random_configurations_never_change_earlier_ones() -> None:
    assert drawn(20)[:5] == drawn(5)


@pytest.mark.parametrize(
    ("distribution", "scale"),
    [
        (Distribution("uniform", (2, 3)), lambda value: value - 2),
        (Distribution("loguniform", (1e-4, 1e-2)), lambda value: (math.log10(value) + 4) / 2),
    ],
)
def test_random_values_are_spread_evenly(distribution: Distribution, scale: object) -> None:
    values = [scale(each["x"]) for each in drawn(400, of={"x": distribution})]  # type: ignore[operator]
    assert stats.kstest(values, "uniform").pvalue > 0.05


def test_random_choices_are_each_as_likely() -> None:
    values = [each["x"] for each in drawn(900, of={"x": Distribution("choice", ("a", "b", "c"))})]
    counts = [values.count(option) for option in "abc"]
    assert stats.chisquare(counts).pvalue > 0.05


# --- Optuna ----------------------------------------------------------------------------------


def score(values: Values) -> float:
    rate = values["rate"]
    assert isinstance(rate, float)
    return 1 - (math.log10(rate) + 3) ** 2


def batches(sampler: OptunaSampler, count: int) -> tuple[list[list[Values]], list[Scores]]:
    """So many batches; the scores of each are given before the next is asked for."""
    asked: list[list[Values]] = []
    scores: list[Scores] = []
    for _ in range(count):
        asked.append(list(sampler.next_batch(scores)))
        scores.append(tuple(score(each) for each in asked[-1]))
    return asked, scores


def test_optunas_values_are_plain_and_within_their_ranges() -> None:
    asked, _ = batches(optuna(), 4)
    for batch in asked:
        assert len(batch) == BATCH_SIZE
        for values in batch:
            assert list(values) == list(ALL)
            assert_within(values)


def test_optuna_asked_step_by_step_or_all_at_once_proposes_the_same() -> None:
    asked, scores = batches(optuna(), 5)
    at_once = optuna()
    assert at_once.next_batch(scores[:4]) == asked[4]
    assert [at_once.next_batch(scores[:count]) for count in range(5)] == asked


def ray_tunes_batches(scored: list[Scores], *, seed: int) -> list[list[Values]]:
    """What Ray Tune's own OptunaSearch proposes for `ALL`, given those scores of each batch."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    as_in_tune = {
        "choice": lambda *options: tune.choice(list(range(len(options)))),
        "uniform": tune.uniform,
        "loguniform": tune.loguniform,
        "quniform": tune.quniform,
        "randint": tune.randint,
    }
    domains = {
        str(number): as_in_tune[each.kind](*each.parameters)
        for number, each in enumerate(ALL.values())
    }
    search = OptunaSearch(
        space=OptunaSearch.convert_search_space(domains),
        metric="score",
        mode="max",
        seed=int(digest({"seed": seed, "search": "here"})[:8], 16),
    )
    proposed: list[list[Values]] = []
    for batch in range(len(scored) + 1):
        names = [f"{batch}-{number}" for number in range(BATCH_SIZE)]
        suggested = [search.suggest(name) for name in names]
        proposed.append([as_values(each) for each in suggested])
        for name, score in zip(names, scored[batch] if batch < len(scored) else (), strict=False):
            result = None if score is None else {"score": score}
            search.on_trial_complete(name, result=result, error=score is None)
    return proposed


def as_values(suggested: dict[str, Any] | None) -> Values:
    assert suggested is not None
    given = [suggested[str(number)] for number in range(len(ALL))]
    return {
        name: each.parameters[value] if each.kind == "choice" else each.cast(value)
        for (name, each), value in zip(ALL.items(), given, strict=True)
    }


@pytest.mark.parametrize("seed", [0, 7])
def test_optuna_proposes_what_ray_tunes_own_search_proposes(seed: int) -> None:
    """Past the ten trials that are drawn at random, and with one that has no score."""
    sampler = optuna(seed=seed)
    asked: list[list[Values]] = []
    scored: list[Scores] = []
    for _ in range(6):
        asked.append(list(sampler.next_batch(scored)))
        reached = [score(each) for each in asked[-1]]
        scored.append((*reached[:3], None if len(scored) == 1 else reached[3]))
    asked.append(list(sampler.next_batch(scored)))
    assert asked == ray_tunes_batches(scored, seed=seed)


def test_optuna_with_another_seed_proposes_something_else() -> None:
    assert optuna(seed=1).next_batch([]) != optuna().next_batch([])


def test_optuna_learns_from_the_scores() -> None:
    """From the tenth on it looks where scores are high; drawn at random they stay as they are."""
    asked, _ = batches(optuna(of={"rate": ALL["rate"]}), 10)
    scores = [[score(values) for values in batch] for batch in asked]
    assert np.mean(scores[5:]) > np.mean(scores[:3]) + 0.1


def test_optuna_starts_again_where_earlier_scores_change() -> None:
    """As when a trial that failed at first finishes after all."""
    _, scores = batches(optuna(), 4)
    with_failure = [(None, *scores[0][1:]), *scores[1:]]
    sampler = optuna()
    after_failure = sampler.next_batch(with_failure)
    assert sampler.next_batch(scores) == optuna().next_batch(scores)
    assert sampler.next_batch(with_failure) == after_failure
    assert optuna().next_batch(with_failure) == after_failure


def test_optuna_takes_configurations_without_a_score() -> None:
    scores: list[Scores] = [(None,) * BATCH_SIZE] * 4
    assert len(optuna().next_batch(scores)) == BATCH_SIZE


def test_optuna_says_nothing_of_its_own() -> None:
    program = (
        "from mnist_ray.space.distributions import Distribution\n"
        "from mnist_ray.plan.sampler import OptunaSampler\n"
        "sampler = OptunaSampler({'x': Distribution('uniform', (0, 1))}, seed=0, place='here')\n"
        "assert len(sampler.next_batch([(0.5, None, 0.7, 0.8)])) == 4\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == ""
