import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_ray.plan.seeds import TrialSeeds, evaluation_generator, trial_seeds
from mnist_ray.space.sources import Source

SEEDS = st.integers(0, 2**63 - 1)
INDICES = st.integers(0, 1_000_000)


def streams(seeds: TrialSeeds) -> list[tuple[int, ...]]:
    """What a trial draws from, in numbers that can be compared."""
    drawn = [seeds.placement, seeds.shuffle]
    return [(seeds.weights,), *(tuple(s.generate_state(4).tolist()) for s in drawn)]


@given(seed=SEEDS, trial=INDICES)
def test_equal_trials_draw_the_same(seed: int, trial: int) -> None:
    assert streams(trial_seeds(seed, trial)) == streams(trial_seeds(seed, trial))


@given(seed=SEEDS, count=st.integers(1, 20))
def test_trials_are_the_children_of_the_sweeps_seed_however_many_there_are(
    seed: int, count: int
) -> None:
    children = np.random.SeedSequence(seed).spawn(count)
    spawned = [child.spawn(2)[0].generate_state(4).tolist() for child in children]
    ours = [trial_seeds(seed, i).placement.generate_state(4).tolist() for i in range(count)]
    assert ours == spawned


def test_ten_thousand_trials_never_draw_from_the_same_stream() -> None:
    trials = [trial_seeds(0, index) for index in range(10_000)]
    placements, shuffles = (
        {tuple(getattr(seeds, name).generate_state(4).tolist()) for seeds in trials}
        for name in ("placement", "shuffle")
    )
    assert len(placements | shuffles) == 20_000
    assert len({seeds.weights for seeds in trials}) == 10_000
    assert len({seeds.seed for seeds in trials}) == 10_000


@pytest.mark.parametrize("other", [(1, 0), (0, 1), (2**32, 0), (2**63 - 1, 0)])
def test_another_seed_or_trial_draws_otherwise(other: tuple[int, int]) -> None:
    pairs = zip(streams(trial_seeds(0, 0)), streams(trial_seeds(*other)), strict=True)
    assert all(mine != theirs for mine, theirs in pairs)


def test_weights_fit_into_the_32_bits_that_keras_takes() -> None:
    assert all(0 <= trial_seeds(7, index).weights < 2**32 for index in range(1000))


def test_test_images_lie_where_the_sweeps_seed_says_alone() -> None:
    first, again, other = (evaluation_generator(seed).integers(0, 21, 50) for seed in (5, 5, 6))
    assert first.tolist() == again.tolist() != other.tolist()


def test_test_and_training_placements_are_drawn_independently() -> None:
    graded = evaluation_generator(0).integers(0, 21, 50)
    trained = np.random.default_rng(trial_seeds(0, 0).placement).integers(0, 21, 50)
    assert graded.tolist() != trained.tolist()


@given(seed=SEEDS, trial=st.integers(1, 1_000_000), source=st.sampled_from(Source))
def test_a_source_varies_alone_and_all_else_is_that_of_trial_0(
    seed: int, trial: int, source: Source
) -> None:
    first, own = by_source(trial_seeds(seed, 0)), by_source(trial_seeds(seed, trial))
    varied = by_source(trial_seeds(seed, trial, source))
    assert {name for name in varied if varied[name] != first[name]} == {source}
    if source is not Source.SAMPLE:
        assert varied[source] == own[source]


def test_ordinary_trials_draw_weights_and_dropout_from_one_seed_and_no_sample() -> None:
    seeds = trial_seeds(3, 5)
    assert seeds.weights == seeds.dropout
    assert seeds.sample is None


def test_each_trial_draws_a_sample_of_its_own() -> None:
    drawn = {by_source(trial_seeds(0, i, Source.SAMPLE))["sample"] for i in range(1000)}
    others = {by_source(trial_seeds(0, i))[name] for i in range(1000) for name in ("placement",)}
    assert len(drawn) == 1000
    assert not drawn & others


def by_source(seeds: TrialSeeds) -> dict[str, tuple[int, ...]]:
    """What each source is drawn from, in numbers that can be compared."""
    of_arrays = {"placement": seeds.placement, "shuffling": seeds.shuffle, "sample": seeds.sample}
    return {"weights": (seeds.weights,), "dropout": (seeds.dropout,)} | {
        name: tuple(stream.generate_state(4).tolist()) if stream else ()
        for name, stream in of_arrays.items()
    }
