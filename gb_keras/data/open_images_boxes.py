"""Open Images as a data set of one label an image: what its boxes hold, cut out."""

import collections
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from gb_keras.data import open_images_files as files
from gb_keras.data.images import UnreadableImageError, cut_out, read_pixels
from gb_keras.data.open_images_options import DROPPABLE, BoxOptions, full_argument, parse
from gb_keras.data.source import SPLITS, Example
from gb_keras.names import require_name

_CLASSES = ("class-descriptions-boxable.csv", "class-descriptions.csv")
_BOXES = ("{split}-annotations-bbox.csv",)
_IDS = (
    "{split}-images-boxable-with-rotation.csv",
    "{split}-images-with-labels-with-rotation.csv",
    "{split}-images-with-rotation.csv",
)


class OpenImagesBoxes:
    """The boxes of Open Images (V4 to V7) as images of one class each.

    `PATH` is a folder as the official files are downloaded to: images in `train`, `validation` and
    `test` (or `train_0` to `train_f`), beside them or in `annotations` the files
    `class-descriptions-boxable.csv` and `train-annotations-bbox.csv` (of V6 and V7
    `oidv6-train-annotations-bbox.csv`), and so on for the other splits that there are.

    - Boxes are shares of the stored image. What is cut out is then turned upright by the column
      `Rotation` of the file of image ids, where there is one and it knows; else by the EXIF
      orientation.
    - Classes are those with a box in the training split, in the order of the file of classes, or
      in that of `classes`.
    - A box does not count, and is counted in `left_out`, whose image was not downloaded, whose
      class is unknown or not chosen, which the options drop, which repeats another row of its
      image, or which has no area. One that reaches beyond the image is cut at its edges, and
      counted as well.

    Args:
        argument: `PATH[?classes=NAME,NAME][&drop=FLAG,FLAG][&min_size=PIXELS]`, see
            `open_images_options.BoxOptions`.

    Attributes:
        left_out: By split, how many boxes were left out or changed, by the reason. A split that was
            not read yet is not in it.

    Raises:
        FileNotFoundError: There is no such folder, or a file is not in it.
        ValueError: An option or a file cannot be read, a class is unknown, or fewer than two
            classes have a box.
    """

    def __init__(self, argument: str) -> None:
        self.path, self._options = parse(argument)
        self.name = f"open-images:boxes:{full_argument(argument)}"
        self.left_out: dict[str, dict[str, int]] = {}
        self._files = _box_files(self.path)
        self.splits = tuple(self._files)
        self._known = files.class_names(_file_of_classes(self.path))
        self._chosen = _chosen(self._known, self._options)
        # All of the known ones until it is known which of them have a box.
        self._labels: Mapping[str, int] = dict.fromkeys(self._chosen, 0)
        present = {box.mid for box, *_ in self._boxes("train")}
        self._labels = {
            mid: label for label, mid in enumerate(mid for mid in self._chosen if mid in present)
        }
        self.classes = tuple(self._known[mid] for mid in self._labels)
        if len(self.classes) < 2:
            raise ValueError(
                "Expected at least 2 classes with a box in a training image. Received: "
                f"{list(self.classes)} of {str(self._files['train'])!r}, where boxes do not count "
                f"as follows: {self.left_out['train']}. Download more images, or choose more "
                "classes."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Every box of a split that counts, in the order of the file's rows."""
        turns = self._turns(split)
        for box, edges, path in self._boxes(split):
            yield Example(
                id=f"{path.relative_to(self.path).as_posix()}:{box.line}",
                label=self._labels[box.mid],
                load=functools.partial(_load, path, edges, turns.get(box.image)),
                group=f"{split}/{box.image}",
            )

    def _boxes(self, split: str) -> Iterator[tuple[files.Box, files.Edges, Path]]:
        """The boxes that count, each with the edges within the image and the image's file."""
        left_out: collections.Counter[str] = collections.Counter()
        find = functools.lru_cache(maxsize=1)(functools.partial(files.find_image, self.path, split))
        # Hashes, as the rows themselves of millions of boxes take gigabytes.
        seen: set[int] = set()
        for box in files.boxes(self._files[split]):
            path = find(box.image)
            if path is None:
                left_out["image not there"] += 1
                continue
            row = hash((box.image, box.mid, box.edges))
            left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in box.edges)
            edges = (left, top, right, bottom)
            reason = self._reason(box, edges, row in seen)
            seen.add(row)
            if reason is None and self._too_small(path, edges):
                reason = f"smaller than {self._options.min_size} pixels"
            if reason is not None:
                left_out[reason] += 1
                continue
            if edges != box.edges:
                left_out["cut at the edges of the image"] += 1
            yield box, edges, path
        self.left_out[split] = dict(sorted(left_out.items()))

    def _reason(self, box: files.Box, edges: files.Edges, repeated: bool) -> str | None:
        """Why a box does not count, as far as its row says."""
        if box.mid not in self._known:
            return f"unknown class {box.mid}"
        if box.mid not in self._labels:
            return "class not chosen" if box.mid not in self._chosen else "class not in training"
        if repeated:
            return "repeated row"
        for name in self._options.drop:
            if DROPPABLE[name] in box.flags:
                return f"dropped: {name}"
        left, top, right, bottom = edges
        return None if left < right and top < bottom else "box without area"

    def _too_small(self, path: Path, edges: files.Edges) -> bool:
        if self._options.min_size == 1:
            return False
        try:
            width, height = _size(path)
        except OSError:
            # Broken: to be told as such when it is loaded.
            return False
        left, top, right, bottom = edges
        size = min((right - left) * width, (bottom - top) * height)
        return size < self._options.min_size

    def _turns(self, split: str) -> dict[str, int]:
        path = files.find_file(self.path, _IDS, split)
        return {} if path is None else files.rotations(path)


