"""The report of a sweep: `python -m mnist_ray.report RESULTS` makes it from the ledger alone."""

import argparse
import io
import sys
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_ray.errors import InputError
from mnist_ray.results import ResultsFolder, StorageError

# What is heavy (pandas, scipy, matplotlib) is imported where it is used, so that `import
# mnist_ray` and `--help` stay quick.
if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mnist_ray.facts import Facts
    from mnist_ray.ledger import Latest, Ledger, TestSet
    from mnist_ray.record import Record
    from mnist_ray.review import Review
    from mnist_ray.space import Space
    from mnist_ray.tables import Tables


# Making a report


def rebuild(
    folder: ResultsFolder,
    *,
    space: "Space | None" = None,
    facts: "Facts | None" = None,
    records: "Mapping[str, Record] | None" = None,
) -> "Tables":
    """Make the tables and the page of the sweep in `folder` anew, and write them there.

    What is not given is read from the folder; what the folder lacks too is derived from the
    records.

    Raises:
        InputError: its space or its records can't be used.
        StorageError: something can't be read or written.
    """
    review = read_review(folder, space=space, facts=facts, records=records)
    return write_report([review], folder)


def read_review(
    folder: ResultsFolder,
    *,
    name: str | None = None,
    space: "Space | None" = None,
    facts: "Facts | None" = None,
    records: "Mapping[str, Record] | None" = None,
) -> "Review":
    """The sweep in `folder`, under `name` instead of its own where given; raises as `rebuild`."""
    from mnist_ray.ledger import Ledger
    from mnist_ray.review import review_records, review_space

    ledger = Ledger(folder)
    records = ledger.read() if records is None else records
    space = space or _read_space(folder)
    latest = _latest(ledger, records)
    fingerprint = facts.fingerprint if facts else latest and latest.fingerprint
    test_set = ledger.read_test_set(fingerprint) if fingerprint else None
    facts = facts or _facts(latest, test_set)
    if space is None or facts is None:
        return review_records(name or _base_name(folder), records, test_set)
    return review_space(space, facts, records, test_set, name=name)


def write_report(reviews: "Sequence[Review]", folder: ResultsFolder) -> "Tables":
    """Write the tables and the page of one sweep, or of several side by side, into `folder`."""
    from mnist_ray.page import render
    from mnist_ray.tables import tabulate

    tables = tabulate(reviews)
    for name, table in tables.by_name().items():
        folder.write(folder.table(name), _to_parquet(table))
    folder.write(folder.page, render(reviews, tables).encode())
    return tables


def _to_parquet(table: "pa.Table") -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _read_space(folder: ResultsFolder) -> "Space | None":
    from mnist_ray.space import Space
    from mnist_ray.yaml_text import read_yaml

    try:
        content = folder.read(folder.space)
    except FileNotFoundError:
        return None
    heading = f"the search space {folder.uri}/{folder.space}"
    document = read_yaml(content, heading)
    space = Space.read(document.data, document.faults, source=None)
    document.faults.raise_any(heading)
    return space


def _latest(ledger: "Ledger", records: "Mapping[str, Record]") -> "Latest | None":
    """What the last sweep asked for; where that is not kept, what the last record is of."""
    from mnist_ray.ledger import Latest
    from mnist_ray.review import latest_record

    latest, last = ledger.read_latest(), latest_record(records)
    if latest or last is None:
        return latest
    identities = [record.identity for record in records.values()]
    sources = {i["builder"]: i["source"] for i in identities if i["source"] is not None}
    return Latest(last.identity["data"], sources)


def _facts(latest: "Latest | None", test_set: "TestSet | None") -> "Facts | None":
    """What a report has to know of the data; None where there are no test images to ask."""
    from mnist_ray.facts import Facts

    if latest is None or test_set is None:
        return None
    return Facts(
        fingerprint=latest.fingerprint,
        image_size=test_set.image_size,
        classes=test_set.classes,
        train_images=0,  # only the order of what is still to run hangs on it
        test_images=len(test_set.labels),
        sources=latest.sources,
    )


def _base_name(folder: ResultsFolder) -> str:
    return folder.path.rpartition("/")[2]


# Reading a report


