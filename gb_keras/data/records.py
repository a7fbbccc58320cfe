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
# Of a hash of 256 bits 128 tell any number of pictures apart.
_BYTES_OF_FINGERPRINT = 16


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

    def ids(self, positions: np.ndarray) -> Iterator[str]:
        """Names of the examples at these positions."""
        for start in range(0, len(positions), _ROWS_AT_ONCE):
            names = self.stored.column("id").take(positions[start : start + _ROWS_AT_ONCE])
            yield from names.to_pylist()


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
        "fingerprint": [record.fingerprint[:_BYTES_OF_FINGERPRINT] for record in records],
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


def read_records(
    paths: Sequence[Path], multi_label: bool
) -> tuple[Records, list[dict[str, str]], list[tuple[int, int]]]:
    """What `write_records` has written, in the order of the source.

    Args:
        paths: The files, each with some of the examples of the source.
        multi_label: Whether they have label sets.

    Returns:
        The readable examples; `{"file": id, "reason": text}` for each of the others; all
        `(height, width)` in pixels that occur.
    """

    def whole(name: str) -> pa.ChunkedArray:
        chunks = [chunk for path in paths for chunk in _column(path, name).chunks]
        return pa.chunked_array(chunks, _SCHEMA.field(name).type)

    def column(name: str, rows: np.ndarray) -> pa.Array:
        # One after the other, as all columns together take much more memory than what stays.
        taken = _as_array(whole(name).take(rows))
        pa.default_memory_pool().release_unused()
        return taken

    order = np.lexsort((whole("place").to_numpy(), whole("split").to_numpy()))
    broken = column("reason", order).is_valid().to_numpy(zero_copy_only=False)
    rows, bad = order[~broken], order[broken]
    present, absent = column("present", rows), column("absent", rows)
    names, reasons = column("id", bad), column("reason", bad)
    sizes = pa.table({name: column(name, rows) for name in ("height", "width")})
    found = Records(
        splits=column("split", rows).to_numpy(),
        labels=LabelSets(present, absent) if multi_label else present.flatten().to_numpy(),
        images=_numbers(column("fingerprint", rows)),
        groups=_numbers(column("group", rows)),
        stored=pa.table({name: column(name, rows) for name in _STORED}),
    )
    problems = [
        {"file": name.as_py(), "reason": reason.as_py()}
        for name, reason in zip(names, reasons, strict=True)
    ]
    kinds = sizes.group_by(["height", "width"]).aggregate([]).to_pylist()
    return found, problems, [(each["height"], each["width"]) for each in kinds]


def _column(path: Path, name: str) -> pa.ChunkedArray:
    # Mapped, only what the column holds is read; it stays so while the column is used.
    options = pa.ipc.IpcReadOptions(included_fields=[_SCHEMA.get_field_index(name)])
    return pa.ipc.open_file(pa.memory_map(str(path)), options=options).read_all().column(0)


def _as_array(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _numbers(values: pa.Array) -> np.ndarray:
    """A number for each value, in the order in which they first appear, -1 for none."""
    return values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
