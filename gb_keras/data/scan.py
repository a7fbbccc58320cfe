"""The first pass over a source: what is in it, what is broken, which images are the same."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gb_keras.data.images import UnreadableImageError, fingerprint, is_grey, resize_image
from gb_keras.data.label_set import LabelSet
from gb_keras.data.source import Example, Source


@dataclass(frozen=True)
class Record:
    """What is remembered of one readable example.

    Attributes:
        id: The example's unique name.
        split: The source's split that it came from.
        label: Class index, or label set.
        fingerprint: Hash of the pixels as they will be stored.
        group: As of the example.
    """

    id: str
    split: str
    label: int | LabelSet
    fingerprint: bytes
    group: str | None = None


@dataclass
class Scan:
    """The outcome of `scan`.

    Attributes:
        records: The readable examples, in the source's order.
        problems: `{"file": id, "reason": text}` for each example that cannot be used.
        heights: Heights that occur, in pixels, after resizing.
        widths: Widths that occur.
        grey: Whether every image is grey.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    heights: set[int] = field(default_factory=set)
    widths: set[int] = field(default_factory=set)
    grey: bool = True

    @property
    def image_shape(self) -> tuple[int | None, int | None, int]:
        """`(height, width, channels)` of the stored images, `None` where they differ."""
        height = next(iter(self.heights)) if len(self.heights) == 1 else None
        width = next(iter(self.widths)) if len(self.widths) == 1 else None
        return height, width, 1 if self.grey else 3


def scan(source: Source, image_size: int | None) -> Scan:
    """Read every image of a source once, holding one in memory at a time.

    Args:
        source: The data set.
        image_size: Side in pixels to which the images will be resized, or `None`.

    Returns:
        What was found.

    Example:
        >>> from gb_keras.data.array_source import digits
        >>> found = scan(digits(), image_size=None)
        >>> len(found.records), found.image_shape
        (1797, (8, 8, 1))
    """
    found = Scan()
    for split, example, image in images(source, image_size):
        if isinstance(image, str):
            found.problems.append({"file": example.id, "reason": image})
            continue
        record = Record(example.id, split, example.label, fingerprint(image), example.group)
        found.records.append(record)
        found.heights.add(image.shape[0])
        found.widths.add(image.shape[1])
        found.grey = found.grey and is_grey(image)
    return found


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
            try:
                yield split, example, load(example, image_size)
            except UnreadableImageError as error:
                yield split, example, str(error)


def load(example: Example, image_size: int | None) -> np.ndarray:
    """An example's image as it will be stored, uint8 `(height, width, 3)`."""
    image = example.load()
    return image if image_size is None else resize_image(image, image_size)
