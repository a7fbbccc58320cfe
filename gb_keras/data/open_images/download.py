"""Open Images as the official files are downloaded (V4 to V7): where they lie."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from gb_keras.data.open_images import rows
from gb_keras.data.open_images.layout import Box, Photograph
from gb_keras.data.source import SPLITS

# What the names of the files begin with in different versions.
_VERSIONS = ("", "oidv7-", "oidv6-", "oidv5-")
_EXTENSIONS = (".jpg", ".jpeg", ".png")
# V7 calls one of its splits so in the names of some files.
_SHORT = {"validation": "val"}
_CLASSES = ("class-descriptions-boxable.csv", "class-descriptions.csv")
_BOXES = ("{split}-annotations-bbox.csv",)
_IDS = (
    "{split}-images-boxable-with-rotation.csv",
    "{split}-images-with-labels-with-rotation.csv",
    "{split}-images-with-rotation.csv",
)
_PAGE = "https://storage.googleapis.com/openimages/web/download_v7.html"


class Download:
    """Images in `train`, `validation` and `test`, and CSV files beside them or in `annotations`.

    Args:
        folder: Where they were downloaded to.

    Attributes:
        classes: Display names by machine-readable name, in the order of their file.
        splits: Those whose boxes are there.

    Raises:
        FileNotFoundError: There is no file of classes, or none of the boxes for training.
        ValueError: The file of classes cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = {split: _find_file(folder, _BOXES, split) for split in SPLITS}
        if found["train"] is None:
            raise FileNotFoundError(
                "Expected 'train-annotations-bbox.csv' or 'oidv6-train-annotations-bbox.csv' in "
                f"{str(folder)!r}, its folder 'annotations' or 'train'. Received: neither. "
                f"Download it from {_PAGE}"
            )
        classes = _find_file(folder, _CLASSES)
        if classes is None:
            raise FileNotFoundError(
                f"Expected 'class-descriptions-boxable.csv' in {str(folder)!r} or its folder "
                f"'annotations'. Received: none. Download it from {_PAGE}"
            )
        self._files = {split: path for split, path in found.items() if path is not None}
        self.splits = tuple(self._files)
        self.classes = rows.class_names(classes)

    def boxes(self, split: str) -> Iterator[tuple[Box, Photograph | None]]:
        """Every box of a split, in the order of the rows, numbered by their lines.

        Raises:
            ValueError: A row cannot be read; the error names the file and the line.
        """
        ids = _find_file(self._folder, _IDS, split)
        turns = {} if ids is None else rows.rotations(ids)

        @functools.lru_cache(maxsize=1)
        def photograph(image: str) -> Photograph | None:
            path = _find_image(self._folder, split, image)
            if path is None:
                return None
            name = path.relative_to(self._folder).as_posix()
            return Photograph(name, lambda: path.open("rb"), turns.get(image))

        for image, box in rows.boxes(self._files[split]):
            yield box, photograph(image)


def _find_file(folder: Path, names: Sequence[str], split: str | None = None) -> Path | None:
    """The first file of these names, of whichever version, or `None`.

    It is sought in the folder, in its folder `annotations`, and in that of the split.

    Args:
        folder: Where Open Images was downloaded to.
        names: What files may be called, without their version; `{split}` stands for the split.
        split: `train`, `validation` or `test`; `None` for a file of all splits.
    """
    splits = [split, _SHORT[split]] if split in _SHORT else [split]
    places = [folder, folder / "annotations", *([folder / split] if split else [])]
    for place in places:
        for name in names:
            for called in splits:
                for version in _VERSIONS:
                    path = place / f"{version}{name.format(split=called)}"
                    if path.is_file():
                        return path
    return None


def _find_image(folder: Path, split: str, image: str) -> Path | None:
    """The file of an image, or `None` where it was not downloaded.

    Images lie in `train`, `validation` and `test`, or as the archives of the training images have
    them, in `train_0` to `train_f` by the first letter of their id.
    """
    for place in (split, f"{split}_{image[:1]}", f"{split}/{split}_{image[:1]}"):
        for extension in _EXTENSIONS:
            path = folder / place / f"{image}{extension}"
            if path.is_file():
                return path
    return None
