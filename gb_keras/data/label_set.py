"""The labels of one image of a multi-label data set."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelSet:
    """Which classes an image shows, which it does not, and by that which nobody has looked for.

    Attributes:
        present: Class indices, ascending.
        absent: Class indices, ascending, where all that are in neither are unknown; None where
            nothing is unknown and all that are not present are absent.

    Example:
        >>> LabelSet((0, 2), absent=(1,))
        LabelSet(present=(0, 2), absent=(1,))
    """

    present: tuple[int, ...]
    absent: tuple[int, ...] | None = None


def presence_counts(labels: Iterable[int | LabelSet], num_classes: int) -> np.ndarray:
    """How many images show each class, int64, `(num_classes,)`.

    Args:
        labels: Of each image, its class or its label set.
        num_classes: Number of classes.

    Example:
        >>> presence_counts([LabelSet((0, 2)), LabelSet((2,))], 3).tolist()
        [1, 0, 2]
        >>> presence_counts([0, 2, 2], 3).tolist()
        [1, 0, 2]
    """
    present = [
        index
        for label in labels
        for index in (label.present if isinstance(label, LabelSet) else (label,))
    ]
    return np.bincount(np.array(present, dtype=np.int64), minlength=num_classes)


def absence_counts(labels: Iterable[LabelSet], num_classes: int) -> np.ndarray:
    """Of how many images it is known that they do not show each class, int64, `(num_classes,)`.

    Example:
        >>> absence_counts([LabelSet((0,)), LabelSet((1,))], 3).tolist()
        [1, 1, 2]
        >>> absence_counts([LabelSet((0,), absent=(1,))], 3).tolist()
        [0, 1, 0]
    """
    labels = list(labels)
    complete = [label for label in labels if label.absent is None]
    listed = [index for label in labels for index in label.absent or ()]
    return (
        np.bincount(np.array(listed, dtype=np.int64), minlength=num_classes)
        + len(complete)
        - presence_counts(complete, num_classes)
    )
