"""The report of a sweep: `mnist-ray report RESULTS` makes it from the ledger alone."""

import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mnist_ray._command import flag, option, run_command
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder

# What is heavy (pandas, scipy, matplotlib) is imported where it is used, so that `--help` stays
# quick.
if TYPE_CHECKING:
    from mnist_ray.analysis.sweep_results import SweepResults
    from mnist_ray.analysis.tables import Tables

_PAUSE_SECONDS = 30.0
"""Between two looks for something new."""


@dataclass(frozen=True)
class ReportOptions:
    """Make the tables and the page of a sweep anew, from its ledger alone."""

    results: Sequence[str] = option(
        "a sweep's folder or URI; several are put side by side in one report",
        default=MISSING,
        names=[],
        nargs="+",
        metavar="RESULTS",
    )
    output: str | None = option("where to write; by default the sweep's own folder", metavar="DIR")
    watch: bool = flag(
        "make the page anew while a sweep runs, at most every 30 s, until nothing is missing"
    )
    export: str | None = option(
        "also write the table as Markdown and LaTeX, and each figure as PDF and SVG, for a paper",
        metavar="DIR",
    )
    format: str | None = option(
        "only print the table of means, and write no report", choices=("markdown", "latex")
    )
    open: bool = flag("open the page in a browser")
    traceback: str | None = option(
        "only show the traceback of the failed trial whose key begins so", metavar="KEY"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return run_command("report", ReportOptions, _run, arguments=arguments)


def _run(options: ReportOptions) -> int:
    # A table that is printed may be piped on.
    stream = sys.stderr if options.format else sys.stdout
    folders = [_find_and_report(location, stream) for location in options.results]
    if options.traceback:
        print(_traceback(folders, options.traceback))
    elif options.format:
        _print_table(folders, options)
    else:
        _report(folders, options)
    return 0


def _find_and_report(location: str, file: TextIO) -> ResultsFolder:
    from mnist_ray.analysis.reading import find_sweep

    given = ResultsFolder.open(location)
    folder = find_sweep(given)
    if folder != given:
        print(f"The sweep in {given.uri}: {folder.uri}", file=file)
    return folder


def _print_table(folders: Sequence[ResultsFolder], options: ReportOptions) -> None:
    """The table of means alone; with --export beside the files."""
    from mnist_ray.analysis.tabulation import tabulate
    from mnist_ray.view.cell_views import make_cell_views
    from mnist_ray.view.export import as_latex, as_markdown, export, paper_table

    exported_to = _exported_to(options)
    sweeps = _read(folders)
    tables = tabulate(sweeps)
    table = paper_table(make_cell_views(sweeps, tables))
    print(as_markdown(table) if options.format == "markdown" else as_latex(table), end="")
    if exported_to:
        export(sweeps, tables, exported_to)


def _report(folders: Sequence[ResultsFolder], options: ReportOptions) -> None:
    from mnist_ray.analysis.findings import findings
    from mnist_ray.view.report import write_report

    output = _output(folders, options)
    exported_to = _exported_to(options)
    if options.watch:
        sweeps, tables = watch(folders, output, open_page=options.open)
    else:
        sweeps = _read(folders)
        tables = write_report(sweeps, output)
    print("\n".join(findings(sweeps, tables)))
    for folder, results in zip(folders, sweeps, strict=True):
        _tell_exceptions(folder, results)
    print(f"The report: {(output / output.page).uri}")
    if exported_to:
        from mnist_ray.view.export import export

        count = len(export(sweeps, tables, exported_to))
        print(f"The table and the figures, {count} files: {exported_to.uri}")
    if options.open and not options.watch:
        _open(output)


def _exported_to(options: ReportOptions) -> ResultsFolder | None:
    if not options.export:
        return None
    from mnist_ray.view.export import export_folder

    return export_folder(options.export)


def _output(folders: Sequence[ResultsFolder], options: ReportOptions) -> ResultsFolder:
    """Where the report is written."""
    if len(folders) > 1 and not options.output:
        raise InputError(
            f"{len(folders)} folders were given, and one report of them belongs to none; say with "
            "--output DIR where to write it"
        )
    output = ResultsFolder.open(options.output) if options.output else folders[0]
    if options.watch and options.open and not output.is_local:
        raise InputError(
            f"--watch --open: a browser cannot follow a page in {output.uri}; say with --output "
            "DIR where on this machine to write it"
        )
    if options.output:
        output.check_writable()
    return output


def _read(folders: Sequence[ResultsFolder]) -> "list[SweepResults]":
    from mnist_ray.analysis.reading import read_results

    several = _names(folders) if len(folders) > 1 else [None]
    return [read_results(folder, name=name) for folder, name in zip(folders, several, strict=True)]


def watch(
    folders: Sequence[ResultsFolder],
    output: ResultsFolder,
    *,
    pause_seconds: float = _PAUSE_SECONDS,
    open_page: bool = False,
) -> "tuple[list[SweepResults], Tables]":
    """Make the report of sweeps that run anew, whenever there is something new to report.

    Ends when nothing is missing but trials that failed meanwhile, and gives what it reported last.

    Args:
        folders: of the sweeps.
        output: where the report is written; until the end its page reloads itself.
        pause_seconds: between two looks for something new.
        open_page: whether a browser is to show the page.

    Raises:
        KeyboardInterrupt: a person ended it; the page no longer reloads itself.
    """
    from mnist_ray.view.report import write_report

    news = _whenever_new(folders, pause_seconds)
    sweeps = next(news)
    failed_before = _failures(sweeps)
    try:
        while True:
            is_awaited = _is_awaited(sweeps, failed_before)
            reload_seconds = round(pause_seconds) if is_awaited else None
            tables = write_report(sweeps, output, reload_seconds=reload_seconds)
            _print_progress(sweeps)
            if not is_awaited:
                return sweeps, tables
            if open_page:
                _open(output)
                open_page = False
            sweeps = next(news)
    except KeyboardInterrupt:
        write_report(sweeps, output)
        raise


def _print_progress(sweeps: "Sequence[SweepResults]") -> None:
    from mnist_ray.view.notices import progress

    now = time.strftime("%H:%M:%S")
    for results in sweeps:
        print(f"{now} {results.name}: {progress(results)}", flush=True)


def _whenever_new(
    folders: Sequence[ResultsFolder], pause_seconds: float
) -> "Iterator[list[SweepResults]]":
    """What is recorded now, and again whenever more is; without an end."""
    seen = None
    while True:
        # Listed first: what comes while the files are read is new the next time.
        names = [folder.names(folder.ledger) for folder in folders]
        if names != seen:
            seen = names
            yield _read(folders)
        time.sleep(pause_seconds)


def _failures(sweeps: "Sequence[SweepResults]") -> set[tuple[str, object]]:
    """Which trials failed, and when those began."""
    found = [results.records.get(trial.key) for results in sweeps for trial in results.missing]
    return {(r.key, r.setting and r.setting.started_at) for r in found if r and r.error}


def _is_awaited(sweeps: "Sequence[SweepResults]", failed_before: set[tuple[str, object]]) -> bool:
    """Whether trials are missing that have not failed just now: a sweep runs none of them twice."""
    failed = {key for key, _ in _failures(sweeps) - failed_before}
    return any(trial.key not in failed for results in sweeps for trial in results.missing)


def _names(folders: Sequence[ResultsFolder]) -> list[str | None]:
    """The shortest ends of the folders' paths that tell them apart."""
    paths = [folder.path.split("/") for folder in folders]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return [*names]
    raise InputError(f"{folders[0].uri} was given twice; give each folder once")


def _tell_exceptions(folder: ResultsFolder, results: "SweepResults") -> None:
    from mnist_ray.analysis.phrases import unrequested
    from mnist_ray.analysis.settings import grouped
    from mnist_ray.ledger.record import Status

    if results.left_out:
        print(f"{folder.uri}: {unrequested(results.left_out, by='its space')}")
    # By key: cells of equal settings share their trials.
    failed = {r.key: r for _, r in results.recorded() if r.status is Status.FAILED}
    for error, alike in grouped(failed.values(), lambda record: record.error).items():
        print(f"Failed{f' ({len(alike)} trials)' if len(alike) > 1 else ''}: {error}")
        print(f"  mnist-ray report {folder.uri} --traceback {alike[0].key[:8]}")


def _open(folder: ResultsFolder) -> None:
    page = Path(folder.path) / folder.page
    if not folder.is_local:
        page = Path(tempfile.mkdtemp(prefix="mnist_ray-")) / folder.page
        page.write_bytes(folder.read(folder.page))
    webbrowser.open(page.as_uri())


def _traceback(folders: Sequence[ResultsFolder], key: str) -> str:
    from mnist_ray.ledger.ledger import Ledger

    records = {k: r for folder in folders for k, r in Ledger(folder).read().items()}
    failed = {k: r for k, r in records.items() if r.error}
    found = [record for k, record in failed.items() if k.startswith(key)]
    if len(found) == 1:
        return (found[0].traceback or found[0].error or "").rstrip()
    several = "several failed trials have" if found else "no failed trial has"
    known = ", ".join(sorted(failed)) or "none"
    raise InputError(f"--traceback {key}: {several} a key that begins so; failed are: {known}")


if __name__ == "__main__":
    sys.exit(main())
