"""Tests of `mnist_ray.analysis.findings`."""

from made_up import MadeUp, Scores, as_failed, made_up_search, made_up_sweep, made_up_test_set

from mnist_ray.analysis.findings import findings

EXACT = {
    ("feed_forward", "centered"): [0.968, 0.969, 0.970],
    ("feed_forward", "shifted"): [0.870, 0.871, 0.875],
    ("cnn", "centered"): [0.984, 0.984, 0.984],
    ("cnn", "shifted"): [0.950, 0.951, 0.952],
}


def sentences_of(sweep: MadeUp) -> list[str]:
    return findings(sweep.tables())


def test_the_drop_is_told_with_means_intervals_and_n() -> None:
    sentences = sentences_of(made_up_sweep(accuracies=EXACT, test_set=made_up_test_set(1000)))
    assert sentences[0] == (
        "feed_forward: mean test accuracy dropped from 0.969 "
        "(95 % CI 0.967\N{EN DASH}0.971, n = 3) on centered to 0.872 "
        "(95 % CI 0.865\N{EN DASH}0.879, n = 3) on shifted digits, by 0.097 "
        "(95 % CI 0.093\N{EN DASH}0.101)."
    )
    assert sentences[3].startswith("On shifted digits: the mean of cnn is above that of")
    assert len(sentences) == 4


def test_one_trial_tells_no_interval_and_says_so() -> None:
    first = {pair: values[:1] for pair, values in EXACT.items()}
    sentences = sentences_of(
        made_up_sweep({"trials": 1}, accuracies=first, test_set=made_up_test_set(1000))
    )
    assert sentences[0] == (
        "feed_forward: mean test accuracy dropped from 0.968 (n = 1) on centered to 0.870 (n = 1) "
        "on shifted digits, by 0.098."
    )
    assert "--trials" in sentences[-1]


def test_a_rise_is_not_called_a_drop() -> None:
    risen = {**EXACT, ("cnn", "shifted"): [0.990, 0.991, 0.992]}
    sentences = sentences_of(made_up_sweep(accuracies=risen, test_set=made_up_test_set(1000)))
    assert "cnn: mean test accuracy rose from 0.984" in sentences[1]
    assert "by 0.007" in sentences[1]


def test_failed_trials_are_told() -> None:
    sweep = made_up_sweep()
    for key in list(sweep.records)[:2]:
        sweep.records[key] = as_failed(sweep.records[key])
    assert sentences_of(sweep)[-1] == "2 trials failed; no mean includes them."


def test_nothing_finished_is_told() -> None:
    sweep = made_up_sweep()
    sweep.records.clear()
    assert sentences_of(sweep) == ["No trial has finished."]


def test_one_variant_alone_has_no_drop_but_its_mean() -> None:
    sentences = sentences_of(made_up_sweep({"variants": {"centered": {}}}, accuracies=0.9))
    assert sentences[0].startswith("feed_forward: mean test accuracy 0.9")
    assert not any("dropped" in sentence for sentence in sentences)


def test_of_a_grid_the_cells_are_told_that_validation_chose() -> None:
    sweep = made_up_sweep(
        {
            "architectures": {"cnn": {}},
            "training": {"learning_rate": {"grid_search": [1e-3, 1e-2]}},
        },
        accuracies=0.9,
    )
    sentences = sentences_of(sweep)
    assert len(sentences) == 1
    assert "of 2 configurations, that with the highest validation accuracy" in sentences[0]


# Searches

DASH = "\N{EN DASH}"
SCORES: Scores = {
    0: [0.80, 0.82, 0.84],
    1: [0.90, 0.92, 0.94, 0.89, 0.91],
    2: [0.95, None],
    "default": [0, 0, 0, 0.90, 0.90],
}


def test_a_search_is_told_with_its_optimism_and_the_default() -> None:
    assert sentences_of(made_up_search(SCORES)) == [
        "In the search for feed_forward on centered digits 3 configurations were tried (1 failed); "
        "the best scored 0.920 in the search and 0.900 afresh, so the search flattered it by "
        f"0.020; its fresh test accuracy is 0.850 (95 % CI 0.723{DASH}0.977, n = 2), that of the "
        "default 0.850 (no spread seen in n = 2).",
        "1 trial failed; no mean includes it.",
    ]


def test_a_search_that_flattered_nothing_says_so() -> None:
    higher_afresh = {**SCORES, 1: [0.90, 0.92, 0.94, 0.93, 0.93]}
    assert "so the search did not flatter it;" in sentences_of(made_up_search(higher_afresh))[0]


def test_a_winner_that_is_not_trained_afresh_yet_is_told() -> None:
    sentence = sentences_of(made_up_search(SCORES, at_most=8))[0]
    assert sentence.endswith("scored 0.920 in the search, and no fresh trial of it has finished.")


def test_a_search_that_has_not_ended_has_no_winner_yet() -> None:
    assert sentences_of(made_up_search(SCORES, at_most=7))[0] == (
        "The search for feed_forward on centered digits has not ended and has no winner yet: "
        "1 of 3 configurations proposed so far is complete (1 failed)."
    )


def test_a_search_in_which_all_failed_tells_the_first_error() -> None:
    all_failed: Scores = {0: [None], 1: [0.9, None], 2: [None]}
    assert sentences_of(made_up_search(all_failed)) == [
        "The search for feed_forward on centered digits has no winner: all 3 configurations "
        "failed. The first error: ValueError: no such luck",
        "3 trials failed; no mean includes them.",
    ]


def test_a_drop_of_defaults_is_not_taken_for_one_of_winners() -> None:
    both = {"variants": {"centered": {}, "shifted": {"shift": 4}}}
    sentences = sentences_of(made_up_search(SCORES, both))
    assert [s.split(":")[0] for s in sentences if "dropped" in s] == ["feed_forward (default)"]


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
