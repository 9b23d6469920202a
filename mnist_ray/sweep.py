"""Run a search space: `mnist-ray sweep`.

Arguments, space, plan, run, report, and nothing else: each of these steps has its room.
"""

import argparse
import contextlib
import importlib
import logging
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mnist_ray._command import (
    INTERRUPTED,
    flag,
    integer,
    interruption_regained,
    number,
    option,
    run_as_program,
    run_command,
)

# What is heavy is imported where it is used, so that `--help` and errors in the arguments are
# quick.
if TYPE_CHECKING:
    from mnist_ray.ledger.record import Record
    from mnist_ray.plan.trial_queue import TrialQueue
    from mnist_ray.run.setup import SweepSetup
    from mnist_ray.run.trackers import Tracker
    from mnist_ray.view.terminal import SweepResult, Terminal

_TRACKERS = ("tensorboard", "mlflow", "wandb")
_FINISHED, _SOME_FAILED = 0, 1


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


@dataclass(frozen=True)
class SweepOptions:
    """Run independent trials of Keras architectures on centered and shifted digits, and report
    each mean test accuracy with its uncertainty. What is already recorded in the results folder is
    not run again."""

    space: str | None = option(
        "a search space: a YAML file or the name of a shipped one (default: notebook, or digits "
        "where MNIST cannot be had)",
        names=[],
        nargs="?",
        metavar="SPACE",
    )
    trials: int | None = option(
        "trials a cell/source", heading="what to run", type=integer(least=1), metavar="N"
    )
    seed: int | None = option("the sweep's seed", type=integer(least=0), metavar="N")
    data: str | None = option(
        "MNIST or Fashion-MNIST: an .npz file with Keras' keys, or a folder of IDX files "
        "(default: for MNIST $MNIST_RAY_DATA; Keras' cache, or a download into it)",
        metavar="PATH",
    )
    fresh: bool = flag(
        "also run again what was recorded with another TensorFlow, Keras or NumPy than is installed"
    )
    results: str = option(
        "parent of the sweep's folder: a path, or s3://, gs:// (default: results)",
        heading="where, and with how much of the machine",
        default="results",
        metavar="DIR|URI",
    )
    address: str | None = option(
        "a running Ray cluster: auto or host:port (default: $RAY_ADDRESS, or a Ray of its own on "
        "this machine)",
        metavar="ADDR",
    )
    cpus_per_trial: int | None = option("threads of a trial", type=integer(least=1), metavar="N")
    gpus_per_trial: float | None = option(
        "GPUs of a trial, such as 0.25 (default: auto, by memory, where there are GPUs)",
        type=_share_of_gpus,
        metavar="F",
    )
    max_concurrent: int | None = option("trials at a time", type=integer(least=1), metavar="N")
    dry_run: bool = flag("show what would run, and end", heading="what to show")
    hourly_cost: float | None = option(
        "with --dry-run: what an hour of the machine or cluster costs, for a price",
        type=number(least=0),
        metavar="X",
    )
    log: Sequence[str] = option(
        "hand every trial that runs to a tracker too; may be given several times",
        default=(),
        action="append",
        choices=_TRACKERS,
    )
    quiet: bool = flag("show only what goes wrong")
    verbose: bool = flag("show all that Ray and Keras say")

    def command_again(self) -> str:
        """The command line that runs what such a sweep still lacks."""
        words = ["mnist-ray", "sweep"]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in _OF_ONE_RUN or value == each.default:
                continue
            name = [] if each.name == "space" else [f"--{each.name.replace('_', '-')}"]
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [*name, str(one)]
        return shlex.join(words)


