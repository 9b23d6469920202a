"""Sentences on trials that ran with other versions: these are never averaged unnoticed."""

from made_up import MadeUp, made_up_sweep, with_versions

from mnist_ray.analysis.trial_findings import outdated_sentences
from mnist_ray.ledger.record import Status, Versions

CURRENT = made_up_sweep()
VERSIONS = "TensorFlow 2.21.0, Keras 3.15.0, NumPy 2.4.0"


def with_older(count: int) -> MadeUp:
    """The first trials recorded with an older TensorFlow."""
    sweep = made_up_sweep()
    for key in list(sweep.records)[:count]:
        sweep.records[key] = with_versions(sweep.records[key], tensorflow_version="2.19.0")
    return sweep


def test_a_report_says_which_cells_have_trials_of_other_versions() -> None:
    assert (
        f"The trials ran with different versions: 8 with {VERSIONS}; 4 with TensorFlow 2.19.0, "
        "Keras 3.15.0, NumPy 2.4.0 (feed_forward on centered digits: 3, feed_forward on shifted "
        "digits: 1). A sweep with --fresh runs again those that ran with others than are installed."
    ) in with_older(4).findings()


def test_equal_versions_are_not_worth_a_word() -> None:
    assert not [sentence for sentence in CURRENT.findings() if "versions" in sentence]


def test_another_ray_or_python_is_not_worth_a_word_either() -> None:
    sweep = made_up_sweep()
    key = next(iter(sweep.records))
    sweep.records[key] = with_versions(sweep.records[key], ray_version="1", python_version="3.9")
    assert sweep.findings() == CURRENT.findings()


def test_a_sweep_says_what_was_recorded_with_other_versions_than_are_installed() -> None:
    installed = Versions("3.11", "2.21.0", "3.15.0", "2.60.0", "2.4.0")
    records = with_older(4).records.values()
    kept = outdated_sentences(records, installed, are_run_again=False)
    assert kept == [
        f"Recorded with other versions than are installed ({VERSIONS}): 4 with TensorFlow 2.19.0, "
        "Keras 3.15.0, NumPy 2.4.0 (feed_forward on centered digits: 3, feed_forward on shifted "
        "digits: 1); they count all the same; --fresh runs them again."
    ]
    assert "they run again." in outdated_sentences(records, installed, are_run_again=True)[0]
    assert outdated_sentences(CURRENT.records.values(), installed, are_run_again=False) == []
    assert all(record.status is Status.FINISHED for record in records)
