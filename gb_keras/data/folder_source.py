"""Folders of image files, one sub-folder a class, read file by file."""

import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from gb_keras.data.images import UnreadableImageError, decode_image
from gb_keras.data.locations import (
    Entry,
    Location,
    absolute,
    as_it_is,
    entries,
    location,
    read_bytes,
)
from gb_keras.data.source import Example

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# What operating systems and people leave beside pictures; hidden files are ignored too.
_JUNK_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
_JUNK_STEMS = {"readme", "license", "licence"}
FOLDERS_OF_SPLIT = {
    "train": ("train",),
    "validation": ("validation", "val"),
    "test": ("test",),
}


class FolderSource:
    """`PATH/CLASS/*.jpg`, or `PATH/train/CLASS/*.jpg` with `validation` (or `val`) and `test`.

    Classes are the names of the class folders, sorted. Images may lie in sub-folders of a class.
    Hidden files and well-known junk (`Thumbs.db`, `desktop.ini`, `README*`, `LICENSE*`,
    `__MACOSX`) are ignored; any other file without an image's extension is reported when it is
    loaded, and so is an image that lies beside the class folders.

    Args:
        path: The folder, or its URL.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: Fewer than two classes, a layout that is neither of the two, or a URL that
            nothing reads.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("dog", "cat"):
        ...     (root / name).mkdir()
        >>> FolderSource(root).classes
        ('cat', 'dog')
    """

    is_listed = True

    def __init__(self, path: Location | str) -> None:
        self.path = location(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"Expected a folder of images. Received: {str(self.path)!r}, which is "
                f"{'a file' if self.path.exists() else 'not there'}."
            )
        self.name = f"folder:{absolute(str(path))}"
        self._roots = _split_folders(self.path)
        self.splits = tuple(self._roots)
        self._folders = {split: subfolders(root) for split, (_, root) in self._roots.items()}
        self.classes = tuple(folder.name for folder in self._folders["train"])
        self._check_classes()

    def examples(self, split: str) -> Iterator[Example]:
        """Every file of a split, class by class, sorted by path."""
        name, root = self._roots[split]
        for file in _files(entries(root)):
            if _extension(file.name) in EXTENSIONS:
                reason = "wrongly placed: an image outside the class folders"
                yield Example(_id(name, file), -1, functools.partial(refuse, reason))
        labels = {name: label for label, name in enumerate(self.classes)}
        for folder in self._folders[split]:
            label = labels[folder.name]
            for file_name, file in _walk(folder, f"{name}{folder.name}/"):
                load = functools.partial(load_file, file.location, file.name)
                yield Example(file_name, label, load)

    def _check_classes(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(
                "Expected a folder with at least 2 class folders. Received: "
                f"{str(self._roots['train'][1])!r} with {len(self.classes)}: "
                f"{list(self.classes)}. Put the images of each class into a sub-folder named after "
                "the class."
            )
        for split, folders in self._folders.items():
            if strange := sorted({folder.name for folder in folders} - set(self.classes)):
                raise ValueError(
                    f"Expected the classes of {split!r} to be among those of 'train', "
                    f"{list(self.classes)}. Received also: {strange}."
                )


def _split_folders(path: Location) -> dict[str, tuple[str, Location]]:
    """Of each split what names begin with, and its folder; `"train"` has all if there are none."""
    folders = {folder.name: folder.location for folder in subfolders(path)}
    known = {name for names in FOLDERS_OF_SPLIT.values() for name in names}
    # A class may be called "train": only folders that hold class folders are splits.
    splits = {name for name, folder in folders.items() if name in known and subfolders(folder)}
    if not splits:
        return {"train": ("", path)}
    strange = sorted(set(folders) - known)
    if strange or "train" not in splits or {"validation", "val"} <= splits:
        raise ValueError(
            "Expected either class folders alone, or 'train' with at most one of 'validation' "
            f"and 'val', and 'test'. Received: {sorted(folders)} in {str(path)!r}. "
            "Move or rename the folders that do not belong."
        )
    return {
        split: (f"{name}/", folders[name])
        for split, names in FOLDERS_OF_SPLIT.items()
        for name in names
        if name in splits
    }


def subfolders(folder: Location) -> list[Entry]:
    """The folders in a folder, but those that are hidden or left by archives, sorted by name."""
    return _folders(entries(folder))


def _folders(found: Iterable[Entry]) -> list[Entry]:
    return [
        entry
        for entry in found
        if entry.is_folder and not entry.name.startswith(".") and entry.name != "__MACOSX"
    ]


def _files(found: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in found if not entry.is_folder and not _is_junk(entry.name.lower())]


def _is_junk(name: str) -> bool:
    stem, extension = os.path.splitext(name)
    return (
        name.startswith(".")
        or name in _JUNK_NAMES
        or (stem in _JUNK_STEMS and extension not in EXTENSIONS)
    )


def _walk(
    folder: Entry, called: str, parents: tuple[Path, ...] = ()
) -> Iterator[tuple[str, Entry]]:
    """The files of a class folder and its sub-folders; links that lead in a circle end it.

    Args:
        folder: The folder.
        called: What the names of its files begin with.
        parents: Those that it was reached through, on this machine.
    """
    if isinstance(folder.location, Path):
        real = folder.location.resolve()
        if real in parents:
            return
        parents = (*parents, real)
    found = entries(folder.location)
    for file in _files(found):
        yield _id(called, file), file
    for subfolder in _folders(found):
        yield from _walk(subfolder, f"{called}{subfolder.name}/", parents)


def _id(called: str, file: Entry) -> str:
    # File names are bytes; those that are no UTF-8 still need a name that can be written.
    return os.fsencode(called + file.name).decode("utf-8", "backslashreplace")


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def load_file(file: Location | str, name: str) -> np.ndarray:
    """The image of a file, uint8 `(height, width, 3)`.

    Args:
        file: Where it lies; a path must be absolute.
        name: What it is called.

    Raises:
        UnreadableImageError: No image, by its name or content, or a file that cannot be read.
        ConnectionError: It cannot be reached, so that nobody knows.
    """
    if _extension(name) not in EXTENSIONS:
        raise UnreadableImageError(
            f"wrongly named: {os.path.splitext(name)[1] or 'no'} extension, expected one of "
            f"{' '.join(EXTENSIONS)}"
        )
    place = as_it_is(file) if isinstance(file, str) else file
    return decode_image(read_image(place))


def read_image(file: Location) -> bytes:
    """The content of an image's file.

    Raises:
        UnreadableImageError: The file cannot be read.
        ConnectionError: It cannot be reached.
    """
    if isinstance(file, Path) and not file.is_file():
        # Reading a pipe or a device could wait for ever.
        raise UnreadableImageError("cannot be opened (a broken link, or no regular file)")
    try:
        return read_bytes(file)
    except OSError as error:
        # Over a network other errors say nothing of the image.
        if not isinstance(file, Path) and not isinstance(
            error, FileNotFoundError | PermissionError
        ):
            raise
        reason = error.strerror or ("not there" if isinstance(error, FileNotFoundError) else error)
        raise UnreadableImageError(f"cannot be opened ({reason})") from error


def refuse(reason: str) -> np.ndarray:
    """Load nothing, for a reason; what `Example.load` does for what is known to be wrong."""
    raise UnreadableImageError(reason)
