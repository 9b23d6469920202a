"""The report of a sweep: `mnist-ray report RESULTS` makes it from the ledger alone."""

import argparse
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_ray._command import report_error
from mnist_ray.errors import InputError
from mnist_ray.ledger.results_folder import ResultsFolder, StorageError

# What is heavy (pandas, scipy, matplotlib) is imported where it is used, so that `--help` stays
# quick.
if TYPE_CHECKING:
    from mnist_ray.analysis.sweep_results import SweepResults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    options = _parser().parse_args(arguments)
    try:
        folders = [_find_and_tell(location) for location in options.results]
        if options.traceback:
            print(_traceback(folders, options.traceback))
            return 0
        _report(folders, options)
    except (InputError, StorageError) as error:
        return report_error(error, command="mnist-ray report")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-ray report",
        description="Make the tables and the page of a sweep anew, from its ledger alone.",
    )
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULTS",
        help="a sweep's folder or URI; several are put side by side in one report",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="where to write; by default the sweep's own folder"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--traceback",
        metavar="KEY",
        help="only show the traceback of the failed trial whose key begins so",
    )
    return parser


def _find_and_tell(location: str) -> ResultsFolder:
    from mnist_ray.analysis.reading import find_sweep

    given = ResultsFolder.open(location)
    folder = find_sweep(given)
    if folder != given:
        print(f"The sweep in {given.uri}: {folder.uri}")
    return folder


def _report(folders: Sequence[ResultsFolder], options: argparse.Namespace) -> None:
    from mnist_ray.analysis.findings import findings
    from mnist_ray.analysis.reading import read_results
    from mnist_ray.view.report import write_report

    if len(folders) > 1 and not options.output:
        raise InputError(
            f"{len(folders)} folders were given, and one report of them belongs to none; say with "
            "--output DIR where to write it"
        )
    output = ResultsFolder.open(options.output) if options.output else folders[0]
    if options.output:
        output.check_writable()
    several = _names(folders) if len(folders) > 1 else [None]
    sweeps = [
        read_results(folder, name=name) for folder, name in zip(folders, several, strict=True)
    ]
    tables = write_report(sweeps, output)
    print("\n".join(findings(tables)))
    for folder, results in zip(folders, sweeps, strict=True):
        _tell_exceptions(folder, results)
    print(f"The report: {output.uri}/{output.page}")
    if options.open:
        webbrowser.open(_local_page(output).as_uri())


def _names(folders: Sequence[ResultsFolder]) -> list[str | None]:
    """The shortest ends of the folders' paths that tell them apart."""
    paths = [folder.path.split("/") for folder in folders]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return [*names]
    raise InputError(f"{folders[0].uri} was given twice; give each folder once")


def _tell_exceptions(folder: ResultsFolder, results: "SweepResults") -> None:
    if results.left_out:
        print(
            f"{folder.uri}: {results.left_out} records are of trials that its space does not ask "
            "for (any more); they stay in the ledger and out of the report."
        )
    groups = [each.failed for each in (*results.cells, *results.searched)]
    groups += [spread.failed for spread in results.spreads]
    # By key: cells of equal settings share their trials.
    failed = {record.key: record for group in groups for record in group}
    for record in failed.values():
        print(f"Failed: {record.error}")
        print(f"  mnist-ray report {folder.uri} --traceback {record.key[:8]}")


def _local_page(folder: ResultsFolder) -> Path:
    if folder.is_local:
        return Path(folder.path) / folder.page
    copy = Path(tempfile.mkdtemp(prefix="mnist_ray-")) / folder.page
    copy.write_bytes(folder.read(folder.page))
    return copy


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
