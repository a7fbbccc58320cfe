"""Long-tail and label-noise views of multi-label data: pure NumPy, a function of the seed."""

from collections.abc import Sequence

import numpy as np

from gb_keras.data.label_set import LabelSet, presence_counts
from gb_keras.data.views import long_tail_counts, require_noise_fraction


def long_tail_of_sets(
    labels: Sequence[LabelSet], num_classes: int, factor: float, seed: int
) -> np.ndarray:
    """Which images leave of each class what `long_tail_counts` says, as well as images allow.

    An image counts for each class that it shows. Classes are filled from the rarest on with images
    at random, leaving out those that show a class which is full already; so no class has more than
    it should, unless it were the only way to have another class at all, and frequent classes may
    have fewer. Images that show no class stay.

    Args:
        labels: Label sets of the images.
        num_classes: Number of classes.
        factor: Largest over smallest class, at least 1. 1 changes nothing.
        seed: Seed of the draw.

    Returns:
        Ascending positions in `labels`, int64.

    Example:
        >>> labels = [LabelSet((0,))] * 100 + [LabelSet((1,))] * 100 + [LabelSet((0, 1))] * 5
        >>> kept = long_tail_of_sets(labels, num_classes=2, factor=10, seed=0)
        >>> int(presence_counts([labels[i] for i in kept], 2)[1])
        10
    """
    if factor == 1:
        return np.arange(len(labels))
    wanted = long_tail_counts(presence_counts(labels, num_classes), factor)
    members: list[list[int]] = [[] for _ in range(num_classes)]
    for image in np.random.default_rng(seed).permutation(len(labels)):
        for index in labels[image].present:
            members[index].append(int(image))
    kept = np.array([not label.present for label in labels], dtype=bool)
    held = np.zeros(num_classes, dtype=np.int64)
    for index in np.argsort(wanted, kind="stable"):
        for image in members[index]:
            if held[index] >= wanted[index]:
                break
            shown = list(labels[image].present)
            if not kept[image] and (held[shown] < wanted[shown]).all():
                kept[image] = True
                held[shown] += 1
        if not held[index] and members[index]:
            image = members[index][0]
            kept[image] = True
            held[list(labels[image].present)] += 1
    return np.flatnonzero(kept)


def noisy_label_sets(
    labels: Sequence[LabelSet], num_classes: int, fraction: float, seed: int
) -> tuple[list[LabelSet], int]:
    """Symmetric label noise: a fraction of the present labels moved to classes that are absent.

    `round(fraction * num_present)` labels move, each to one of the classes that its image is known
    not to show, with equal chance: as many labels as before, and with one label an image the same
    as `noisy_labels`. A label whose image has no absent class left stays.

    Args:
        labels: Label sets of the images; left as they are.
        num_classes: Number of classes.
        fraction: Share of the present labels to move, in [0, 1).
        seed: Seed of the draw.

    Returns:
        The noisy label sets, and how many labels have moved.

    Raises:
        ValueError: `fraction` is outside [0, 1).

    Example:
        >>> noisy, moved = noisy_label_sets([LabelSet((0, 1))] * 10, 9, fraction=0.25, seed=0)
        >>> moved, sum(len(label.present) for label in noisy)
        (5, 20)
    """
    require_noise_fraction(fraction)
    generator = np.random.default_rng(seed)
    places = [(image, index) for image, label in enumerate(labels) for index in label.present]
    drawn = generator.permutation(len(places))[: round(fraction * len(places))]
    moving: dict[int, list[int]] = {}
    for place in np.sort(drawn):
        image, index = places[place]
        moving.setdefault(image, []).append(index)
    noisy = list(labels)
    num_moved = 0
    for image, gone in moving.items():
        label = labels[image]
        if label.absent is None:
            absent = np.setdiff1d(np.arange(num_classes), label.present)
        else:
            absent = np.array(label.absent, dtype=np.int64)
        new = generator.permutation(absent)[: len(gone)].tolist()
        gone = gone[: len(new)]
        num_moved += len(new)
        noisy[image] = LabelSet(
            present=tuple(sorted({*label.present, *new} - set(gone))),
            absent=(
                None if label.absent is None else tuple(sorted({*label.absent, *gone} - set(new)))
            ),
        )
    return noisy, num_moved
