"""Open Images as a multi-label data set: which classes people have seen on whole images."""

import collections
import functools
from collections.abc import Iterator, Mapping

import numpy as np

from gb_keras.data.label_set import LabelSet
from gb_keras.data.open_images.hierarchy import Hierarchy
from gb_keras.data.open_images.layout import Answers, Photograph, chosen
from gb_keras.data.open_images.open_layout import open_layout
from gb_keras.data.open_images.options import TRAINABLE, LabelOptions, full_argument, parse
from gb_keras.data.source import Example

_WHOLE = (0.0, 0.0, 1.0, 1.0)


class OpenImagesLabels:
    """Open Images (V4 to V7) as images of any number of classes.

    `PATH` is as for `OpenImagesBoxes`, with the files of the labels that people have verified.

    - A class is present where someone has confirmed it (confidence 1), absent where someone has
      denied it (0), and unknown everywhere else. What only a machine says does not count.
    - With `hierarchy`, what follows from these answers is known too, see `Hierarchy`.
    - Classes are those that `min_images` training images show, in the order of the layout's
      classes, or in that of `classes`.
    - An answer does not count, and is counted in `left_out`, whose image was not downloaded, whose
      class is unknown or not taken, which repeats another one of its image, or which another one
      contradicts. So does an image of which then nothing is known.

    Args:
        argument: `PATH[?classes=NAME,NAME|trainable][&hierarchy=FILE][&min_images=N]`, see
            `options.LabelOptions`.

    Attributes:
        left_out: By split, how many answers and images were left out, by the reason. A split that
            was not read yet is not in it.

    Raises:
        FileNotFoundError: There is no such folder, or a file is not in it.
        ValueError: An option or a file cannot be read, a class is unknown, or fewer than two
            classes have enough images.
    """

    multi_label = True

    def __init__(self, argument: str) -> None:
        self.path, options = parse(argument, LabelOptions)
        self.name = f"open-images:labels:{full_argument(argument, LabelOptions)}"
        self.left_out: dict[str, dict[str, int]] = {}
        self._layout = open_layout(self.path, "labels")
        self.splits = self._layout.splits
        self.is_listed = self._layout.is_listed
        self._known = self._layout.classes
        self._hierarchy = Hierarchy(self.path / options.hierarchy) if options.hierarchy else None
        names = options.classes
        in_order = chosen(
            self._known,
            [mid for mid in self._layout.trainable() if mid in self._known]
            if names == (TRAINABLE,)
            else names,
        )
        # Tens of millions of answers are looked up in it.
        self._chosen = frozenset(in_order)
        # All of the chosen ones until it is known how many images show them.
        self._labels: Mapping[str, int] = {mid: i for i, mid in enumerate(in_order)}
        counts = np.zeros(len(in_order), dtype=np.int64)
        for _, label in self._images("train"):
            counts[list(label.present)] += 1
        taken = [mid for mid, n in zip(in_order, counts, strict=True) if n >= options.min_images]
        self._labels = {mid: label for label, mid in enumerate(taken)}
        self.classes = tuple(self._known[mid] for mid in taken)
        if len(taken) < 2:
            raise ValueError(
                f"Expected at least 2 classes that {options.min_images} or more training images "
                f"show. Received: {list(self.classes)} of {str(self.path)!r}, where answers do not "
                f"count as follows: {self.left_out['train']}. Download more images, or choose more "
                "classes."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Every image of a split of which something is known, in the order of the files."""
        for photograph, label in self._images(split):
            load = functools.partial(photograph.crop, _WHOLE)
            yield Example(photograph.name, label, load)

    def _images(self, split: str) -> Iterator[tuple[Photograph, LabelSet]]:
        left_out: collections.Counter[str] = collections.Counter()
        for photograph, answers in self._layout.labels(split):
            if photograph is None:
                left_out["image not there"] += 1
                continue
            known = self._known_of(answers, left_out)
            if self._hierarchy is not None:
                known = self._hierarchy.completed(known)
            of_state: dict[bool, list[int]] = {True: [], False: []}
            for mid, shown in known.items():
                if mid in self._labels:
                    of_state[shown].append(self._labels[mid])
            if not (of_state[True] or of_state[False]):
                left_out["image without a known label"] += 1
                continue
            present, absent = (tuple(sorted(of_state[shown])) for shown in (True, False))
            yield photograph, LabelSet(present, absent)
        self.left_out[split] = dict(sorted(left_out.items()))

    def _known_of(self, answers: Answers, left_out: "collections.Counter[str]") -> dict[str, bool]:
        """What people have said of an image, by class."""
        said: dict[str, set[bool]] = {}
        for mid, shown in answers:
            if shown is None:
                left_out["said by a machine"] += 1
            elif mid not in self._known:
                left_out[f"unknown class {mid}"] += 1
            elif shown in said.setdefault(mid, set()):
                left_out["repeated row"] += 1
            else:
                said[mid].add(shown)
                if mid not in self._labels:
                    taken = "class not taken" if mid in self._chosen else "class not chosen"
                    left_out[taken] += 1
        contradicted = [mid for mid, both in said.items() if len(both) > 1]
        if contradicted:
            left_out["contradicted"] += 2 * len(contradicted)
        return {mid: both.pop() for mid, both in said.items() if mid not in contradicted}
