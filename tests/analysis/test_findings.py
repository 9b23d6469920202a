"""Tests of `mnist_ray.analysis.findings`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from made_up import (
    ACCURACIES,
    MadeUp,
    Scores,
    as_failed,
    made_up_search,
    made_up_sweep,
    made_up_test_set,
)

from mnist_ray.analysis.findings import findings
from mnist_ray.analysis.tabulation import tabulate
from mnist_ray.ledger.record import Epoch

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
EXACT = {
    ("feed_forward", "centered"): [0.968, 0.969, 0.970],
    ("feed_forward", "shifted"): [0.870, 0.871, 0.875],
    ("cnn", "centered"): [0.984, 0.984, 0.984],
    ("cnn", "shifted"): [0.950, 0.951, 0.952],
}


def sentences_of(sweep: MadeUp) -> list[str]:
    return sweep.findings()


def test_the_drop_is_reported_with_means_intervals_and_n() -> None:
    sentences = sentences_of(made_up_sweep(accuracies=EXACT, test_set=made_up_test_set(1000)))
    assert sentences[0] == (
        "feed_forward: mean test accuracy dropped from 0.969 "
        "(95 % CI 0.967\N{EN DASH}0.971, n = 3) on centered to 0.872 "
        "(95 % CI 0.865\N{EN DASH}0.879, n = 3) on shifted digits, by 0.097 "
        "(95 % CI 0.093\N{EN DASH}0.101)."
    )
    assert sentences[3].startswith("On shifted digits: the mean of cnn is above that of")
    assert len(sentences) == 4


def test_images_of_other_data_are_not_called_digits() -> None:
    letters = replace(made_up_test_set(1000), dataset="letters")
    sentences = sentences_of(made_up_sweep(accuracies=EXACT, test_set=letters))
    assert "on shifted images, by 0.097" in sentences[0]
    assert sentences[3].startswith("On shifted images: the mean of cnn is above that of")
    search = replace(made_up_search(SCORES), test_set=letters)
    assert "search for feed_forward on centered images" in sentences_of(search)[0]
    assert "digits" not in " ".join([*sentences, *sentences_of(search)])


def test_one_trial_gives_no_interval_and_says_so() -> None:
    first = {pair: values[:1] for pair, values in EXACT.items()}
    sentences = sentences_of(
        made_up_sweep({"trials": 1}, accuracies=first, test_set=made_up_test_set(1000))
    )
    assert sentences[0] == (
        "feed_forward: mean test accuracies of 0.968 (n = 1) on centered and 0.870 (n = 1) on "
        "shifted digits: observed difference 0.098 (no interval: n = 1), which may be chance."
    )
    assert sentences[2] == (
        "On centered digits: cnn minus feed_forward: observed difference 0.016 (no interval: n = "
        "1), which may be chance."
    )
    assert "--trials" in sentences[-1]


def test_without_an_interval_no_difference_is_claimed() -> None:
    parallel = {  # all differences are equal
        ("feed_forward", "centered"): [0.96, 0.97],
        ("feed_forward", "shifted"): [0.86, 0.87],
        ("cnn", "centered"): [0.98, 0.99],
        ("cnn", "shifted"): [0.95, 0.96],
    }
    sentences = sentences_of(
        made_up_sweep({"trials": 2}, accuracies=parallel, test_set=made_up_test_set(1000))
    )
    assert not [each for each in sentences if "dropped" in each or "is above" in each]
    observed = "observed difference 0.100 (no spread seen in n = 2), which may be chance."
    assert sentences[0].endswith(
        f"on centered and 0.865 (95 % CI 0.801{DASH}0.929, n = 2) on shifted digits: {observed}"
    )


def test_a_rise_is_not_called_a_drop() -> None:
    risen = {**EXACT, ("cnn", "shifted"): [0.990, 0.991, 0.992]}
    sentences = sentences_of(made_up_sweep(accuracies=risen, test_set=made_up_test_set(1000)))
    assert "cnn: mean test accuracy rose from 0.984" in sentences[1]
    assert "by 0.007" in sentences[1]


def test_failed_trials_are_reported() -> None:
    sweep = made_up_sweep()
    for key in list(sweep.records)[:2]:
        sweep.records[key] = as_failed(sweep.records[key])
    assert sentences_of(sweep)[-1] == "2 trials failed; no mean includes them."


def test_nothing_finished_is_reported() -> None:
    sweep = made_up_sweep()
    sweep.records.clear()
    assert sentences_of(sweep) == ["No trial has finished."]


def test_one_variant_alone_has_no_drop_but_its_mean() -> None:
    sentences = sentences_of(made_up_sweep({"variants": {"centered": {}}}, accuracies=0.9))
    assert sentences[0].startswith("feed_forward: mean test accuracy 0.9")
    assert not any("dropped" in sentence for sentence in sentences)


def test_no_difference_is_claimed_where_the_interval_holds_zero() -> None:
    close = {
        **EXACT,
        ("cnn", "centered"): [0.960, 0.970, 0.980],
        ("cnn", "shifted"): [0.969, 0.965, 0.971],
    }
    sentences = sentences_of(made_up_sweep(accuracies=close, test_set=made_up_test_set(1000)))
    assert sentences[1] == (
        "cnn: no difference shown between mean test accuracies of 0.970 "
        f"(95 % CI 0.945{DASH}0.995, n = 3) on centered and 0.968 (95 % CI 0.961{DASH}0.976, "
        f"n = 3) on shifted digits: difference 0.002 (95 % CI {MINUS}0.022 to 0.025)."
    )
    assert sentences[2] == (
        "On centered digits: no difference shown between cnn and feed_forward: difference 0.001 "
        f"(95 % CI {MINUS}0.021 to 0.023)."
    )
    assert sentences[3].startswith("On shifted digits: the mean of cnn is above that of feed_")


def test_cells_that_are_equal_in_every_trial_are_tied() -> None:
    twins = {"architectures": {"first": {"build": "cnn"}, "second": {"build": "cnn"}}}
    sweep = made_up_sweep({**twins, "variants": {"centered": {}}}, accuracies=0.9)
    assert sentences_of(sweep)[-2:] == [
        "On centered digits: first and second are tied, equal in every trial.",
        "first on centered digits and second on centered digits have equal settings and share "
        "their trials.",
    ]


def test_trials_without_spread_have_no_interval_and_say_so() -> None:
    flat = {pair: [0.9] * 2 for pair in EXACT}
    sentences = sentences_of(made_up_sweep({"trials": 2}, accuracies=flat))
    assert sentences[0] == (
        "feed_forward: tied on centered and shifted digits with 0.900 (no spread seen in n = 2), "
        "equal in every trial."
    )


RATES = {"training": {"learning_rate": {"grid_search": [1e-3, 1e-2]}}}


def with_scores(sweep: MadeUp, scores: Mapping[tuple[str, float], float]) -> MadeUp:
    """The sweep with validation accuracies by architecture and learning rate."""
    for key, record in sweep.records.items():
        score = scores[record.architecture, record.hyperparameters["learning_rate"]]
        sweep.records[key] = replace(record, epochs=(Epoch(0.5, 0.7, 0.4, score),))
    return sweep


def test_all_sentences_of_an_architecture_are_about_one_configuration_which_they_name() -> None:
    high, low = {("cnn", 1e-3): 0.9, ("cnn", 1e-2): 0.8}, {("feed_forward", 1e-3): 0.7}
    scores = {**high, **low, ("feed_forward", 1e-2): 0.6}
    sweep = made_up_sweep(RATES, accuracies=EXACT, test_set=made_up_test_set(1000))
    sentences = sentences_of(with_scores(sweep, scores))
    chosen = "of 2 configurations the one with the highest validation accuracy"
    assert sentences[0].startswith(f"feed_forward (learning_rate=0.001), {chosen}: mean test acc")
    assert sentences[1].startswith(f"cnn (learning_rate=0.001), {chosen}: mean test accuracy dr")
    assert sentences[3].startswith(
        "On shifted digits: the mean of cnn (learning_rate=0.001) is above that of feed_forward "
        "(learning_rate=0.001) by 0.0"
    )
    assert len(sentences) == 4


def test_configurations_that_differ_in_more_than_the_architecture_are_not_compared() -> None:
    scores = {("cnn", 1e-3): 0.9, ("cnn", 1e-2): 0.8, ("feed_forward", 1e-3): 0.6}
    scores |= {("feed_forward", 1e-2): 0.7}
    sentences = sentences_of(with_scores(made_up_sweep(RATES, accuracies=ACCURACIES), scores))
    assert "cnn (learning_rate=0.001), of 2 configurations" in sentences[1]
    assert sentences[2] == (
        "On centered digits: feed_forward (learning_rate=0.01) and cnn (learning_rate=0.001) are "
        "not compared: they differ in more than the architecture."
    )


def test_presentations_of_a_grid_are_reported_one_by_one() -> None:
    variants = {"centered": {}, "shifted": {"shift": {"grid_search": [2, 4]}}}
    changes = {"architectures": {"cnn": {}}, "variants": variants}
    accuracies = {("cnn", "centered"): 0.98, ("cnn", "shifted"): 0.9}
    sentences = sentences_of(made_up_sweep(changes, accuracies=accuracies))
    assert len(sentences) == 2
    assert "on shifted (shift 2, canvas 10) digits" in sentences[0]
    assert "on shifted (shift 4, canvas 12) digits" in sentences[1]


# Searches

SCORES: Scores = {
    0: [0.80, 0.82, 0.84],
    1: [0.90, 0.92, 0.94, 0.89, 0.91],
    2: [0.95, None],
    "default": [0, 0, 0, 0.90, 0.90],
}


def test_a_search_is_reported_with_its_optimism_and_the_default() -> None:
    assert sentences_of(made_up_search(SCORES)) == [
        "In the search for feed_forward on centered digits 3 configurations were tried (1 failed); "
        "the best scored 0.920 in the search and 0.900 afresh, so the search flattered it by "
        f"0.020; its fresh test accuracy is 0.850 (95 % CI 0.723{DASH}0.977, n = 2), that of the "
        "default 0.850 (no spread seen in n = 2). No difference between them is shown: winner "
        f"minus default is 0.000 (95 % CI {MINUS}0.127 to 0.127).",
        "1 trial failed; no mean includes it.",
    ]


WINNER = [0.90, 0.92, 0.94, 0.89, 0.91, 0.90, 0.90]
"""The last four afresh."""


def of_four_fresh_trials(default: list[float]) -> str:
    scores = {**SCORES, 1: WINNER, "default": [0, 0, 0, *default]}
    return sentences_of(made_up_search(scores, {"confirm": 4}))[0]


def test_a_default_that_is_better_is_to_be_kept() -> None:
    sentence = of_four_fresh_trials([0.92, 0.945, 0.93, 0.935])
    assert f" The default is better by 0.033 (95 % CI 0.028{DASH}0.037): keep it." in sentence


def test_a_winner_that_is_better_than_the_default_is_said_to_be() -> None:
    sentence = of_four_fresh_trials([0.80, 0.82, 0.80, 0.81])
    assert f" The winner is better by 0.093 (95 % CI 0.085{DASH}0.100)." in sentence


def test_without_spread_no_difference_between_winner_and_default_is_claimed() -> None:
    sentence = of_four_fresh_trials([0.80, 0.82, 0.81, 0.81])
    assert sentence.endswith(
        " No difference between them is shown: winner minus default is 0.090 (no spread seen "
        "in n = 4)."
    )


def test_a_search_that_flattered_nothing_says_so() -> None:
    higher_afresh = {**SCORES, 1: [0.90, 0.92, 0.94, 0.93, 0.93]}
    assert "so the search did not flatter it;" in sentences_of(made_up_search(higher_afresh))[0]


def test_a_winner_that_is_not_trained_afresh_yet_is_reported() -> None:
    sentence = sentences_of(made_up_search(SCORES, at_most=8))[0]
    assert sentence.endswith("scored 0.920 in the search, and no fresh trial of it has finished.")


def test_a_search_that_has_not_ended_has_no_winner_yet() -> None:
    assert sentences_of(made_up_search(SCORES, at_most=7))[0] == (
        "The search for feed_forward on centered digits has not ended and has no winner yet: "
        "1 of 3 configurations proposed so far is complete (1 failed)."
    )


def test_a_search_in_which_all_failed_names_the_first_error() -> None:
    all_failed: Scores = {0: [None], 1: [0.9, None], 2: [None]}
    assert sentences_of(made_up_search(all_failed)) == [
        "The search for feed_forward on centered digits has no winner: all 3 configurations "
        "failed. The first error: ValueError: no such luck",
        "3 trials failed; no mean includes them.",
    ]


def test_a_drop_of_defaults_is_not_taken_for_one_of_winners() -> None:
    both = {"variants": {"centered": {}, "shifted": {"shift": 4}}}
    sentences = sentences_of(made_up_search(SCORES, both))
    drops = [s.split(":")[0] for s in sentences if "on centered and shifted digits" in s]
    assert drops == ["feed_forward (default)"]


# Left-skewed accuracies


def test_trials_far_below_the_others_are_reported_with_the_lowest() -> None:
    accuracies = {
        ("feed_forward", "centered"): [0.96, 0.97, 0.965, 0.96, 0.62],
        ("feed_forward", "shifted"): [0.87, 0.88, 0.86, 0.89, 0.875],
        ("cnn", "centered"): [0.98, 0.985, 0.975, 0.98, 0.99],
        ("cnn", "shifted"): [0.95, 0.96, 0.945, 0.955, 0.95],
    }
    sweep = made_up_sweep({"trials": 5}, accuracies=accuracies)
    assert sweep.tables().report["left_skewed"].to_pylist() == [True, False, False, False]
    (sentence,) = (each for each in sentences_of(sweep) if "far below" in each)
    assert "feed_forward on centered digits (lowest 0.620)" in sentence
    assert "cnn" not in sentence


def test_below_four_trials_there_is_no_telling_whether_some_are_far_below() -> None:
    sweep = made_up_sweep({"trials": 3}, accuracies=0.9)
    assert sweep.tables().report["left_skewed"].to_pylist() == [None] * 4


# Models of different sizes


def test_trials_of_one_cell_whose_models_differ_in_size_are_reported_with_their_sizes() -> None:
    sweep = made_up_sweep({"trials": 3})
    assert not any("sizes" in each for each in sentences_of(sweep))
    sizes = iter([3190, 9550, 4000])
    for key, record in sweep.records.items():
        if (record.architecture, record.variant) == ("cnn", "shifted"):
            sweep.records[key] = replace(record, parameters=next(sizes))
    assert (
        "The trials of cnn on shifted digits (3,190 to 9,550 parameters) have models of different "
        "sizes." in sentences_of(sweep)
    )


# Several sweeps side by side


Accuracies = Mapping[tuple[str, str], Sequence[float]] | float


def side_by_side(*changes: Mapping[str, object], accuracies: Accuracies = EXACT) -> list[str]:
    names = ("monday", "tuesday")
    results = [
        replace(
            made_up_sweep(each, accuracies=accuracies, test_set=made_up_test_set(1000)).results(),
            name=name,
        )
        for name, each in zip(names, changes, strict=True)
    ]
    renamed = [
        replace(
            each,
            cells=tuple(replace(cell, sweep=each.name) for cell in each.cells),
        )
        for each in results
    ]
    return findings(renamed, tabulate(renamed))


def test_settings_that_differ_between_sweeps_are_named() -> None:
    sentences = side_by_side({"training": {"epochs": 1}}, {"training": {"epochs": 3}})
    assert sentences[0].startswith("monday, feed_forward (epochs=1): mean test accuracy dropped")
    assert any(s.startswith("tuesday, cnn (epochs=3): mean test acc") for s in sentences)
    assert "monday, on centered digits: the mean of cnn (epochs=1) is above" in "".join(sentences)
    between = [sentence for sentence in sentences if sentence.startswith("Between sweeps:")]
    assert between[0] == (
        "Between sweeps: feed_forward (epochs=1) on centered digits in monday and feed_forward "
        "(epochs=3) on centered digits in tuesday are tied, equal in every trial."
    )
    assert len(between) == 4


def test_more_comparisons_between_sweeps_than_are_shown_are_counted() -> None:
    architectures = {"architectures": {name: {"build": "cnn"} for name in "abcd"}}
    sentences = side_by_side(
        {**architectures, "training": {"epochs": 1}},
        {**architectures, "training": {"epochs": 3}},
        accuracies=0.9,
    )
    between = [each for each in sentences if each.startswith("Between sweeps:")]
    assert len(between) == 7
    assert between[-1] == "Between sweeps: comparisons.parquet has 2 more comparisons."


def test_equal_sweeps_name_no_settings() -> None:
    assert not [sentence for sentence in side_by_side({}, {}) if "=" in sentence.split(":")[0]]


def test_the_largest_loss_on_the_images_of_another_variant_is_named() -> None:
    noisy = {"transform": "own:noise", "sigma": 9}
    changes = {
        "architectures": {"cnn": {}},
        "variants": {"clean": {}, "noisy": noisy},
        "evaluate": {"variants": "all"},
        "trials": 5,
    }
    test_set = made_up_test_set(5000)
    sweep = made_up_sweep(changes, accuracies=0.95, test_set=test_set)
    (sentence,) = [each for each in sweep.findings() if "loses most" in each]
    assert (
        "trained on clean and tested on noisy" in sentence
        or "on noisy and tested on clean" in sentence
    )
    assert "a loss of 0.1" in sentence
    assert "n = 5" in sentence
