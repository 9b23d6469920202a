"""The columns of the tables: names, types and what they mean. They are the interface.

It stands here, below the tables, since no hyperparameter may bear the name of one of these columns.
`python -m mnist_ray.space.columns` prints them as the page docs/columns.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Only(StrEnum):
    """When a column that is not always there is."""

    SIDE_BY_SIDE = "only where several sweeps are put side by side"
    TO_A_PRECISION = "only where the search space replicates to a precision"
    WITH_A_SEARCH = "only where the search space has a search"


ColumnType = Literal["string", "int64", "double", "bool", "timestamp[us, tz=UTC]"]
"""A type of Arrow's, by its name."""


@dataclass(frozen=True)
class Column:
    """A column of a table; `meaning` gives its unit and when it is null."""

    name: str
    type: ColumnType
    meaning: str
    only: Only | None = None


@dataclass(frozen=True)
class Hyperparameters:
    """The place in a table where each hyperparameter has a column.

    `suffix` follows the names where a row is of two cells.
    """

    suffix: str = ""


_TEXT: ColumnType = "string"
_WHOLE: ColumnType = "int64"
_REAL: ColumnType = "double"
_TRUTH: ColumnType = "bool"
_TIME: ColumnType = "timestamp[us, tz=UTC]"

SWEEP = Column(
    "sweep",
    _TEXT,
    "the sweep's name; null in a comparison of cells of two sweeps",
    Only.SIDE_BY_SIDE,
)

_CELL = (
    Column("dataset", _TEXT, "name of the data set"),
    Column("architecture", _TEXT, "name of the architecture in the search space"),
    Column("variant", _TEXT, "name of the variant in the search space"),
    Hyperparameters(),
)
_DEVICE = Column(
    "device",
    _TEXT,
    '"CPU", or the name of the GPU; a cell whose trials ran on several has a row for each, and '
    "null where none ran yet",
)
_INTERVAL_LOW = (
    "lower end of the mean's 95 % interval, not clipped (Student's t; in the report, under "
    "replication to a precision, the one that its stopping rule decides by); null below two "
    "trials, and where all accuracies are equal: no spread seen is no certainty"
)
_INTERVAL_HIGH = "its upper end"


def _mean_columns(of: str) -> tuple[Column, ...]:
    return (
        Column("mean_test_accuracy", _REAL, f"mean test accuracy {of}, a share from 0 to 1"),
        Column(
            "std_test_accuracy",
            _REAL,
            "its standard deviation (ddof 1); null below two; 0 means no spread seen",
        ),
        Column("sem_test_accuracy", _REAL, "standard error of the mean; null below two"),
        Column("ci95_low", _REAL, _INTERVAL_LOW),
        Column("ci95_high", _REAL, _INTERVAL_HIGH),
    )


def _cell_of_two(suffix: str, which: str) -> tuple[Column | Hyperparameters, ...]:
    return (
        Column(
            f"sweep{suffix}", _TEXT, f"sweep of the {which} cell, {suffix[1:]}", Only.SIDE_BY_SIDE
        ),
        Column(f"architecture{suffix}", _TEXT, f"architecture of the {which} cell, {suffix[1:]}"),
        Column(f"variant{suffix}", _TEXT, "its variant"),
        Hyperparameters(suffix),
        Column(f"selection{suffix}", _TEXT, "as in the table report", Only.WITH_A_SEARCH),
    )


