"""The columns of the tables: names, types and what they mean. They are the interface.

It stands here, below the tables, since no hyperparameter may have the name of one of these columns.
`python -m mnist_ray.space.columns` prints them as the page docs/columns.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, cast


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


SWEEP = Column(
    "sweep",
    "string",
    "the sweep's name; null in a comparison of cells of two sweeps",
    Only.SIDE_BY_SIDE,
)

# A line a column: `name type: meaning`, or `name type (only): meaning`; indented lines go on. `*`
# stands for the hyperparameters, `*_a` for those of a comparison's first cell.

_CELL = """\
dataset string: name of the data set
architecture string: name of the architecture in the search space
variant string: name of the variant in the search space
*"""

_DEVICE = """\
device string: "CPU", or the name of the GPU; a cell whose trials ran on several has a row for each,
  and null where none ran yet"""


def _means(of: str) -> str:
    return f"""\
mean_test_accuracy double: mean test accuracy {of}, a share from 0 to 1
std_test_accuracy double: its standard deviation (ddof 1); null below two; 0 means no spread seen
sem_test_accuracy double: standard error of the mean; null below two
ci95_low double: lower end of the mean's 95 % interval, not clipped (Student's t; in the report,
  under replication to a precision, the one that its stopping rule decides by); null below two
  trials, and where all accuracies are equal: no spread seen is no certainty
ci95_high double: its upper end"""


def _cell_of_two(letter: str, which: str) -> str:
    return f"""\
sweep_{letter} string (side by side): sweep of the {which} cell, {letter}
architecture_{letter} string: architecture of the {which} cell, {letter}
variant_{letter} string: its variant
*_{letter}
selection_{letter} string (with a search): as in the table report"""


_COLUMNS = f"""\
# report
{_CELL}
trials int64: number of finished trials: n of the means
failed int64: number of failed trials, which no mean includes
{_means("over the finished trials")}
min_test_accuracy double: lowest test accuracy of a trial
max_test_accuracy double: highest test accuracy of a trial
mean_validation_accuracy double: null without validation images
mean_test_loss double: mean cross-entropy on the test set, in nats
mean_train_seconds double: mean of train_seconds over the finished trials
parameters int64: weights and biases of the model
independent_error_std double: the standard deviation that std_test_accuracy would be if trials erred
  on each test image independently (arXiv 2304.01910); null below two trials
excess_variance double: estimated variance of the accuracies on the distribution that the test set
  was drawn from; unbiased, hence negative at times; null below two trials
test_set_sem double: standard error of the mean from there being only so many test images, which
  more trials never shrink; null below two trials
left_skewed bool: whether the accuracies look left-skewed, or some trials are far below the others,
  so that the interval covers the mean less often than 95 % (see statistics.md); true for 1 % of
  normal samples too; null below four trials
fixed_trials int64 (to a precision): trials that replication of a fixed size would have needed for
  the same half-width; null where no spread was seen
plain_half_width double (to a precision): half-width of Student's t interval, which ignores optional
  stopping; null where no spread was seen
satisfied bool (to a precision): whether the interval is as narrow as asked for
selection string (with a search): winner (of the search), default, or winner and default, each
  measured afresh; null where nothing was searched
{_DEVICE}
# trials
key string: the trial's identity: a hash of all that changes its result
{_CELL}
trial int64: index in its cell, from 0
source string: the source of randomness that the trial draws with its own streams (weights,
  shuffling, placement, dropout, sample), all others being drawn with those of trial 0; null for an
  ordinary trial, which draws all with its own; means are over ordinary trials
seed int64: names the trial's random streams, the same in every cell
status string: finished, failed or cut_short (by early stopping)
error string: type and message, where it failed
traceback string: Python's traceback, where it failed with one
test_accuracy double: correct / N
test_loss double: mean cross-entropy on the test set, in nats
validation_accuracy double: after the last epoch; null without validation
train_accuracy double: over the last epoch's batches, while weights change
parameters int64: weights and biases of the model
setup_seconds double: preparing the data, building and compiling the model
train_seconds double: training, without validation and compilation
evaluate_seconds double: evaluation on validation images and test sets
started_at timestamp[us, tz=UTC]: when the trial started, UTC
node string: the machine
device string: "CPU", or the name of the GPU
threads int64: CPU threads of the trial
xla_error string: why XLA could not compile the model, which was trained without it; null otherwise
peak_memory_bytes int64: peak resident memory of its worker
python_version string: what the trial ran with
tensorflow_version string: likewise
keras_version string: likewise
ray_version string: likewise
numpy_version string: likewise
git_commit string: of the folder that the command was given in; null outside a repository
dataset_fingerprint string: SHA-256 of the data set's content
# epochs
key string: the trial, as in the table trials
{_CELL}
trial int64: index in its cell, from 0
source string: as in the table trials; null for an ordinary trial
epoch int64: from 1
train_loss double: mean cross-entropy over the epoch's batches, in nats
train_accuracy double: over the epoch's batches, while weights change
validation_loss double: after the epoch, in nats; null without validation
validation_accuracy double: after the epoch; null without validation
# comparisons
dataset string: name of the data set
kind string: the one thing in which the cells differ: drop (a: images in the centre, b: shifted;
  or a: as they are, b: transformed), architecture, or the name of a hyperparameter; search: a is
  the winner of a search and b the default, both measured afresh
{_cell_of_two("a", "first")}
{_cell_of_two("b", "second")}
trials_a int64: number of finished trials of a that the comparison uses: all, except for the
  difference that until names, which uses those that its stopping rule stopped at
