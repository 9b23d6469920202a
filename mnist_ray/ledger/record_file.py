"""Records as rows of a Parquet file."""

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_ray.ledger.identity import JSON, PROTOCOL, digest
from mnist_ray.ledger.record import (
    Costs,
    Epoch,
    Evaluation,
    Record,
    RunEnvironment,
    Status,
    Versions,
)

T = TypeVar("T")

_UNKNOWN_CODEC = re.compile("unsupported compression|compression is supported", re.IGNORECASE)


def _struct(kind: type, usual: pa.DataType, **others: pa.DataType) -> pa.StructType:
    """The fields of a dataclass, of the `usual` type where `others` gives none."""
    return pa.struct([(each.name, others.get(each.name, usual)) for each in fields(kind)])


_EVALUATION = _struct(
    Evaluation,
    pa.float64(),
    shift=pa.int32(),
    size=pa.int64(),
    packed_predictions=pa.binary(),
    presentation=pa.string(),
)
_ENVIRONMENT = _struct(
    RunEnvironment,
    pa.string(),
    started_at=pa.timestamp("us", tz="UTC"),
    threads=pa.int32(),
    versions=_struct(Versions, pa.string()),
)
_SCHEMA = pa.schema(
    _struct(
        Record,
        pa.string(),
        trial_seed=pa.int64(),
        parameters=pa.int64(),
        epochs=pa.list_(_struct(Epoch, pa.float64())),
        test=_EVALUATION,
        robustness=pa.list_(_EVALUATION),
        setting=_ENVIRONMENT,
        costs=_struct(Costs, pa.float64(), peak_memory_bytes=pa.int64()),
    )
)


class DamagedFileError(Exception):
    """The bytes are not those that were written."""


class ForeignVersionError(Exception):
    """The file is whole, but written by a version that this one does not understand."""


def to_table(records: Sequence[Record]) -> pa.Table:
    return pa.Table.from_pylist([_to_row(r) for r in records], schema=_SCHEMA)


def write_table(table: pa.Table) -> bytes:
    """The content of a file of that table."""
    buffer = pa.BufferOutputStream()
    # A file of one row is mostly metadata: leave out what is never read.
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    )
    return bytes(buffer.getvalue())


def read_table(content: bytes) -> pa.Table:
    """All columns of a file, those of other versions included.

    Raises:
        DamagedFileError: it is no Parquet file, or a checksum is wrong.
        ForeignVersionError: it is compressed by a method that is not known here.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        return file.read(use_threads=False)  # Arrow's can abort a process that ends soon after.
    except (OSError, ValueError) as error:
        # By the message alone: asking a damaged file for its codecs can end the process.
        if _UNKNOWN_CODEC.search(str(error)):
            raise ForeignVersionError(str(error)) from error
        raise DamagedFileError(str(error)) from error


def to_records(table: pa.Table) -> list[Record]:
    """The records of a table; what a later version adds to them is ignored.

    Raises:
        DamagedFileError: a key is not the hash of its identity, or an accuracy not from 0 to 1.
        ForeignVersionError: a record is whole, but not understood.
    """
    if not {"key", "identity"} <= set(table.column_names):
        raise DamagedFileError("it holds no records")
    rows: list[JSON] = table.to_pylist()
    identities = [_identity(row) for row in rows]
    return [_to_record(*each) for each in zip(rows, identities, strict=True)]


def _identity(row: JSON) -> JSON:
    """The identity in a row, checked before anything else is made of the row."""
    try:
        identity: JSON = json.loads(row["identity"])
        protocol = int(identity["protocol"])
        is_of_its_key = protocol > PROTOCOL or digest(identity) == row["key"]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"its identity is not readable: {error}") from error
    if protocol > PROTOCOL:
        raise ForeignVersionError(
            f"it holds records of protocol {protocol}, and this mnist_ray knows protocol "
            f"{PROTOCOL} and older"
        )
    if not is_of_its_key:
        raise DamagedFileError("its key is not the hash of its identity")
    return identity


def _to_row(record: Record) -> JSON:
    setting = record.setting
    return {
        **vars(record),
        "identity": json.dumps(record.identity, sort_keys=True),
        "status": record.status.value,
        "error": _encodable(record.error),
        "traceback": _encodable(record.traceback),
        "epochs": [vars(epoch) for epoch in record.epochs],
        "test": record.test and vars(record.test),
        "robustness": [vars(evaluation) for evaluation in record.robustness],
        "setting": setting and {**vars(setting), "versions": vars(setting.versions)},
        "costs": vars(record.costs),
    }


def _encodable(text: str | None) -> str | None:
    """`text`, with escapes where needed: messages may hold file names that are not Unicode."""
    return text and text.encode(errors="backslashreplace").decode()


def _to_record(row: JSON, identity: JSON) -> Record:
    """The record of a row whose key and identity are right: any fault is of another version."""
    try:
        environment = row["setting"]
        if environment:
            versions = made(Versions, environment["versions"])
            environment = made(RunEnvironment, {**environment, "versions": versions})
        changed = {
            "identity": identity,
            "status": Status(row["status"]),
            "epochs": tuple(made(Epoch, epoch) for epoch in row["epochs"]),
            "test": made(Evaluation, row["test"]) if row["test"] else None,
            "robustness": tuple(made(Evaluation, values) for values in row["robustness"]),
            "setting": environment,
            "costs": made(Costs, row["costs"]),
        }
        record = made(Record, {**row, **changed})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ForeignVersionError(f"it holds a record that is not understood ({reason})") from error
    _check_accuracies(record)
    return record


def _check_accuracies(record: Record) -> None:
    """Refuse what no trial can have had: means and tests would stumble over it."""
    found = [epoch.train_accuracy for epoch in record.epochs]
    found += [e.validation_accuracy for e in record.epochs if e.validation_accuracy is not None]
    found += [each.accuracy for each in (record.test, *record.robustness) if each]
    for accuracy in found:
        if not 0 <= accuracy <= 1:  # Nor does NaN pass.
            raise DamagedFileError(f"an accuracy of {record.key} is {accuracy}, not from 0 to 1")


def made(kind: type[T], values: JSON) -> T:
    """A `kind` of those `values` that it has fields for; a later version may record more."""
    names = vars(kind)["__dataclass_fields__"]  # `fields` takes long, for many records
    return kind(**{name: value for name, value in values.items() if name in names})
