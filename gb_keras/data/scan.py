"""The one pass over a source: each image read, hashed, and kept as PNG until it is written."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.compute as pc

from gb_keras.data.catalogue import open_source
from gb_keras.data.images import (
    UnreadableImageError,
    encode_png,
    fingerprint,
    is_grey,
    resize_image,
)
from gb_keras.data.records import Record, Records, Stored, read_records, write_records
from gb_keras.data.source import Example, Source, is_multi_label
from gb_keras.data.whole_file import whole_file

# Neighbours stay together, as several may be cut out of one photograph that is decoded once.
_BLOCK = 64


@dataclass(frozen=True)
class Scan:
    """The outcome of `found`.

    Attributes:
        records: The readable examples, in the source's order.
        problems: `{"file": id, "reason": text}` for each example that cannot be used.
        image_shape: `(height, width, channels)` of the images, `None` where they differ.
        left_out: As of the source, once it was read.
    """

    records: Records
    problems: list[dict[str, str]]
    image_shape: tuple[int | None, int | None, int]
    left_out: dict[str, dict[str, int]]


def scan_part(source: Source, folder: Path, image_size: int | None, part: int, parts: int) -> None:
    """Read a share of the images of a source, holding one in memory at a time.

    Of all blocks of neighbours in a split the share has each n-th. It leaves the images in one
    file, see `stored_file`, and what is to be remembered of them in others. They appear whole or
    not at all; what is there already is not done again.

    Args:
        source: The data set.
        folder: Where to leave the files.
        image_size: Side in pixels to which the images are resized, or `None`.
        part: Number of the share, from 0.
        parts: How many shares there are.
    """
    if is_scanned(folder, part):
        return
    counts: dict[str, int] = {}
    # The outermost appears last.
    with (
        whole_file(_seen_file(folder, part)) as seen,
        whole_file(_rows_file(folder, part)) as rows,
        whole_file(stored_file(folder, part)) as pictures,
    ):
        with open(pictures, "wb") as file:
            write_records(rows, _records(source, file, image_size, part, parts, counts))
        # Whoever has read a source knows what it has left out, and how many examples it has.
        known = {"counts": counts, "left_out": getattr(source, "left_out", {})}
        seen.write_text(json.dumps(known), encoding="utf-8")


def scan_part_by_name(
    name: str, folder: Path, image_size: int | None, parts: int, part: int
) -> None:
    """The same for a source that is opened by its name, once for all shares of a run."""
    scan_part(_opened(name, folder), folder, image_size, part, parts)


@functools.lru_cache(maxsize=1)
def _opened(name: str, folder: Path) -> Source:
    # By its folder a run is told from a later one, for which the files may be other ones.
    return open_source(name)


def _records(
    source: Source,
    file: IO[bytes],
    image_size: int | None,
    part: int,
    parts: int,
    counts: dict[str, int],
) -> Iterator[Record]:
    """Records of a share, whose images go into `file`; `counts` become those of all shares."""
    for split in source.splits:
        for place, example in enumerate(source.examples(split)):
            counts[split] = place + 1
            if place // _BLOCK % parts != part:
                continue
            known: dict[str, Any] = {"label": example.label, "group": example.group, "place": place}
            image = _image(example, image_size)
            if isinstance(image, str):
                yield Record(example.id, split, fingerprint=b"", reason=image, **known)
                continue
            grey = is_grey(image)
            png = encode_png(image[..., :1] if grey else image)
            height, width = image.shape[:2]
            stored = Stored(height, width, grey, part, file.tell(), len(png))
            file.write(png)
            yield Record(example.id, split, fingerprint=fingerprint(image), stored=stored, **known)


def found(source: Source, folder: Path, parts: int) -> Scan:
    """What all shares of a source together have found.

    Args:
        source: The data set.
        folder: Where `scan_part` has left its files.
        parts: How many shares there are.

    Raises:
        RuntimeError: The shares do not fit together: the source has changed meanwhile.

    Example:
        >>> import tempfile
        >>> from gb_keras.data.array_source import digits
        >>> folder = Path(tempfile.mkdtemp())
        >>> for part in range(2):
        ...     scan_part(digits(), folder, None, part, parts=2)
        >>> scan = found(digits(), folder, parts=2)
        >>> len(scan.records), scan.image_shape
        (1797, (8, 8, 1))
    """
    seen = [
        json.loads(_seen_file(folder, part).read_text(encoding="utf-8")) for part in range(parts)
    ]
    if any(each != seen[0] for each in seen):
        raise RuntimeError(
            "Expected the source to stay as it is while it is read. Received: other examples at "
            f"another time. Run again when nothing writes to {source.name!r}."
        )
    multi_label = is_multi_label(source)
    records, problems, sizes = read_records(
        [_rows_file(folder, part) for part in range(parts)], multi_label
    )
    heights, widths = ({size[axis] for size in sizes} for axis in (0, 1))
    return Scan(
        records=records,
        problems=problems,
        image_shape=(
            heights.pop() if len(heights) == 1 else None,
            widths.pop() if len(widths) == 1 else None,
            1 if pc.all(records.stored.column("grey"), min_count=0).as_py() else 3,
        ),
        left_out=seen[0]["left_out"],
    )


def stored_file(folder: Path, part: int) -> Path:
    """The file with the images of a share.

    Example:
        >>> stored_file(Path("work"), 3).name
        'part-00003.images'
    """
    return folder / f"part-{part:05d}.images"


def files_of_part(folder: Path, part: int) -> tuple[Path, ...]:
    """All files of a share, in the order in which they appear."""
    return stored_file(folder, part), _rows_file(folder, part), _seen_file(folder, part)


def is_scanned(folder: Path, part: int) -> bool:
    """Whether a share is there as a whole."""
    return _seen_file(folder, part).exists()


def _rows_file(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.rows"


def _seen_file(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.seen"


def images(
    source: Source, image_size: int | None = None
) -> Iterator[tuple[str, Example, np.ndarray | str]]:
    """Every example of every split with its image, or with the reason why it has none.

    Args:
        source: The data set.
        image_size: Side in pixels to which the images are resized, or `None`.
    """
    for split in source.splits:
        for example in source.examples(split):
            yield split, example, _image(example, image_size)


def _image(example: Example, image_size: int | None) -> np.ndarray | str:
    """An image as it will be stored, uint8 `(height, width, 3)`, or why there is none."""
    try:
        image = example.load()
    except UnreadableImageError as error:
        return str(error)
    return image if image_size is None else resize_image(image, image_size)
