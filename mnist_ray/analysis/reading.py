"""From a sweep's folder to its results: what the space asks for, joined with what is recorded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from mnist_ray.analysis.settings import grouped
from mnist_ray.analysis.sweep_results import CellResults, CellSpread, Selection, SweepResults
from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import PROTOCOL, digest
from mnist_ray.ledger.ledger import Ledger, SweepManifest
from mnist_ray.ledger.record import Record, Status
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.ledger.test_images import TestSet, read_test_set
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import plan
from mnist_ray.plan.search import SearchState
from mnist_ray.plan.test_sets import TestSets, VariantTest
from mnist_ray.plan.trial import Trial
from mnist_ray.space.sources import Source
from mnist_ray.space.space import Cell, Space, read_space
from mnist_ray.space.training import Training
from mnist_ray.space.variants import Transform


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
        "none. Give the folder that mnist-ray sweep named at its end."
    )


def read_results(
    folder: ResultsFolder,
    *,
    name: str | None = None,
    space: Space | None = None,
    dataset_info: DatasetInfo | None = None,
    records: Mapping[str, Record] | None = None,
) -> SweepResults:
    """The sweep in `folder`, under `name` where that is given.

    What is not given is read from the folder. Where the folder lacks the space or the test images,
    the sweep is what the records alone show.

    Raises:
        InputError: its space or its records cannot be used.
        StorageError: something cannot be read.
    """
    ledger = Ledger(folder)
    records = ledger.read() if records is None else records
    space = space or _read_space(folder)
    latest = _latest(ledger, records)
    fingerprint = dataset_info.fingerprint if dataset_info else latest and latest.fingerprint
    test_set = read_test_set(folder, fingerprint) if fingerprint else None
    if test_set and space and space.classes:
        test_set = _renamed(test_set, space.classes)
    dataset_info = dataset_info or _dataset_info(latest, test_set)
    if space and latest and not space.image_shapes:
        shapes = {key: tuple(shape) for key, shape in latest.image_shapes.items()}
        space = space.with_image_shapes(shapes)
    if space is None or dataset_info is None:
        name = name or folder.path.rpartition("/")[2]
        results = results_of_records(name, records, test_set)
    else:
        results = results_of_space(space, dataset_info, records, test_set, name=name)
    return replace(results, folder=folder, command=latest.command if latest else "")


def results_of_space(
    space: Space,
    dataset_info: DatasetInfo,
    records: Mapping[str, Record],
    test_set: TestSet | None,
    *,
    name: str | None = None,
) -> SweepResults:
    """The sweep that `space` asks for; a cell with nothing recorded yet is there too."""
    name = name or space.name
    planned = plan(space, dataset_info, records)
    selections = _selections(planned.searches)
    dataset = _dataset_name(space, records, test_set)
    cells_of = partial(_cell_results, name, dataset, records)
    shape = dataset_info.image_shape
    defaults = {space.bind(*pair, {}, shape).name for pair in space.grids()}

    def described(each: CellResults) -> CellResults:
        cell = each.cell.name
        return replace(each, selection=selections.get(cell), is_default=cell in defaults)

    return SweepResults(
        name=name,
        dataset=dataset,
        space=space,
        cells=tuple(described(each) for each in cells_of(planned.measured)),
        tests=planned.tests,
        test_set=test_set,
        left_out=len(planned.unrequested(records)),
        searches=planned.searches,
        searched=cells_of(planned.searched),
        records=records,
        wanted=planned.wanted,
        missing=planned.missing,
        is_open=planned.is_open,
        spreads=_spreads(cells_of(planned.measured + planned.varied), planned.varied),
    )


def results_of_records(
    name: str, records: Mapping[str, Record], test_set: TestSet | None
) -> SweepResults:
    """The sweep as far as its records alone show it.

    Only records with the data and the seed that were used last count: a mean over others too would
    mix different questions.
    """
    last = _latest_record(records)
    asked = {**last.identity, "protocol": PROTOCOL} if last else {}
    alike = [
        record
        for record in records.values()
        if all(record.identity[name] == asked[name] for name in ("protocol", "data", "seed"))
    ]
    alike.sort(key=lambda r: (r.architecture, r.identity["shift"], r.variant, r.cell_key, r.trial))
    dataset = _dataset_name(None, records, test_set)
    cells_of = partial(_cell_results, name, dataset, records)
    trials = [_trial_of(record) for record in alike]
    varied = [trial for trial in trials if trial.source]
    return SweepResults(
        name=name,
        dataset=dataset,
        space=None,
        cells=cells_of([trial for trial in trials if not trial.source]),
        tests=_recorded_tests(alike, trials),
        test_set=test_set,
        left_out=len(records) - len(alike),
        spreads=_spreads(cells_of(trials), varied),
    )


def _read_space(folder: ResultsFolder) -> Space | None:
    try:
        content = folder.read(folder.space)
    except FileNotFoundError:
        return None
    return read_space(content, f"the search space {folder.uri}/{folder.space}")


def _renamed(test_set: TestSet, names: tuple[str, ...]) -> TestSet:
    """With the names of classes that the space gives, in place of those of the data."""
    if len(names) != test_set.classes:
        raise InputError(
            f"the search space of the results: classes: got {len(names)} names; allowed: one for "
            f"each of the {test_set.classes} classes of its test images. Mend its space.yaml, or "
            "give the command that made it again."
        )
    return replace(test_set, class_names=names)


def _latest(ledger: Ledger, records: Mapping[str, Record]) -> SweepManifest | None:
    """What the last sweep asked for; where that is not kept, what the last trial ran on."""
    latest, last = ledger.read_manifest(), _latest_record(records)
    if latest or last is None:
        return latest
    identities = [record.identity for record in records.values()]
    sources = {i["builder"]: i["source"] for i in identities if i["source"] is not None}
    transforms = [i["transform"] for i in identities if "transform" in i]
    sources |= {transform["function"]: transform["source"] for transform in transforms}
    return SweepManifest(last.identity["data"], sources)


def _dataset_info(latest: SweepManifest | None, test_set: TestSet | None) -> DatasetInfo | None:
    """What a report needs to know about the data; None without test images."""
    if latest is None or test_set is None:
        return None
    return DatasetInfo(
        fingerprint=latest.fingerprint,
        image_shape=test_set.image_shape,
        classes=test_set.classes,
        train_images=0,  # only the order of what is still to run depends on it
        test_images=len(test_set.labels),
        sources=latest.sources,
    )


def _recorded_tests(records: Sequence[Record], trials: Sequence[Trial]) -> TestSets:
    """The test sets beside their own that trials were graded on.

    Those of other variants have the names of the variants that have records of their own.
    """
    graded = [evaluation for record in records for evaluation in record.robustness]
    shifts = sorted({each.shift for each in graded if each.presentation is None})
    digests = {each.presentation for each in graded}
    own = (VariantTest(t.cell.variant, t.cell.presentation, t.transform_digest) for t in trials)
    variants = {digest(test.identity): test for test in own}
    tests = [test for key, test in variants.items() if key in digests]
    return TestSets(tuple(shifts), tuple(tests))


def _latest_record(records: Mapping[str, Record]) -> Record | None:
    """The record of the trial that started last."""
    beginning = datetime.min.replace(tzinfo=UTC)
    return max(
        records.values(),
        key=lambda r: (r.setting.started_at if r.setting else beginning, r.key),
        default=None,
    )


def _selections(searches: Iterable[SearchState]) -> dict[str, Selection]:
    """By the identity of the cell; none before a search has a winner."""
    found: dict[str, Selection] = {}
    for search in searches:
        if search.winner:
            winner, default = search.winner.cell.name, search.default.name
            found |= {default: Selection.DEFAULT, winner: Selection.WINNER}
            if winner == default:
                found[winner] = Selection.BOTH
    return found


def _cell_results(
    sweep: str, dataset: str, records: Mapping[str, Record], wanted: Sequence[Trial]
) -> tuple[CellResults, ...]:
    """The wanted trials that are recorded, by cell and device; also cells without records."""
    cells = grouped(wanted, lambda t: (t.cell.architecture, t.cell.variant, t.cell_key))
    return tuple(
        CellResults(sweep, dataset, trials[0].cell, cell_key, device, group)
        for (_, _, cell_key), trials in cells.items()
        for device, group in _by_device(_recorded(trials, records))
    )


def _recorded(trials: Iterable[Trial], records: Mapping[str, Record]) -> list[Record]:
    """Each record once: a search may draw the same cell twice."""
    return [records[key] for key in dict.fromkeys(t.key for t in trials) if key in records]


def _spreads(cells: Iterable[CellResults], varied: Iterable[Trial]) -> tuple[CellSpread, ...]:
    """Those of the cells, with the records of all trials, that have trials of a source alone."""
    sources: dict[str, dict[Source, None]] = {}
    for trial in varied:
        if trial.source:
            sources.setdefault(trial.cell_key, {})[trial.source] = None

    def only(cell: CellResults, source: Source | None) -> CellResults:
        return replace(cell, records=tuple(r for r in cell.records if r.source == source))

    return tuple(
        CellSpread(only(cell, None), {each: only(cell, each) for each in sources[cell.cell_key]})
        for cell in cells
        if cell.cell_key in sources
    )


def _dataset_name(
    space: Space | None, records: Mapping[str, Record], test_set: TestSet | None
) -> str:
    if test_set:
        return test_set.dataset
    source = _latest_record(records) or space
    return source.dataset if source else ""


def _by_device(records: Sequence[Record]) -> Iterator[tuple[str | None, tuple[Record, ...]]]:
    """The records of one cell by device; a failed trial alone makes no group of its own."""
    ran_on = [record.device for record in records if record.status is not Status.FAILED]
    first, *others = dict.fromkeys(ran_on or [r.device for r in records[:1]]) or [None]
    yield first, tuple(record for record in records if record.device not in others)
    for device in others:
        yield device, tuple(record for record in records if record.device == device)


def _trial_of(record: Record) -> Trial:
    identity = record.identity
    made = identity.get("transform")
    cell = Cell(
        architecture=record.architecture,
        builder=identity["builder"],
        hyperparameters=identity["hyperparameters"],
        variant=record.variant,
        shift=identity["shift"],
        canvas=identity["canvas"],
        training=Training.model_validate(identity["training"]),
        transform=Transform(made["function"], made["parameters"]) if made else None,
    )
    return Trial(
        cell,
        record.trial,
        identity["seed"],
        identity["data"],
        identity["source"],
        source=Source(record.source) if record.source else None,
        transform_digest=made and made["source"],
    )