def _box_files(folder: Path) -> dict[str, Path]:
    """The file of boxes of each split that there is."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected the folder of an Open Images download. Received: {str(folder)!r}, which is "
            f"{'a file' if folder.exists() else 'not there'}."
        )
    found = {split: files.find_file(folder, _BOXES, split) for split in SPLITS}
    if found["train"] is None:
        raise FileNotFoundError(
            f"Expected 'train-annotations-bbox.csv' or 'oidv6-train-annotations-bbox.csv' in "
            f"{str(folder)!r}, its folder 'annotations' or 'train'. Received: neither. Download it "
            "from https://storage.googleapis.com/openimages/web/download_v7.html"
        )
    return {split: path for split, path in found.items() if path is not None}


def _file_of_classes(folder: Path) -> Path:
    path = files.find_file(folder, _CLASSES)
    if path is None:
        raise FileNotFoundError(
            f"Expected 'class-descriptions-boxable.csv' in {str(folder)!r} or its folder "
            "'annotations'. Received: none. Download it from "
            "https://storage.googleapis.com/openimages/web/download_v7.html"
        )
    return path


def _chosen(known: Mapping[str, str], options: BoxOptions) -> tuple[str, ...]:
    """Machine-readable names of the classes to take, in the order of their labels."""
    if not options.classes:
        return tuple(known)
    mids = {name: mid for mid, name in known.items()} | {mid: mid for mid in known}
    unknown = [name for name in options.classes if name not in mids]
    if unknown:
        require_name("classes", unknown[0], mids)
    return tuple(dict.fromkeys(mids[name] for name in options.classes))


# Boxes of an image follow each other in the files: it is read once for all of them.
@functools.lru_cache(maxsize=1)
def _pixels(path: Path) -> Image.Image:
    try:
        return read_pixels(path.read_bytes())
    except OSError as error:
        raise UnreadableImageError(f"cannot be opened ({error.strerror})") from error


@functools.lru_cache(maxsize=1)
def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _load(path: Path, edges: files.Edges, turn: int | None) -> np.ndarray:
    return cut_out(_pixels(path), edges, turn)