_OF_ONE_RUN = ("dry_run", "fresh", "hourly_cost", "quiet", "verbose")
"""Options that say nothing of what is to be run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return run_command("sweep", SweepOptions, _run, arguments=arguments)


def _run(options: SweepOptions) -> int:
    logging.basicConfig(
        format="%(message)s", level=logging.INFO if options.verbose else logging.WARNING
    )
    return run(options).exit_code


def run_sweep(space: "str | os.PathLike[str] | None" = None, **options: Any) -> "SweepResult":
    """Run, resume or extend a sweep from Python.

    Args:
        space: a YAML file or the name of a shipped space; the command's default where None.
        options: the command's, by the same names: `trials`, `seed`, `data`, `results`, `address`,
            `cpus_per_trial`, `gpus_per_trial`, `max_concurrent`, `dry_run`, `fresh`,
            `hourly_cost`, `log` (a list), `quiet`, `verbose`.

    Raises:
        TypeError: an option that there is not.
        InputError: something given cannot be used; nothing has been started.
        StorageError: the results cannot be written any more; what is recorded is safe.
    """
    from mnist_ray.train.environment import environment_restored

    with environment_restored():
        return run(SweepOptions(space=None if space is None else os.fspath(space), **options))


def run(options: SweepOptions) -> "SweepResult":
    """Run, resume or extend a sweep, and make its report anew.

    Raises:
        InputError: something given cannot be used; nothing has been started.
        StorageError: the results cannot be written any more; what is recorded is safe.
    """
    sweep = _prepare(options)
    sweep.announce()
    trackers = [] if options.dry_run else sweep.open_trackers()
    sweep.check()
    if options.dry_run:
        sweep.show_forecast()
        from mnist_ray.view.terminal import SweepResult

        return SweepResult(sweep.setup.folder.uri, None, _FINISHED)
    sweep.setup.describe_records(options.command_again())
    interrupted = sweep.run_missing(trackers)
    return sweep.report(interrupted=interrupted)


def _prepare(options: SweepOptions) -> "_Sweep":
    """Read what is asked for and all that is recorded, and plan."""
    from mnist_ray.plan.resources import Limits
    from mnist_ray.run.setup import set_up

    # Before anything slower is imported, so that a typing error is reported at once.
    setup = set_up(
        options.space,
        data=options.data,
        trials=options.trials,
        seed=options.seed,
        results=options.results,
        limits=Limits(options.cpus_per_trial, options.gpus_per_trial),
        address=options.address,
    )
    from mnist_ray.ledger.record import Versions
    from mnist_ray.plan.planner import Planner
    from mnist_ray.plan.trial_queue import TrialQueue
    from mnist_ray.view.terminal import Terminal

    installed = Versions.installed()
    queue = TrialQueue(
        Planner(setup.space, setup.dataset_info).plan,
        setup.ledger.read(),
        max_concurrent=options.max_concurrent,
        is_outdated=lambda record: options.fresh and record.has_other_versions(installed),
    )
    terminal = Terminal(setup.space, quiet=options.quiet, verbose=options.verbose)
    return _Sweep(options, setup, queue, terminal)


def _import_what_follows() -> None:
    """What runs trials and makes the report; an error in it is reported where it is used."""
    for name in ("mnist_ray.run.execution", "mnist_ray.view.report", "scipy.stats"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


@dataclass(frozen=True, eq=False)
class _Sweep:
    """A sweep that is ready to run."""

    options: SweepOptions
    setup: "SweepSetup"
    queue: "TrialQueue"
    terminal: "Terminal"

    @property
    def recorded(self) -> "list[Record]":
        """Of the trials that are wanted."""
        found = (self.queue.records.get(trial.key) for trial in self.queue.plan.wanted)
        return [record for record in found if record]

    def announce(self) -> None:
        """Say what will run, and what is recorded of other versions."""
        from mnist_ray.analysis.trial_findings import outdated_sentences
        from mnist_ray.ledger.record import Versions

        self.terminal.print_lines(self.setup.notices)
        self.terminal.announce(
            dataset=self.setup.dataset.name,
            images=self.setup.dataset_info.train_images,
            plan=self.queue.plan,
        )
        installed, again = Versions.installed(), self.options.fresh
        self.terminal.print_lines(outdated_sentences(self.recorded, installed, are_run_again=again))

    def show_forecast(self) -> None:
        """Say what the rest would take."""
        from mnist_ray.run.preflight import expected

        rest = expected(self.queue, self.setup, hourly_cost=self.options.hourly_cost)
        self.terminal.forecast(rest)

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

    def run_missing(self, trackers: "Sequence[Tracker]") -> bool:
        """Run what is missing; whether a person interrupted it."""
        from mnist_ray.plan.estimates import Timings

        missing = self.queue.plan.missing
        if not missing:
            return False
        # Late: Ray takes a while to import, and is not needed where nothing is missing.
        from mnist_ray.run.connection import connected
        from mnist_ray.space.custom_code import modules_to_ship

        seconds = Timings(self.setup.dataset_info, self.queue.records).seconds(missing)
        weights = {trial.key: seconds[trial.cell_key] for trial in missing}
        try:
            with (
                interruption_regained(),
                self.terminal.progress(self.queue, weights) as progress,
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

        setup = self.setup
        keep_transformed_images(self.queue, setup)
        results = read_results(
            setup.folder,
            space=setup.space,
            dataset_info=setup.dataset_info,
            records=self.queue.records,
        )
        tables = write_report([results], setup.folder)
        failed = [record for record in self.recorded if record.status is Status.FAILED]
        self.terminal.result(tables, findings([results], tables))
        self.terminal.failures(failed, folder=setup.folder.uri)
        self.terminal.left_out(results.left_out)
        self.terminal.print_lines(self.setup.notices)
        self.terminal.print_place("The report", (setup.folder / setup.folder.page).uri)
        code = INTERRUPTED if interrupted else _SOME_FAILED if failed else _FINISHED
        return SweepResult(setup.folder.uri, to_frame(tables.report), code)


if __name__ == "__main__":
    run_as_program(main)
