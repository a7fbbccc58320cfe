"""What is remembered of the examples of a source: columns, as objects take ten times as much."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from gb_keras.data.label_set import LabelSet
from gb_keras.data.label_sets import LabelSets
from gb_keras.data.source import SPLITS

_SCHEMA = pa.schema(
    {
        "split": pa.int8(),
        "place": pa.int64(),
        "id": pa.large_string(),
        "present": pa.list_(pa.int32()),
        "absent": pa.list_(pa.int32()),
        "fingerprint": pa.binary(),
        "group": pa.large_string(),
        "reason": pa.large_string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "grey": pa.bool_(),
        "part": pa.int32(),
        "offset": pa.int64(),
        "length": pa.int32(),
    }
)
# Where an image lies, and what it is called: the columns that stay until it is written.
_STORED = ("id", "part", "offset", "length", "grey")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Stored:
    """Where the image of an example lies, as PNG, since it was read.

    Attributes:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        grey: Whether it has one channel instead of three.
        part: Number of the file.
        offset: First byte in the file.
        length: Number of bytes.
    """

    height: int
    width: int
    grey: bool
    part: int
    offset: int
    length: int


@dataclass(frozen=True)
class Record:
    """What is remembered of one example.

    Attributes:
        id: The example's unique name.
        split: The source's split that it came from.
        label: Class index, or label set.
        fingerprint: Hash of the pixels as they will be stored; empty where they cannot be read.
        group: As of the example.
        place: Its position in the split.
        stored: Its image, where that can be read.
        reason: Why it cannot be read, where it cannot.
    """

    id: str
    split: str
    label: int | LabelSet
    fingerprint: bytes
    group: str | None = None
    place: int = 0
    stored: Stored | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Records:
    """The readable examples of a source, in its order.

    Attributes:
        splits: Index into `SPLITS` of the source's split of each, int8, `(num_examples,)`.
        labels: Class indices, int32, `(num_examples,)`, or label sets.
        images: A number for the picture, the same for the same pixels, in the order in which each
            first appears, int32, `(num_examples,)`.
        groups: A number for the group, -1 where there is none, int32, `(num_examples,)`.
        stored: Columns `id`, `part`, `offset`, `length` and `grey`, see `Stored`.
    """

    splits: np.ndarray
    labels: np.ndarray | LabelSets
    images: np.ndarray
    groups: np.ndarray
    stored: pa.Table

    def __len__(self) -> int:
        return len(self.splits)

    def ids(self, positions: np.ndarray | Sequence[int]) -> list[str]:
        """Names of the examples at these positions."""
        return self.stored.column("id").take(pa.array(positions, pa.int64())).to_pylist()


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records to a file, a few at a time.

    Args:
        path: The file.
        records: The records.
    """
    rows = iter(records)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        while batch := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            writer.write_batch(_batch(batch))


def _batch(records: Sequence[Record]) -> pa.RecordBatch:
    sets = [_as_set(record.label) for record in records]
    stored = [record.stored or Stored(0, 0, True, 0, 0, 0) for record in records]
    columns = {
        "split": [SPLITS.index(record.split) for record in records],
        "place": [record.place for record in records],
        "id": [record.id for record in records],
        "present": [label.present for label in sets],
        "absent": [label.absent for label in sets],
        "fingerprint": [record.fingerprint for record in records],
        "group": [record.group for record in records],
        "reason": [record.reason for record in records],
        **{
            name: [getattr(each, name) for each in stored]
            for name in ("height", "width", "grey", "part", "offset", "length")
        },
    }
    return pa.record_batch(columns, schema=_SCHEMA)


def _as_set(label: int | LabelSet) -> LabelSet:
    return label if isinstance(label, LabelSet) else LabelSet((label,))


def read_tables(paths: Iterable[Path]) -> pa.Table:
    """The rows of files of `write_records`, in the order of the source.

    Raises:
        RuntimeError: Two of them are of the same place in the source, or one is missing.
    """
    tables = []
    for path in paths:
        with pa.OSFile(str(path), "rb") as file:
            tables.append(pa.ipc.open_file(file).read_all())
    table = pa.concat_tables(tables)
    split, place = (table.column(name).to_numpy() for name in ("split", "place"))
    order = np.lexsort((place, split))
    split, place = split[order], place[order]
    starts = np.flatnonzero(np.diff(split, prepend=-1))
    lengths = np.diff(starts, append=len(split))
    if not (place == np.arange(len(split)) - np.repeat(starts, lengths)).all():
        raise RuntimeError(
            "Expected the source to stay as it is while it is read. Received: other examples at "
            "another time. Run again when nothing writes to it."
        )
    # Taking makes a copy, which one file, in order as it is, does not need.
    return table.take(pa.array(order)) if len(tables) > 1 else table


def as_records(table: pa.Table, multi_label: bool) -> Records:
    """The readable examples of `read_tables`.

    Args:
        table: What it returned.
        multi_label: Whether they have label sets.
    """
    readable = table.filter(table.column("reason").is_null())
    present, absent = (_whole(readable, name) for name in ("present", "absent"))
    return Records(
        splits=readable.column("split").to_numpy(),
        labels=LabelSets(present, absent) if multi_label else present.flatten().to_numpy(),
        images=_numbers(readable, "fingerprint"),
        groups=_numbers(readable, "group"),
        stored=readable.select(_STORED),
    )


def problems(table: pa.Table) -> Iterator[dict[str, str]]:
    """`{"file": id, "reason": text}` for each example of `read_tables` that cannot be read."""
    broken = table.filter(table.column("reason").is_valid())
    for name, reason in zip(broken.column("id"), broken.column("reason"), strict=True):
        yield {"file": name.as_py(), "reason": reason.as_py()}


def _whole(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """A number for each value, in the order in which they first appear, -1 for none."""
    indices = _whole(table, name).dictionary_encode().indices
    return indices.fill_null(-1).to_numpy(zero_copy_only=False)
