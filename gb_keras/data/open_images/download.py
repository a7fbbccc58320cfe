"""Open Images as the official files are downloaded (V4 to V7): where they lie."""

import array
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gb_keras.data.folder_source import read_image
from gb_keras.data.locations import Location, entries
from gb_keras.data.open_images import rows
from gb_keras.data.open_images.layout import CLASS_FILES, Answers, Box, Photograph
from gb_keras.data.source import SPLITS

# What the names of the files begin with in different versions.
_VERSIONS = ("", "oidv7-", "oidv6-", "oidv5-")
_EXTENSIONS = (".jpg", ".jpeg", ".png")
# V7 calls one of its splits so in the names of some files.
_SHORT = {"validation": "val"}
_TRAINABLE = "classes-trainable.txt"
# Of boxes and of labels of whole images; the first counts.
_ANNOTATIONS = {
    "boxes": ("{split}-annotations-bbox.csv",),
    "labels": (
        "{split}-annotations-human-imagelabels.csv",
        "{split}-annotations-human-imagelabels-boxable.csv",
    ),
}
_IDS = (
    "{split}-images-boxable-with-rotation.csv",
    "{split}-images-with-labels-with-rotation.csv",
    "{split}-images-with-rotation.csv",
)
_SHOWN: tuple[bool | None, ...] = (False, True, None)
_UNSEEN = 2
_PAGE = "https://storage.googleapis.com/openimages/web/download_v7.html"


class Download:
    """Images in `train`, `validation` and `test`, and CSV files beside them or in `annotations`.

    Args:
        folder: Where they were downloaded to.
        kind: `"boxes"` or `"labels"`, whichever will be read.

    Attributes:
        classes: Display names by machine-readable name, in the order of their file.
        splits: Those whose annotations are there.

    Raises:
        FileNotFoundError: There is no file of classes, or none of annotations for training.
        ValueError: The file of classes cannot be read.
    """

    is_listed = True

    def __init__(self, folder: Location, kind: str) -> None:
        self._folder = folder
        annotations = _ANNOTATIONS[kind]
        # Of a URL each question costs a request; listed once, a folder answers all.
        self._names = functools.cache(_names_of_files)
        found = {split: self._find_file(annotations, split) for split in SPLITS}
        if found["train"] is None:
            name = annotations[0].format(split="train")
            raise FileNotFoundError(
                f"Expected {name!r} or 'oidv6-{name}' in {str(folder)!r}, its folder 'annotations' "
                f"or 'train'. Received: neither. Download it from {_PAGE}"
            )
        classes = self._file(CLASS_FILES[kind])
        self._files = {split: path for split, path in found.items() if path is not None}
        self.splits = tuple(self._files)
        self.classes = rows.class_names(classes)

    def _file(self, names: Sequence[str]) -> Location:
        """The first file of these names that there is."""
        path = self._find_file(names)
        if path is None:
            raise FileNotFoundError(
                f"Expected {names[0]!r} in {str(self._folder)!r} or its folder 'annotations'. "
                f"Received: none. Download it from {_PAGE}"
            )
        return path

    def trainable(self) -> list[str]:
        """Machine-readable names of the classes that Open Images calls trainable.

        Raises:
            FileNotFoundError: Their file is not there.
        """
        return rows.names_of_lines(self._file([_TRAINABLE]))

    def labels(self, split: str) -> Iterator[tuple[Photograph | None, Answers]]:
        """Every photograph of a split with its labels, in the order of their first rows.

        Raises:
            ValueError: A row cannot be read; the error names the file and the line.
        """
        photograph = self._photographs(split)
        images: dict[str, int] = {}
        mids: dict[str, int] = {}
        # Numbers, as the rows themselves of tens of millions of labels take gigabytes.
        columns = (array.array("l"), array.array("l"), array.array("b"))
        for image, mid, shown in rows.labels(self._files[split]):
            columns[0].append(images.setdefault(image, len(images)))
            columns[1].append(mids.setdefault(mid, len(mids)))
            columns[2].append(_UNSEEN if shown is None else shown)
        image_of_row, mid_of_row, shown_of_row = map(np.asarray, columns)
        order = np.argsort(image_of_row, kind="stable")
        ends = np.cumsum(np.bincount(image_of_row, minlength=len(images)))
        names = list(mids)
        start = 0
        for image, end in zip(images, ends, strict=True):
            answers: Answers = [
                (names[mid_of_row[row]], _SHOWN[shown_of_row[row]]) for row in order[start:end]
            ]
            start = end
            yield photograph(image), answers

    def boxes(self, split: str) -> Iterator[tuple[Box, Photograph | None]]:
        """Every box of a split, in the order of the rows, numbered by their lines.

        Raises:
            ValueError: A row cannot be read; the error names the file and the line.
        """
        photograph = self._photographs(split)
        for image, box in rows.boxes(self._files[split]):
            yield box, photograph(image)

    def _photographs(self, split: str) -> Callable[[str], Photograph | None]:
        """What finds the photograph of an id."""
        ids = self._find_file(_IDS, split)
        turns = {} if ids is None else rows.rotations(ids)

        @functools.lru_cache(maxsize=1)
        def photograph(image: str) -> Photograph | None:
            name = self._find_image(split, image)
            if name is None:
                return None
            open_file = functools.partial(_open, self._folder / name)
            return Photograph(name, open_file, turns.get(image))

        return photograph

    def _find_file(self, names: Sequence[str], split: str | None = None) -> Location | None:
        """The first file of these names, of whichever version, or `None`.

        It is sought in the folder, in its folder `annotations`, and in that of the split.

        Args:
            names: What files may be called, without their version; `{split}` stands for the split.
            split: `train`, `validation` or `test`; `None` for a file of all splits.
        """
        splits = [split, _SHORT[split]] if split in _SHORT else [split]
        for place in ("", "annotations", *([split] if split else [])):
            for name in names:
                for called in splits:
                    for version in _VERSIONS:
                        file = f"{version}{name.format(split=called)}"
                        if self._is_file(place, file):
                            return self._folder / place / file
        return None

    def _find_image(self, split: str, image: str) -> str | None:
        """The file of an image within the folder, or `None` where it was not downloaded.

        Images lie in `train`, `validation` and `test`, or as the archives of the training images
        have them, in `train_0` to `train_f` by the first letter of their id.
        """
        for place in (split, f"{split}_{image[:1]}", f"{split}/{split}_{image[:1]}"):
            for extension in _EXTENSIONS:
                if self._is_file(place, f"{image}{extension}"):
                    return f"{place}/{image}{extension}"
        return None

    def _is_file(self, place: str, name: str) -> bool:
        folder = self._folder / place
        if isinstance(folder, Path):
            return (folder / name).is_file()
        return name in self._names(folder)


def _names_of_files(folder: Location) -> frozenset[str]:
    """Names of the files in a folder, none if there is no such folder."""
    try:
        return frozenset(entry.name for entry in entries(folder) if not entry.is_folder)
    except FileNotFoundError:
        return frozenset()


def _open(file: Location) -> BinaryIO:
    """Open an image; a URL is read at once, in one request."""
    return file.open("rb") if isinstance(file, Path) else io.BytesIO(read_image(file))
