"""From a sweep's folder to its results: the space, the records, and what a report has to know."""

from collections.abc import Mapping
from dataclasses import replace

from mnist_ray.analysis.sweep_results import (
    SweepResults,
    latest_record,
    results_of_records,
    results_of_space,
)
from mnist_ray.errors import InputError
from mnist_ray.ledger.ledger import Ledger, SweepManifest, TestSet
from mnist_ray.ledger.record import Record
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.space.space import Space
from mnist_ray.space.yaml_text import read_yaml


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
        InputError: its space or its records can't be used.
        StorageError: something can't be read.
    """
    ledger = Ledger(folder)
    records = ledger.read() if records is None else records
    space = space or _read_space(folder)
    latest = _latest(ledger, records)
    fingerprint = dataset_info.fingerprint if dataset_info else latest and latest.fingerprint
    test_set = ledger.read_test_set(fingerprint) if fingerprint else None
    if test_set and space and space.classes:
        test_set = _renamed(test_set, space.classes)
    dataset_info = dataset_info or _dataset_info(latest, test_set)
    if space and latest and not space.image_shapes:
        shapes = {key: tuple(shape) for key, shape in latest.image_shapes.items()}
        space = space.with_image_shapes(shapes)
    if space is None or dataset_info is None:
        name = name or folder.path.rpartition("/")[2]
        return replace(results_of_records(name, records, test_set), folder=folder)
    command = latest.command if latest else ""
    results = results_of_space(space, dataset_info, records, test_set, name=name, command=command)
    return replace(results, folder=folder)


def _read_space(folder: ResultsFolder) -> Space | None:
    try:
        content = folder.read(folder.space)
    except FileNotFoundError:
        return None
    heading = f"the search space {folder.uri}/{folder.space}"
    document = read_yaml(content, heading)
    space = Space.read(document.data, document.errors, source=None)
    document.errors.raise_any(heading)
    return space


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
    latest, last = ledger.read_manifest(), latest_record(records)
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
