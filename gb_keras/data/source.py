"""What every source of images offers, however it is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gb_keras.data.label_set import LabelSet

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One labelled image that is not yet in memory.

    Attributes:
        id: Unique name within the source: a path, or a position.
        label: Class index; the label set of a multi-label data set.
        load: Returns the image, uint8 `(height, width, 3)`, or raises `UnreadableImageError`.
        group: Name of what it is a part of, within the source, or None: examples of one group,
            crops of one photograph for instance, must not be in two splits.
    """

    id: str
    label: int | LabelSet
    load: Callable[[], np.ndarray]
    group: str | None = None


def grey_as_rgb(image: np.ndarray) -> Callable[[], np.ndarray]:
    """What loads a grey image that is in memory, for `Example.load`.

    Args:
        image: Grey values, uint8, `(height, width)`.

    Example:
        >>> grey_as_rgb(np.zeros((2, 4), np.uint8))().shape
        (2, 4, 3)
    """
    return lambda: np.repeat(image[..., np.newaxis], 3, axis=-1)


class Source(Protocol):
    """A readable data set.

    Attributes:
        name: The name that opens it again.
        classes: Class names; a label is an index into them.
        splits: Those of `SPLITS` that the source comes with, always with `"train"`.

    A source whose images have any number of labels has `multi_label`, True.
    One that lists its examples without reading their images has `is_listed`, True.
    A source that is made of files which the reader of its manifest cannot see also has
    `made_of`, the SHA-256 of each by its name. One that does not count all that its files list has
    `left_out`, by split how many there were of each reason, once a split was read.
    """

    name: str
    classes: tuple[str, ...]
    splits: tuple[str, ...]

    def examples(self, split: str) -> Iterator[Example]:
        """Every example of a split, in the same order at each call."""
        ...


def is_listed(source: Source) -> bool:
    """Whether the examples of a source can be listed without reading their images."""
    return getattr(source, "is_listed", False)


def is_multi_label(source: Source) -> bool:
    """Whether the images of a source have any number of labels instead of one each."""
    return getattr(source, "multi_label", False)