def load_report(path: str | Path) -> "pd.DataFrame":
    """One row a cell: means over trials with their uncertainty.

    `path` is a sweep's folder, or its URI. Names are categories, whole numbers Int64, lists tuples;
    what the columns mean stands in `mnist_ray.columns`.

    Raises:
        InputError: there is no report.
    """
    return _load(path, "report")


def load_trials(path: str | Path) -> "pd.DataFrame":
    """One row a recorded trial; see `load_report`."""
    return _load(path, "trials")


def load_epochs(path: str | Path) -> "pd.DataFrame":
    """One row a trial and epoch; see `load_report`."""
    return _load(path, "epochs")


def load_comparisons(path: str | Path) -> "pd.DataFrame":
    """One row a pair of cells compared; see `load_report`."""
    return _load(path, "comparisons")


def load_robustness(path: str | Path) -> "pd.DataFrame":
    """One row a cell and shift of the test digits; see `load_report`."""
    return _load(path, "robustness")


def load_search(path: str | Path) -> "pd.DataFrame":
    """One row a configuration of a search, and one for the default; see `load_report`."""
    return _load(path, "search")


def _load(path: str | Path, name: str) -> "pd.DataFrame":
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mnist_ray.frames import to_frame

    folder = ResultsFolder.open(path)
    if not folder.exists(folder.table(name)):
        folder = find_sweep(folder)
    try:
        content = folder.read(folder.table(name))
    except FileNotFoundError:
        raise InputError(
            f"results: {folder.uri} has no {folder.table(name)}; make it with: "
            f"python -m mnist_ray.report {folder.uri}"
        ) from None
    return to_frame(pq.read_table(pa.BufferReader(content)))


def find_sweep(folder: ResultsFolder) -> ResultsFolder:
    """`folder` itself if it is a sweep's, or the only sweep's folder in it.

    Raises:
        InputError: there is none, or there are several.
    """
    if folder.exists(folder.ledger):
        return folder
    sweeps = [folder / name for name in folder.folders() if (folder / name).exists(folder.ledger)]
    if len(sweeps) == 1:
        return sweeps[0]
    if sweeps:
        names = "\n  ".join(sweep.uri for sweep in sweeps)
        raise InputError(f"results: {folder.uri} holds several sweeps; give one of\n  {names}")
    raise InputError(
        f"results: {folder.uri} is no sweep's folder, which has a folder ledger in it, and holds "
        "none. Give the folder that python -m mnist_ray.sweep named at its end."
    )


# The command


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
        print(f"mnist_ray.report: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_ray.report",
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
    given = ResultsFolder.open(location)
    folder = find_sweep(given)
    if folder != given:
        print(f"The sweep in {given.uri}: {folder.uri}")
    return folder


def _report(folders: Sequence[ResultsFolder], options: argparse.Namespace) -> None:
    from mnist_ray.findings import findings

    if len(folders) > 1 and not options.output:
        raise InputError(
            f"{len(folders)} folders were given, and one report of them belongs to none; say with "
            "--output DIR where to write it"
        )
    output = ResultsFolder.open(options.output) if options.output else folders[0]
    if options.output:
        output.check_writable()
    several = _names(folders) if len(folders) > 1 else [None]
    reviews = [
        read_review(folder, name=name) for folder, name in zip(folders, several, strict=True)
    ]
    tables = write_report(reviews, output)
    print("\n".join(findings(tables)))
    for folder, review in zip(folders, reviews, strict=True):
        _tell_exceptions(folder, review)
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


def _tell_exceptions(folder: ResultsFolder, review: "Review") -> None:
    if review.left_out:
        print(
            f"{folder.uri}: {review.left_out} records are of trials that its space does not ask "
            "for (any more); they stay in the ledger and out of the report."
        )
    outcomes = (*review.outcomes, *review.searched)
    for record in (record for outcome in outcomes for record in outcome.failed):
        print(f"Failed: {record.error}")
        print(f"  python -m mnist_ray.report {folder.uri} --traceback {record.key[:8]}")


def _local_page(folder: ResultsFolder) -> Path:
    if folder.is_local:
        return Path(folder.path) / folder.page
    copy = Path(tempfile.mkdtemp(prefix="mnist_ray-")) / folder.page
    copy.write_bytes(folder.read(folder.page))
    return copy


def _traceback(folders: Sequence[ResultsFolder], key: str) -> str:
    from mnist_ray.ledger import Ledger

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