TABLES: Mapping[str, tuple[Column | Hyperparameters, ...]] = {
    "report": (
        *_CELL,
        Column("trials", _WHOLE, "number of finished trials: n of the means"),
        Column("failed", _WHOLE, "number of failed trials, which no mean includes"),
        *_mean_columns("over the finished trials"),
        Column("min_test_accuracy", _REAL, "lowest test accuracy of a trial"),
        Column("max_test_accuracy", _REAL, "highest test accuracy of a trial"),
        Column("mean_validation_accuracy", _REAL, "null without validation images"),
        Column("mean_test_loss", _REAL, "mean cross-entropy on the test set, in nats"),
        Column("mean_train_seconds", _REAL, "mean of train_seconds over the finished trials"),
        Column("parameters", _WHOLE, "weights and biases of the model"),
        Column(
            "independent_error_std",
            _REAL,
            "the standard deviation that std_test_accuracy would be if trials erred on each test "
            "image independently (arXiv 2304.01910); null below two trials",
        ),
        Column(
            "excess_variance",
            _REAL,
            "estimated variance of the accuracies on the distribution that the test set was drawn "
            "from; unbiased, hence negative at times; null below two trials",
        ),
        Column(
            "test_set_sem",
            _REAL,
            "standard error of the mean from there being only so many test images, which more "
            "trials never shrink; null below two trials",
        ),
        Column(
            "left_skewed",
            _TRUTH,
            "whether the accuracies look left-skewed, or some trials are far below the others, so "
            "that the interval covers the mean less often than 95 % (see statistics.md); true for "
            "1 % of normal samples too; null below four trials",
        ),
        Column(
            "fixed_trials",
            _WHOLE,
            "trials that replication of a fixed size would have needed for the same half-width; "
            "null where no spread was seen",
            Only.TO_A_PRECISION,
        ),
        Column(
            "plain_half_width",
            _REAL,
            "half-width of Student's t interval, which ignores optional stopping; null where no "
            "spread was seen",
            Only.TO_A_PRECISION,
        ),
        Column(
            "satisfied",
            _TRUTH,
            "whether the interval is as narrow as asked for",
            Only.TO_A_PRECISION,
        ),
        Column(
            "selection",
            _TEXT,
            "winner (of the search), default, or winner and default, each measured afresh; null "
            "where nothing was searched",
            Only.WITH_A_SEARCH,
        ),
        _DEVICE,
    ),
    "trials": (
        Column("key", _TEXT, "the trial's identity: a hash of all that changes its result"),
        *_CELL,
        Column("trial", _WHOLE, "index in its cell, from 0"),
        Column("seed", _WHOLE, "names the trial's random streams, the same in every cell"),
        Column("status", _TEXT, "finished, failed or cut_short (by early stopping)"),
        Column("error", _TEXT, "type and message, where it failed"),
        Column("traceback", _TEXT, "Python's traceback, where it failed with one"),
        Column("test_accuracy", _REAL, "correct / N"),
        Column("test_loss", _REAL, "mean cross-entropy on the test set, in nats"),
        Column("validation_accuracy", _REAL, "after the last epoch; null without validation"),
        Column("train_accuracy", _REAL, "over the last epoch's batches, while weights change"),
        Column("parameters", _WHOLE, "weights and biases of the model"),
        Column("setup_seconds", _REAL, "preparing the data, building and compiling the model"),
        Column("train_seconds", _REAL, "training, without validation and compilation"),
        Column("evaluate_seconds", _REAL, "evaluation on validation images and test sets"),
        Column("started_at", _TIME, "when the trial started, UTC"),
        Column("node", _TEXT, "the machine"),
        Column("device", _TEXT, '"CPU", or the name of the GPU'),
        Column("threads", _WHOLE, "CPU threads of the trial"),
        Column(
            "xla_error",
            _TEXT,
            "why XLA could not compile the model, which was trained without it; null otherwise",
        ),
        Column("peak_memory_bytes", _WHOLE, "peak resident memory of its worker"),
        Column("python_version", _TEXT, "what the trial ran with"),
        Column("tensorflow_version", _TEXT, "likewise"),
        Column("keras_version", _TEXT, "likewise"),
        Column("ray_version", _TEXT, "likewise"),
        Column("numpy_version", _TEXT, "likewise"),
        Column(
            "git_commit",
            _TEXT,
            "of the folder that the command was given in; null outside a repository",
        ),
        Column("dataset_fingerprint", _TEXT, "SHA-256 of the data set's content"),
    ),
    "epochs": (
        Column("key", _TEXT, "the trial, as in the table trials"),
        *_CELL,
        Column("trial", _WHOLE, "index in its cell, from 0"),
        Column("epoch", _WHOLE, "from 1"),
        Column("train_loss", _REAL, "mean cross-entropy over the epoch's batches, in nats"),
        Column("train_accuracy", _REAL, "over the epoch's batches, while weights change"),
        Column("validation_loss", _REAL, "after the epoch, in nats; null without validation"),
        Column("validation_accuracy", _REAL, "after the epoch; null without validation"),
    ),
    "comparisons": (
        Column("dataset", _TEXT, "name of the data set"),
        Column(
            "kind",
            _TEXT,
            "the one thing in which the cells differ: drop (a: digits in the centre, b: shifted), "
            "architecture, or the name of a hyperparameter; search: a is the winner of a search "
            "and b the default, both measured afresh",
        ),
        *_cell_of_two("_a", "first"),
        *_cell_of_two("_b", "second"),
        Column(
            "trials_a",
            _WHOLE,
            "number of finished trials of a that the comparison uses: all, except for the "
            "difference that until names, which uses those that its stopping rule stopped at",
        ),
        Column("trials_b", _WHOLE, "the same for b"),
        Column("pairs", _WHOLE, "number of these trials that a and b have in common"),
        Column("mean_difference", _REAL, "mean test accuracy of a minus that of b"),
        Column(
            "ci95_low",
            _REAL,
            "lower end of its 95 % interval, by the test; for the difference that until names, the "
            "interval that its stopping rule decided by; null below two trials, and where all "
            "differences (without pairs: all accuracies of each cell) are equal",
        ),
        Column("ci95_high", _REAL, _INTERVAL_HIGH),
        Column(
            "test",
            _TEXT,
            "the primary test: paired t where all trials are pairs, partially overlapping t where "
            "some are, Welch where fewer than two are",
        ),
        Column(
            "p_value",
            _REAL,
            "of the primary test, two-sided; null without an interval, but 1 where no spread and "
            "no difference was seen; null for the difference that until names, since the test "
            "does not allow for its looking after every trial",
        ),
        Column(
            "p_value_holm",
            _REAL,
            "the same, corrected for all comparisons of the sweep, or for all those across sweeps",
        ),
        Column(
            "wilcoxon_p_value",
            _REAL,
            "of the signed-rank test of the pairs, which cannot be below 0.05 with fewer than 6 "
            "pairs; null without pairs, and for the difference that until names",
        ),
        Column("correlation", _REAL, "Pearson's, of the pairs; null below three"),
        Column(
            "probability_of_superiority",
            _REAL,
            "that a trial of a is more accurate than one of b, drawn independently (ties count "
            "half)",
        ),
        Column("device", _TEXT, "that both cells ran on; different devices are not compared"),
    ),
    "robustness": (
        *_CELL,
        Column("test_shift", _WHOLE, "how far the test digits are shifted at most, in pixels"),
        Column("trials", _WHOLE, "number of finished trials graded on that shift"),
        *_mean_columns("at that shift"),
        _DEVICE,
    ),
    "search": (
        *_CELL,
        Column("configuration", _WHOLE, "its number in the search, from 0; null for the default"),
        Column(
            "stage",
            _TEXT,
            "complete, running, raced_out (significantly worse than the best), cut_short (by early "
            "stopping) or failed; null for the default",
        ),
        Column("is_winner", _TRUTH, "whether it had the highest score of all complete ones"),
        Column("is_default", _TRUTH, "whether every hyperparameter has its default"),
        Column("search_trials", _WHOLE, "number of finished trials in the search"),
        Column("failed", _WHOLE, "number of failed trials, in the search or afresh"),
        Column(
            "search_validation_accuracy",
            _REAL,
            "the score: mean validation accuracy over its trials in the search",
        ),
        Column("search_validation_std", _REAL, "its standard deviation (ddof 1)"),
        Column("confirm_trials", _WHOLE, "number of fresh trials, with seeds new to the search"),
        Column("confirm_validation_accuracy", _REAL, "mean validation accuracy over those"),
        Column(
            "optimism",
            _REAL,
            "search_validation_accuracy minus confirm_validation_accuracy: by how much the search "
            "flattered its winner",
        ),
        *_mean_columns("over the fresh trials"),
    ),
}
"""The tables and their columns, in order."""


