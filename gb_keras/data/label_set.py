"""The labels of one image of a multi-label data set."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

# How features of a prepared data set are called: what an image shows and, where some labels are
# unknown, what it is known not to show.
PRESENT = "labels"
ABSENT = "absent_labels"


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


def shown(label: int | LabelSet) -> tuple[int, ...]:
    """Indices of the classes that an image shows.

    Example:
        >>> shown(3), shown(LabelSet((0, 2)))
        ((3,), (0, 2))
    """
    return label.present if isinstance(label, LabelSet) else (label,)


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
    present = np.fromiter((i for label in labels for i in shown(label)), dtype=np.int64)
    return np.bincount(present, minlength=num_classes)


def absence_counts(labels: Iterable[LabelSet], num_classes: int) -> np.ndarray:
    """Of how many images it is known that they do not show each class, int64, `(num_classes,)`.

    Example:
        >>> absence_counts([LabelSet((0,)), LabelSet((1,))], 3).tolist()
        [1, 1, 2]
        >>> absence_counts([LabelSet((0,), absent=(1,))], 3).tolist()
        [0, 1, 0]
    """
    counts = np.zeros(num_classes, dtype=np.int64)
    num_complete = 0
    for label in labels:
        if label.absent is None:
            num_complete += 1
            counts[list(label.present)] -= 1
        else:
            counts[list(label.absent)] += 1
    return counts + num_complete


def split_counts(
    labels: Collection[int | LabelSet], num_classes: int, multi_label: bool
) -> dict[str, Any]:
    """What is told of a split: `num_examples`, `class_counts`, of label sets `absent_counts`.

    Args:
        labels: Labels of the split's images, or their label sets.
        num_classes: Number of classes.
        multi_label: Whether they are label sets.

    Example:
        >>> split_counts([0, 1, 1], 2, multi_label=False)
        {'num_examples': 3, 'class_counts': [1, 2]}
    """
    counts: dict[str, Any] = {
        "num_examples": len(labels),
        "class_counts": presence_counts(labels, num_classes).tolist(),
    }
    if multi_label:
        sets = cast("Collection[LabelSet]", labels)
        counts["absent_counts"] = absence_counts(sets, num_classes).tolist()
    return counts
