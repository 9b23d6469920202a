"""Run a search space: `mnist-ray sweep`.

Arguments, space, plan, run, report, and nothing else. What each of them is lies in its room.
"""

import argparse
import contextlib
import importlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mnist_ray._command import (
    SweepInputs,
    command_again,
    find_inputs,
    integer,
    interruptible,
    interruption_regained,
    number,
    report_error,
    run_as_program,
)
from mnist_ray.errors import InputError, StorageError

if TYPE_CHECKING:
    from mnist_ray.plan.trial_queue import TrialQueue
    from mnist_ray.run.setup import SweepSetup
    from mnist_ray.run.trackers import Tracker
    from mnist_ray.view.terminal import SweepResult, Terminal

_TRACKERS = ("tensorboard", "mlflow", "wandb")
_FINISHED, _SOME_FAILED, _INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class Options:
    """How to run, as on the command line; see `mnist-ray sweep --help`."""

    space: str | None = None
    trials: int | None = None
    seed: int | None = None
    data: str | None = None
    results: str = "results"
    address: str | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    dry_run: bool = False
    fresh: bool = False
    hourly_cost: float | None = None
    log: Sequence[str] = ()
    quiet: bool = False
    verbose: bool = False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-ray sweep",
        description="Run independent trials of Keras architectures on centered and shifted digits, "
        "and report each mean test accuracy with its uncertainty. What is already recorded in the "
        "results folder is not run again.",
    )
    parser.add_argument(
        "space",
        nargs="?",
        metavar="SPACE",
        help="a search space: a YAML file or the name of a shipped one (default: notebook, or "
        "digits where MNIST can't be had)",
    )
    _add_what_to_run(parser.add_argument_group("what to run"))
    _add_where_to_run(parser.add_argument_group("where, and with how much of the machine"))
    _add_what_to_show(parser.add_argument_group("what to show"))
    return parser


def _add_what_to_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--trials", type=integer(least=1), metavar="N", help="trials a cell/source")
    group.add_argument("--seed", type=integer(least=0), metavar="N", help="the sweep's seed")
    group.add_argument(
        "--data",
        metavar="PATH",
        help="MNIST or Fashion-MNIST: an .npz file with Keras' keys, or a folder of IDX files "
        "(default: for MNIST $MNIST_RAY_DATA; Keras' cache, or a download into it)",
    )
    group.add_argument(
        "--fresh",
        action="store_true",
        help="also run again what was recorded with another TensorFlow, Keras or NumPy than is "
        "installed",
    )


def _add_where_to_run(group: argparse._ArgumentGroup) -> None:
    positive = integer(least=1)
    group.add_argument(
        "--results",
        default="results",
        metavar="DIR|URI",
        help="parent of the sweep's folder: a path, or s3://, gs:// (default: results)",
    )
    group.add_argument(
        "--address",
        metavar="ADDR",
        help="a running Ray cluster: auto or host:port (default: $RAY_ADDRESS, or a Ray of its own "
        "on this machine)",
    )
    group.add_argument("--cpus-per-trial", type=positive, metavar="N", help="threads of a trial")
    group.add_argument(
        "--gpus-per-trial",
        type=_share_of_gpus,
        metavar="F",
        help="GPUs of a trial, such as 0.25 (default: auto, by memory, where there are GPUs)",
    )
    group.add_argument("--max-concurrent", type=positive, metavar="N", help="trials at a time")


