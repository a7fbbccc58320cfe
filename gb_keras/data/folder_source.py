"""Folders of image files, one sub-folder a class, read file by file."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gb_keras.data.images import UnreadableImageError, decode_image
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
        path: The folder.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: Fewer than two classes, or a layout that is neither of the two.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("dog", "cat"):
        ...     (root / name).mkdir()
        >>> FolderSource(root).classes
        ('cat', 'dog')
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"Expected a folder of images. Received: {str(self.path)!r}, which is "
                f"{'a file' if self.path.exists() else 'not there'}."
            )
        self.name = f"folder:{self.path}"
        self._roots = _split_folders(self.path)
        self.splits = tuple(self._roots)
        self.classes = tuple(folder.name for folder in _subfolders(self._roots["train"]))
        self._check_classes()

    def examples(self, split: str) -> Iterator[Example]:
        """Every file of a split, class by class, sorted by path."""
        root = self._roots[split]
        for path in _sorted_files(root):
            if path.suffix.lower() in EXTENSIONS:
                reason = "wrongly placed: an image outside the class folders"
                yield Example(self._id(path), -1, functools.partial(refuse, reason))
        for label, name in enumerate(self.classes):
            for path in _walk(root / name):
                yield Example(self._id(path), label, functools.partial(load_file, path))

    def _id(self, path: Path) -> str:
        # File names are bytes; those that are no UTF-8 still need a name that can be written.
        return os.fsencode(path.relative_to(self.path).as_posix()).decode(
            "utf-8", "backslashreplace"
        )

    def _check_classes(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(
                "Expected a folder with at least 2 class folders. Received: "
                f"{str(self._roots['train'])!r} with {len(self.classes)}: {list(self.classes)}. "
                "Put the images of each class into a sub-folder named after the class."
            )
        for split, root in self._roots.items():
            names = {folder.name for folder in _subfolders(root)}
            if strange := sorted(names - set(self.classes)):
                raise ValueError(
                    f"Expected the classes of {split!r} to be among those of 'train', "
                    f"{list(self.classes)}. Received also: {strange}."
                )


def _split_folders(path: Path) -> dict[str, Path]:
    """The folder of each split; the whole folder is `"train"` where there are none."""
    folders = {folder.name: folder for folder in _subfolders(path)}
    known = {name for names in FOLDERS_OF_SPLIT.values() for name in names}
    # A class may be called "train": only folders that hold class folders are splits.
    splits = {name for name, folder in folders.items() if name in known and _subfolders(folder)}
    if not splits:
        return {"train": path}
    strange = sorted(set(folders) - known)
    if strange or "train" not in splits or {"validation", "val"} <= splits:
        raise ValueError(
            "Expected either class folders alone, or 'train' with at most one of 'validation' "
            f"and 'val', and 'test'. Received: {sorted(folders)} in {str(path)!r}. "
            "Move or rename the folders that do not belong."
        )
    return {
        split: folders[name]
        for split, names in FOLDERS_OF_SPLIT.items()
        for name in names
        if name in splits
    }


def _subfolders(path: Path) -> list[Path]:
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
    )


def _sorted_files(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.is_dir() and not _is_junk(entry))


def _is_junk(path: Path) -> bool:
    name = path.name.lower()
    stem, extension = os.path.splitext(name)
    return (
        name.startswith(".")
        or name in _JUNK_NAMES
        or (stem in _JUNK_STEMS and extension not in EXTENSIONS)
    )


def _walk(folder: Path, parents: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files of a class folder and its sub-folders; links that lead in a circle end it."""
    real = folder.resolve()
    if not folder.is_dir() or real in parents:
        return
    yield from _sorted_files(folder)
    for subfolder in _subfolders(folder):
        yield from _walk(subfolder, (*parents, real))


def load_file(path: Path) -> np.ndarray:
    """The image of a file, uint8 `(height, width, 3)`.

    Raises:
        UnreadableImageError: No image, by its name or content, or a file that cannot be read.
    """
    if path.suffix.lower() not in EXTENSIONS:
        raise UnreadableImageError(
            f"wrongly named: {path.suffix or 'no'} extension, expected one of "
            f"{' '.join(EXTENSIONS)}"
        )
    if not path.is_file():
        # Reading a pipe or a device could wait for ever.
        raise UnreadableImageError("cannot be opened (a broken link, or no regular file)")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"cannot be opened ({error.strerror})") from error
    return decode_image(data)


def refuse(reason: str) -> np.ndarray:
    """Load nothing, for a reason; what `Example.load` does for what is known to be wrong."""
    raise UnreadableImageError(reason)
