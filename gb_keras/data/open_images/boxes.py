"""Open Images as a data set of one label an image: what its boxes hold, cut out."""

import collections
import functools
from collections.abc import Iterator, Mapping

from gb_keras.data.open_images.layout import Box, Edges, Photograph, chosen
from gb_keras.data.open_images.open_layout import open_layout
from gb_keras.data.open_images.options import BoxOptions, full_argument, parse
from gb_keras.data.source import Example


class OpenImagesBoxes:
    """The boxes of Open Images (V4 to V7) as images of one class each.

    `PATH` is a folder as the official files are downloaded to, see `Download`, or as TFDS prepares
    `open_images_v4`, see `TfdsLayout`.

    - Boxes are shares of the stored image. What is cut out is then turned upright by the column
      `Rotation` of the file of image ids, where there is one and it knows; else by the EXIF
      orientation.
    - Classes are those with a box in the training split, in the order of the layout's classes,
      or in that of `classes`.
    - A box does not count, and is counted in `left_out`, whose image was not downloaded, whose
      class is unknown or not chosen, which the options drop, which repeats another row of its
      image, or which has no area. One that reaches beyond the image is cut at its edges, and
      counted as well.

    Args:
        argument: `PATH[?classes=NAME,NAME][&drop=FLAG,FLAG][&min_size=PIXELS]`, see
            `options.BoxOptions`.

    Attributes:
        left_out: By split, how many boxes were left out or changed, by the reason. A split that was
            not read yet is not in it.

    Raises:
        FileNotFoundError: There is no such folder, or a file is not in it.
        ValueError: An option or a file cannot be read, a class is unknown, or fewer than two
            classes have a box.
    """

    def __init__(self, argument: str) -> None:
        self.path, self._options = parse(argument, BoxOptions)
        self.name = f"open-images:boxes:{full_argument(argument, BoxOptions)}"
        self.left_out: dict[str, dict[str, int]] = {}
        self._layout = open_layout(self.path, "boxes")
        self.splits = self._layout.splits
        self.is_listed = self._layout.is_listed
        self._known = self._layout.classes
        self._chosen = chosen(self._known, self._options.classes)
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
                f"{list(self.classes)} of {str(self.path)!r}, where boxes do not count as "
                f"follows: {self.left_out['train']}. Download more images, or choose more "
                "classes."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Every box of a split that counts, in the order of the files."""
        for box, edges, photograph in self._boxes(split):
            yield Example(
                id=f"{photograph.name}:{box.number}",
                label=self._labels[box.mid],
                load=functools.partial(photograph.crop, edges),
                group=photograph.name,
            )

    def _boxes(self, split: str) -> Iterator[tuple[Box, Edges, Photograph]]:
        """The boxes that count, each with its edges within the photograph."""
        left_out: collections.Counter[str] = collections.Counter()
        # Hashes, as the rows themselves of millions of boxes take gigabytes.
        seen: set[int] = set()
        for box, photograph in self._layout.boxes(split):
            if photograph is None:
                left_out["image not there"] += 1
                continue
            row = hash((photograph.name, box.mid, box.edges))
            left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in box.edges)
            edges = (left, top, right, bottom)
            reason = self._reason(box, edges, row in seen)
            seen.add(row)
            if reason is None and self._too_small(photograph, edges):
                reason = f"smaller than {self._options.min_size} pixels"
            if reason is not None:
                left_out[reason] += 1
                continue
            if edges != box.edges:
                left_out["cut at the edges of the image"] += 1
            yield box, edges, photograph
        self.left_out[split] = dict(sorted(left_out.items()))

    def _reason(self, box: Box, edges: Edges, repeated: bool) -> str | None:
        """Why a box does not count, as far as its row says."""
        if box.mid not in self._known:
            return f"unknown class {box.mid}"
        if box.mid not in self._labels:
            return "class not chosen" if box.mid not in self._chosen else "class not in training"
        if repeated:
            return "repeated row"
        for name in self._options.drop:
            if name in box.flags:
                return f"dropped: {name}"
        left, top, right, bottom = edges
        return None if left < right and top < bottom else "box without area"

    def _too_small(self, photograph: Photograph, edges: Edges) -> bool:
        # A broken one is to be told as such when it is loaded.
        if self._options.min_size == 1 or photograph.size is None:
            return False
        width, height = photograph.size
        left, top, right, bottom = edges
        size = min((right - left) * width, (bottom - top) * height)
        return size < self._options.min_size