def _add_what_to_show(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dry-run", action="store_true", help="show what would run, and end")
    group.add_argument(
        "--hourly-cost",
        type=number(least=0),
        metavar="X",
        help="with --dry-run: what an hour of the machine or cluster costs, for a price",
    )
    group.add_argument(
        "--log",
        action="append",
        choices=_TRACKERS,
        default=[],
        help="hand every trial that runs to a tracker too; may be given several times",
    )
    group.add_argument("--quiet", action="store_true", help="show only what goes wrong")
    group.add_argument("--verbose", action="store_true", help="show all that Ray and Keras say")


def _share_of_gpus(text: str) -> float | None:
    if text == "auto":
        return None
    with contextlib.suppress(argparse.ArgumentTypeError):
        share = number(least=0)(text)
        if share < 1 or share.is_integer():
            return share
    raise argparse.ArgumentTypeError(
        f"{text!r} given, auto or a number from 0 to 1 (or a whole number of GPUs) allowed"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    parser = _parser()
    options = Options(**vars(parser.parse_args(arguments)))
    logging.basicConfig(
        format="%(message)s", level=logging.INFO if options.verbose else logging.WARNING
    )
    try:
        with interruptible(exit_code=_INTERRUPTED), interruption_regained():
            return run(options).exit_code
    except (InputError, StorageError) as error:
        return report_error(error, command="mnist-ray sweep")
    except KeyboardInterrupt:
        return _INTERRUPTED


def run_sweep(space: "str | os.PathLike[str] | None" = None, **options: Any) -> "SweepResult":
    """Run, resume or extend a sweep from Python.

    Args:
        space: a YAML file or the name of a shipped space; the command's default where None.
        options: the command's, by the same names: `trials`, `seed`, `data`, `results`, `address`,
            `cpus_per_trial`, `gpus_per_trial`, `max_concurrent`, `dry_run`, `fresh`,
            `hourly_cost`, `log` (a list), `quiet`, `verbose`.

    Raises:
        TypeError: an option that there is not.
        InputError: something given can't be used; nothing has been started.
        StorageError: the results can't be written any more; what is recorded is safe.
    """
    from mnist_ray.train.environment import environment_restored

    with environment_restored():
        return run(Options(space=None if space is None else os.fspath(space), **options))


def run(options: Options) -> "SweepResult":
    """Run, resume or extend a sweep, and make its report anew.

    Raises:
        InputError: something given can't be used; nothing has been started.
        StorageError: the results can't be written any more; what is recorded is safe.
    """
    # Before anything slower is imported, so that a slip of the pen is reported at once.
    inputs = find_inputs(options.space, data=options.data, trials=options.trials, seed=options.seed)
    sweep = _prepare(options, inputs)
    sweep.announce()
    trackers = [] if options.dry_run else sweep.open_trackers()
    sweep.check()
    if options.dry_run:
        sweep.foretell()
        from mnist_ray.view.terminal import SweepResult

        return SweepResult(sweep.setup.folder.uri, None, _FINISHED)
    sweep.describe()
    interrupted = sweep.run_missing(trackers)
    return sweep.report(interrupted=interrupted)


def _prepare(options: Options, inputs: SweepInputs) -> "_Sweep":
    """Read all that is recorded, and plan."""
    from mnist_ray.ledger.ledger import Ledger
    from mnist_ray.ledger.record import Versions
    from mnist_ray.ledger.results_folder import ResultsFolder
    from mnist_ray.plan.dataset_info import DatasetInfo
    from mnist_ray.plan.planner import Planner
    from mnist_ray.plan.resources import Limits
    from mnist_ray.plan.trial_queue import TrialQueue
    from mnist_ray.run.cluster import find_address
    from mnist_ray.run.setup import SweepSetup
    from mnist_ray.space.custom_code import source_digests
    from mnist_ray.view.terminal import Terminal

    space, installed = inputs.space, Versions.installed()
    folder = ResultsFolder.open(options.results, space.name)
    setup = SweepSetup(
        space=space,
        code=inputs.code,
        dataset=inputs.dataset,
        dataset_info=DatasetInfo.of(inputs.dataset, sources=source_digests(inputs.code)),
        folder=folder,
        ledger=Ledger(folder),
        limits=Limits(options.cpus_per_trial, options.gpus_per_trial),
        address=find_address(options.address),
    )
    queue = TrialQueue(
        Planner(space, setup.dataset_info).plan,
        setup.ledger.read(),
        max_concurrent=options.max_concurrent,
        stops_early=space.early_stopping is not None,
        is_outdated=lambda record: options.fresh and record.has_other_versions(installed),
    )
    terminal = Terminal(quiet=options.quiet, verbose=options.verbose)
    return _Sweep(options, inputs.notices, setup, queue, terminal)


def _import_what_follows() -> None:
    """What runs trials and makes the report; an error in it is reported where it is used."""
    for name in ("mnist_ray.run.execution", "mnist_ray.view.report", "scipy.stats"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


@dataclass(frozen=True, eq=False)
class _Sweep:
    """A sweep that is ready to run."""

    options: Options
    notices: tuple[str, ...]
    setup: "SweepSetup"
    queue: "TrialQueue"
    terminal: "Terminal"

    def announce(self) -> None:
        """Say what will run, and what is recorded of other versions."""
        from mnist_ray.analysis.versions import outdated_sentences
        from mnist_ray.ledger.record import Versions

        self.terminal.print_lines(self.notices)
        self.terminal.announce(
            self.setup.space,
            dataset=self.setup.dataset.name,
            images=self.setup.dataset_info.train_images,
            plan=self.queue.plan,
        )
        found = (self.queue.records.get(trial.key) for trial in self.queue.plan.wanted)
        wanted = [record for record in found if record]
        installed, again = Versions.installed(), self.options.fresh
        self.terminal.print_lines(outdated_sentences(wanted, installed, are_run_again=again))

    def foretell(self) -> None:
        """Say what the rest would take."""
        from mnist_ray.plan.forecast import forecast
        from mnist_ray.run.preflight import expected_concurrency
        from mnist_ray.train.calibration import calibrate

        space, info = self.setup.space, self.setup.dataset_info
        concurrency = expected_concurrency(self.queue, self.setup) if self.queue.plan.missing else 1
        expected = forecast(
            self.queue.plan,
            space=space,
            dataset_info=info,
            records=self.queue.records,
            concurrency=concurrency,
            hourly_cost=self.options.hourly_cost,
            calibrate=partial(calibrate, dataset_info=info, threads=1, code=self.setup.code),
        )
        self.terminal.forecast(expected, space)

    def open_trackers(self) -> "list[Tracker]":
        """Those asked for, if they will have something to log."""
        if not (self.options.log and self.queue.plan.missing):
            return []
        from mnist_ray.run.trackers import open_trackers

        folder, space = self.setup.folder, self.setup.space
        return open_trackers(self.options.log, folder=folder, space=space)

    def check(self) -> None:
        """See that all that is needed is there, before anything starts."""
        from mnist_ray.run.preflight import check_missing

        check_missing(self.queue, self.setup)
        # Last, since it makes the folder.
        self.setup.folder.check_writable(leave_no_trace=self.options.dry_run)

    def describe(self) -> None:
        """Write what the records are of, so that the folder explains itself."""
        from mnist_ray.ledger.ledger import SweepManifest
        from mnist_ray.ledger.test_images import TestSet, write_test_set

        setup, info, dataset = self.setup, self.setup.dataset_info, self.setup.dataset
        setup.ledger.set_aside_damaged()
        setup.ledger.pack()
        test_set = TestSet(
            dataset.name,
            dataset.fingerprint,
            dataset.classes,
            dataset.test_images,
            dataset.test_labels.astype("int32"),
            dataset.class_names,
        )
        write_test_set(setup.folder, test_set)
        setup.ledger.write_manifest(
            SweepManifest(
                info.fingerprint,
                dict(info.sources),
                command_again(self.options, Options()),
                {key: list(shape) for key, shape in setup.space.image_shapes.items()},
            )
        )
        setup.folder.write(setup.folder.space, setup.space.to_yaml().encode())

    def run_missing(self, trackers: "Sequence[Tracker]") -> bool:
        """Run what is missing; whether a person interrupted it."""
        from mnist_ray.plan.estimates import estimated_seconds

        missing = self.queue.plan.missing
        if not missing:
            return False
        # Late: Ray takes a while to import, and is not needed where nothing is missing.
        from mnist_ray.run.connection import connected
        from mnist_ray.space.custom_code import modules_to_ship

        seconds = estimated_seconds(missing, self.setup.dataset_info, self.queue.records)
        weights = {trial.key: seconds[trial.cell_key] for trial in missing}
        try:
            with (
                interruption_regained(),
                self.terminal.progress(self.setup.space, self.queue, weights) as progress,
                connected(
                    self.setup.address,
                    verbose=self.options.verbose,
                    modules=modules_to_ship(self.setup.code) if self.setup.address else [],
                    meanwhile=_import_what_follows,
                ),
            ):
                from mnist_ray.run.execution import execute

                execute(self.queue, self.setup, listener=progress, trackers=trackers)
        except KeyboardInterrupt:
            self.terminal.interrupted(self.queue)
            return True
        return False

    def report(self, *, interrupted: bool) -> "SweepResult":
        """Write the report, and show what came out."""
        from mnist_ray.analysis.findings import findings
        from mnist_ray.analysis.loading import to_frame
        from mnist_ray.analysis.reading import read_results
        from mnist_ray.ledger.record import Status
        from mnist_ray.run.kept_images import keep_transformed_images
        from mnist_ray.view.report import write_report
        from mnist_ray.view.terminal import SweepResult

        setup, plan = self.setup, self.queue.plan
        keep_transformed_images(self.queue, setup)
        results = read_results(
            setup.folder,
            space=setup.space,
            dataset_info=setup.dataset_info,
            records=self.queue.records,
        )
        tables = write_report([results], setup.folder)
        found = (self.queue.records.get(trial.key) for trial in plan.wanted)
        failed = [record for record in found if record and record.status is Status.FAILED]
        self.terminal.result(tables, findings(tables))
        self.terminal.failures(failed, space=setup.space, folder=setup.folder.uri)
        self.terminal.left_out(len(plan.unrequested(self.queue.records)), space=setup.space)
        self.terminal.print_lines(self.notices)
        self.terminal.print_place("The report", (setup.folder / setup.folder.page).uri)
        code = _INTERRUPTED if interrupted else _SOME_FAILED if failed else _FINISHED
        return SweepResult(setup.folder.uri, to_frame(tables.report), code)


if __name__ == "__main__":
    run_as_program(main)