trials_b int64: the same for b
pairs int64: number of these trials that a and b have in common
mean_difference double: mean test accuracy of a minus that of b
ci95_low double: lower end of its 95 % interval, by the test; for the difference that until names,
  the interval that its stopping rule decided by, or, where trials in between are missing or ran on
  another device, that of all pairs; null below two trials, and where all differences (without
  pairs: all accuracies of each cell) are equal
ci95_high double: its upper end
test string: the primary test: paired t where all trials are pairs, partially overlapping t where
  some are, Welch where fewer than two are
p_value double: of the primary test, two-sided; null without an interval, but 1 where no spread and
  no difference was seen; null for the difference that until names, since the test does not allow
  for its looking after every trial
p_value_holm double: the same, corrected for all comparisons of the sweep, or for all those across
  sweeps
wilcoxon_p_value double: of the signed-rank test of the pairs, which cannot be below 0.05 with fewer
  than 6 pairs; null without pairs, and for the difference that until names
correlation double: Pearson's, of the pairs; null below three
probability_of_superiority double: that a trial of a is more accurate than one of b, drawn
  independently (ties count half)
device string: that both cells ran on; different devices are not compared
# robustness
{_CELL}
test_variant string: the variant whose test images they are, with what tells them from others of it;
  the cell's own where only the shift is another
test_shift int64: how far the test images are shifted at most, in pixels
trials int64: number of finished trials graded on that test set
{_means("on that test set")}
mean_drop double: mean over these trials of the accuracy on the cell's own test set minus that here
drop_ci95_low double: lower end of its 95 % interval (Student's t, of the trials' differences)
drop_ci95_high double: its upper end
{_DEVICE}
# search
{_CELL}
configuration int64: its number in the search, from 0; null for the default
stage string: complete, running, raced_out (significantly worse than the best), cut_short (by early
  stopping) or failed; null for the default
is_winner bool: whether it had the highest score of all complete ones
is_default bool: whether every hyperparameter has its default
search_trials int64: number of finished trials in the search
failed int64: number of failed trials, in the search or afresh
search_validation_accuracy double: the score: mean validation accuracy over its trials in the search
search_validation_std double: its standard deviation (ddof 1)
confirm_trials int64: number of fresh trials, with seeds new to the search
confirm_validation_accuracy double: mean validation accuracy over those
optimism double: search_validation_accuracy minus confirm_validation_accuracy: by how much the
  search flattered its winner; null where they ran on different devices
{_means("over the fresh trials")}
search_device string: the devices that its trials in the search finished on
device string: the device of the fresh trials, the one that most of the winner's finished on; those
  on another are in report.parquet
# spread
{_CELL}
source string: what varies alone: weights, shuffling, placement, dropout, or sample (a bootstrap of
  the training images, which ordinary trials use once each); or all: the ordinary trials
trials int64: number of finished trials: n of the standard deviation
failed int64: number of failed ones
std_test_accuracy double: standard deviation of their test accuracies (ddof 1); null below two
std_ci95_low double: lower end of its 95 % interval (chi-square, which assumes normal accuracies,
  see statistics.md); null below two trials, and where all accuracies are equal
std_ci95_high double: its upper end
variance_share double: their variance divided by that of all; above 1 at times; null without a
  spread of all, below two trials, and for all
share_ci95_low double: lower end of its 95 % interval (bootstrap over the trials' indices); null
  below three trials, and where it is 0
share_ci95_high double: its upper end
largest_rate double: in which share of the bootstrap's resamples its variance is the largest of the
  sources that ordinary trials vary; null for sample and for all, and where there is only one
remainder double: for all: 1 minus the variance shares of the sources that ordinary trials vary (not
  of sample); negative where sources that vary alone spread the accuracies more than they add to
  all; null for a source
remainder_ci95_low double: lower end of its 95 % interval, as that of the shares
remainder_ci95_high double: its upper end
{_DEVICE}
"""


def _parsed(text: str) -> Iterator[Column | Hyperparameters]:
    for line in text.replace("\n  ", " ").splitlines():
        if line.startswith("*"):
            yield Hyperparameters(line[1:])
            continue
        declared, meaning = line.split(": ", 1)
        name, _, kind = declared.partition(" ")
        kind, _, only = kind.partition(" (")
        when = Only[only.removesuffix(")").replace(" ", "_").upper()] if only else None
        yield Column(name, cast("ColumnType", kind), meaning, when)


TABLES: Mapping[str, tuple[Column | Hyperparameters, ...]] = {
    name: tuple(_parsed(columns))
    for name, _, columns in (table.partition("\n") for table in _COLUMNS.split("# ")[1:])
}
"""The tables and their columns, in order."""

RESERVED_COLUMNS = frozenset(
    column.name
    for table in ((SWEEP,), *TABLES.values())
    for column in table
    if isinstance(column, Column)
) | {"builder"}
"""Names of columns, which no hyperparameter may have; `builder` is what makes the model."""

SETTINGS = frozenset(
    (
        *("epochs", "batch_size", "validation_split", "optimizer", "learning_rate"),
        *("precision", "jit_compile", "shift", "canvas"),
    )
)
"""Columns of training and variants, whose names no hyperparameter of one's own may have."""


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

All intervals are conditional on the test set and on where its images lie: they say what more \
trials would do, not what another test set would. `null` stands where the data cannot give a \
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
