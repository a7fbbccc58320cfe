"""What the ways in which Open Images comes have in common: photographs, and boxes on them."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from gb_keras.data.images import UnreadableImageError, cut_out, read_pixels
from gb_keras.names import require_name

# What a box can be marked as, and the name of that column in the official files.
FLAGS = {
    "group_of": "IsGroupOf",
    "truncated": "IsTruncated",
    "occluded": "IsOccluded",
    "depiction": "IsDepiction",
    "inside": "IsInside",
}
# Where display names of classes stand, of boxes and of labels of whole images; the first counts.
CLASS_FILES = {
    "boxes": ("class-descriptions-boxable.csv", "class-descriptions.csv"),
    "labels": ("class-descriptions.csv", "class-descriptions-boxable.csv"),
}
# Left, top, right and bottom, as shares of the stored image's width and height.
Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """A box that someone drew on a photograph.

    Attributes:
        mid: The class's machine-readable name, as `/m/0bt9lr`.
        edges: Of the box; they may be beyond the photograph.
        flags: Those of `FLAGS` that are set.
        number: Tells it from the other boxes of its photograph.
    """

    mid: str
    edges: Edges
    flags: frozenset[str]
    number: int


# Classes that an image was asked for, and whether someone has seen them on it; None where only a
# machine says so.
Answers = list[tuple[str, bool | None]]


class Photograph:
    """An image file that is read when it is needed, and decoded once for all of its boxes.

    Args:
        name: Unique name within the data set.
        open_file: Opens the file, or raises `OSError` or `UnreadableImageError`.
        turn: By how many degrees it is to be turned counterclockwise to stand upright, or `None`
            if only its EXIF orientation can tell.
    """

    def __init__(self, name: str, open_file: Callable[[], BinaryIO], turn: int | None) -> None:
        self.name = name
        self._open_file = open_file
        self._turn = turn

    @functools.cached_property
    def size(self) -> tuple[int, int] | None:
        """Width and height as stored, or `None` where the file is broken."""
        try:
            with self._open_file() as file, Image.open(file) as image:
                return image.size
        except (OSError, UnreadableImageError):
            return None

    def crop(self, edges: Edges) -> np.ndarray:
        """What is in a box, upright: uint8, `(height, width, 3)`.

        Raises:
            UnreadableImageError: The file cannot be read.
            ConnectionError: It cannot be reached.
        """
        return cut_out(self._pixels, edges, self._turn)

    @functools.cached_property
    def _pixels(self) -> Image.Image:
        try:
            with self._open_file() as file:
                data = file.read()
        except ConnectionError:
            raise
        except OSError as error:
            raise UnreadableImageError(f"cannot be opened ({error.strerror})") from error
        return read_pixels(data)


class Layout(Protocol):
    """Open Images as it lies on a disk.

    Attributes:
        classes: Display names by machine-readable name, in order.
        splits: Those of `SPLITS` whose annotations are there, always with `"train"`.
        is_listed: Whether photographs are listed without reading them.
    """

    classes: dict[str, str]
    splits: tuple[str, ...]
    is_listed: bool

    def boxes(self, split: str) -> Iterator[tuple[Box, Photograph | None]]:
        """Every box of a split; `None` stands for a photograph that is not there.

        Those of one photograph that follow each other come with the same object.
        """
        ...

    def labels(self, split: str) -> Iterator[tuple[Photograph | None, Answers]]:
        """Every photograph of a split with the labels of all of it; `None`: it is not there."""
        ...

    def trainable(self) -> list[str]:
        """Machine-readable names of the classes that Open Images calls trainable."""
        ...


def chosen(known: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Machine-readable names of the classes to take, in the order of their labels.

    Args:
        known: Display names by machine-readable name.
        names: Display or machine-readable names; none for all.

    Raises:
        ValueError: A name is unknown.

    Example:
        >>> chosen({"/m/01yrx": "Cat", "/m/0bt9lr": "Dog"}, ["Dog", "/m/01yrx"])
        ('/m/0bt9lr', '/m/01yrx')
    """
    if not names:
        return tuple(known)
    mids = {name: mid for mid, name in known.items()} | {mid: mid for mid in known}
    unknown = [name for name in names if name not in mids]
    if unknown:
        require_name("classes", unknown[0], mids)
    return tuple(dict.fromkeys(mids[name] for name in names))