RESERVED_COLUMNS = frozenset(
    column.name
    for table in ((SWEEP, Column("builder", _TEXT, "what makes the model")), *TABLES.values())
    for column in table
    if isinstance(column, Column)
)
"""Columns that no hyperparameter may bear the name of."""


def markdown() -> str:
    """The page docs/columns.md."""
    sections = [_INTRODUCTION]
    for name, columns in TABLES.items():
        rows = [_markdown_row(column) for column in columns]
        sections.append("\n".join([f"## {name}.parquet", "", *_HEADING, *rows]))
    return "\n\n".join(sections) + "\n"


_INTRODUCTION = """\
# Columns of the tables

Made by `python -m mnist_ray.space.columns`. The order is that of the files. `load_report` and \
its siblings give text as categories, whole numbers as `Int64`, times as UTC timestamps and lists \
as tuples.

All intervals are conditional on the test set and on where its digits lie: they say what more \
trials would do, not what another test set would. `null` stands where the data can't give a \
figure. Where several sweeps are put side by side, every table begins with `sweep`, the sweep's \
name."""
_HEADING = ["| column | type | meaning |", "|---|---|---|"]


def _markdown_row(column: Column | Hyperparameters) -> str:
    if isinstance(column, Hyperparameters):
        name = f"*hyperparameter*{column.suffix}"
        meaning = "one column each, of architecture, training and variant; null where there is none"
        return f"| {name} | by its values | {meaning} |"
    meaning = f"{column.meaning} ({column.only})" if column.only else column.meaning
    return f"| `{column.name}` | {column.type} | {meaning} |"


if __name__ == "__main__":
    print(markdown(), end="")
