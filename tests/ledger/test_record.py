from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import as_failed, made_up_sweep

from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.record import Evaluation, Record, Status, Versions

RECORD = next(iter(made_up_sweep({"evaluate": {"shifts": [2, 3]}}).records.values()))


@pytest.mark.parametrize("classes", [2, 10, 256, 257, 1000])
def test_predictions_come_back_whatever_the_number_of_classes(classes: int) -> None:
    truth = np.arange(3000) % classes
    predictions = (truth + (np.arange(3000) < 300)) % classes
    graded = Evaluation.of(0, predictions=predictions, truth=truth, loss=0.5)
    assert graded.predictions.tolist() == predictions.tolist()
    assert graded.accuracy == 2700 / 3000


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=300))
def test_accuracy_is_the_number_of_correct_images_over_all(pairs: list[tuple[int, int]]) -> None:
    predictions, truth = np.array(pairs, np.int32).T
    graded = Evaluation.of(0, predictions=predictions, truth=truth, loss=0.5)
    assert graded.accuracy == sum(a == b for a, b in pairs) / len(pairs)
    assert graded.size == len(pairs)


def test_the_predictions_of_ten_thousand_images_take_a_few_kilobytes() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 10_000)
    graded = Evaluation.of(0, predictions=rng.integers(0, 10, 10_000), truth=truth, loss=0.5)
    assert len(graded.packed_predictions) < 6_000


def test_a_record_has_the_figures_of_its_last_epoch() -> None:
    assert RECORD.validation_accuracy == RECORD.epochs[-1].validation_accuracy
    assert RECORD.train_accuracy == RECORD.epochs[-1].train_accuracy
    assert as_failed(RECORD).validation_accuracy is None
    assert as_failed(RECORD).train_accuracy is None


def test_gradings_are_found_by_their_shift_the_variants_own_among_them() -> None:
    assert RECORD.test is not None
    assert RECORD.evaluation(RECORD.test.shift) == RECORD.test
    assert [RECORD.evaluation(shift) for shift in (2, 3)] == list(RECORD.robustness)
    assert RECORD.evaluation(1) is None
    assert as_failed(RECORD).evaluation(0) is None


FAILED, FAILED_AGAIN = as_failed(RECORD, "first"), as_failed(RECORD, "again")
CUT_SHORT = replace(RECORD, status=Status.CUT_SHORT, test=None, robustness=())
ELSEWHERE = replace(RECORD, parameters=7)


@pytest.mark.parametrize(
    ("known", "later", "kept"),
    [
        (FAILED, RECORD, RECORD),
        (RECORD, FAILED, RECORD),
        (FAILED, CUT_SHORT, CUT_SHORT),
        (CUT_SHORT, FAILED, CUT_SHORT),
        (CUT_SHORT, RECORD, RECORD),
        (RECORD, CUT_SHORT, RECORD),
        (FAILED, FAILED_AGAIN, FAILED_AGAIN),
        (RECORD, ELSEWHERE, RECORD),
    ],
)
def test_what_came_further_is_kept_and_a_finished_trial_never_replaced(
    known: Record, later: Record, kept: Record
) -> None:
    assert known.joined(later) is kept


NEWER = replace(RECORD.setting.versions, numpy_version="9.9")


def started_later(record: Record, versions: Versions, *, hours: int = 1) -> Record:
    setting = record.setting
    started_at = setting.started_at + timedelta(hours=hours)
    return replace(record, setting=replace(setting, started_at=started_at, versions=versions))


def test_of_finished_trials_of_different_versions_the_one_that_started_last_is_kept() -> None:
    again = started_later(replace(RECORD, robustness=()), NEWER)
    assert RECORD.joined(again) is again
    assert again.joined(RECORD) is again
    assert again.joined(as_failed(started_later(RECORD, NEWER, hours=2))) is again


def test_another_python_or_ray_changes_no_figure_and_replaces_nothing() -> None:
    other = replace(RECORD.setting.versions, python_version="9", ray_version="9")
    assert RECORD.joined(started_later(RECORD, other)) is RECORD


def test_gradings_on_other_test_sets_are_added_to_a_finished_trial() -> None:
    known = replace(RECORD, robustness=RECORD.robustness[:1])
    later = replace(ELSEWHERE, robustness=RECORD.robustness[1:])
    joined = known.joined(later)
    assert joined.parameters == RECORD.parameters
    assert [evaluation.shift for evaluation in joined.robustness] == [2, 3]
    assert joined.joined(known) is joined
    assert joined.joined(later) is joined


def test_another_variants_images_are_another_test_set_even_with_an_equal_shift() -> None:
    transform = {"function": "own:noise", "parameters": {"sigma": 9}, "source": "0" * 64}
    presentation = {
        "shift": 2,
        "canvas": RECORD.identity["canvas"],
        "transform": transform,
    }
    assert RECORD.evaluation(2, presentation) is None
    other = replace(RECORD.robustness[0], presentation=digest(presentation), accuracy=0.5)
    assert other.shift == 2
    later = replace(RECORD, robustness=(other,))
    joined = RECORD.joined(later)
    assert joined.evaluation(2, presentation) == other
    assert joined.evaluation(2) == RECORD.robustness[0]
    del presentation["transform"]
    assert joined.evaluation(2, presentation) == RECORD.robustness[0]
    changed = {**presentation, "transform": {**transform, "source": "1" * 64}}
    assert joined.evaluation(2, changed) is None
