"""Which example goes into which split under which label, decided before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from gb_keras.data.group_splits import grouped_split
from gb_keras.data.label_sets import LabelSets
from gb_keras.data.multi_label_views import long_tail_of_sets, noisy_label_sets
from gb_keras.data.records import Records
from gb_keras.data.source import SPLITS
from gb_keras.data.splits import stratified_split
from gb_keras.data.ties import connected
from gb_keras.data.views import long_tail_indices, noisy_labels

_TRAIN = SPLITS.index("train")
Labels = np.ndarray | LabelSets


@dataclass(frozen=True)
class Plan:
    """The outcome of `plan_splits`.

    Attributes:
        classes: Names of the classes that are left.
        positions: By split, positions of its examples in the records, int, `(num_examples,)`.
        labels: By split, the class index or the label set to store for each, in the same order.
        dropped: `{"file": id, "reason": text}` for each example left out, because the same
            image is in a split that the source keeps for testing, or its class has too few.
        small_classes: Of each class left out because it has too few, how many different images.
        num_labels_changed: Training labels that label noise has changed.
    """

    classes: tuple[str, ...]
    positions: dict[str, np.ndarray]
    labels: dict[str, Labels]
    dropped: list[dict[str, str]]
    small_classes: dict[str, int]
    num_labels_changed: int


def plan_splits(
    records: Records,
    classes: Sequence[str],
    *,
    long_tail_factor: float,
    label_noise: float,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    min_images: int | None = None,
) -> Plan:
    """Make the splits, then the long tail of the training split, then its label noise.

    A `validation` or `test` split of the source is kept as it is; one that is missing is drawn,
    stratified by class, from the `train` split, as a fraction of it. Identical images are kept in
    one split, and so are those of one group. Where the source itself has an image in two of its
    splits, the copy in `test` stays before one in `validation`, and that before one in `train`.

    Args:
        records: The readable examples.
        classes: Class names.
        long_tail_factor: See `long_tail_counts`, or `long_tail_of_sets` for label sets; the tail
            follows the class index.
        label_noise: See `noisy_labels`, or `noisy_label_sets`.
        validation_fraction: Share of the source's `train` for validation, if it has none.
        test_fraction: Share of the source's `train` for testing, if it has none.
        seed: Seed of all draws. The splits do not depend on the long tail or the noise.
        min_images: Classes with fewer different images in the source's `train` are left out; what
            may not be torn apart counts once. `None` leaves out none.

    Returns:
        The plan.

    Raises:
        ValueError: A class has too few different images for the splits, or fewer than two classes
            are left.
    """
    split_seed, tail_seed, noise_seed = np.random.SeedSequence(seed).generate_state(3).tolist()
    kept, dropped = _without_leaks(records)
    labels, kept, small, gone = _without_small_classes(records, kept, classes, min_images or 0)
    classes = [name for name in classes if name not in small]
    of_split = {name: kept[records.splits[kept] == index] for index, name in enumerate(SPLITS)}
    fractions = {"validation": validation_fraction, "test": test_fraction}
    drawn = {name: share for name, share in fractions.items() if not len(of_split[name])}
    pool = of_split["train"]
    counts = _image_counts(records, labels, pool, len(classes))
    _require_samples(counts, classes, 1 + len(drawn), bool((records.groups[pool] >= 0).any()))
    parts = _parts(records, labels, pool, len(classes), drawn, split_seed)
    for name in drawn:
        of_split[name] = pool[parts[name]]

    train = pool[parts["rest"]]
    tail = _long_tail(labels.take(train), len(classes), long_tail_factor, tail_seed)
    of_split["train"] = train[tail]
    _check_disjoint(records, of_split)
    planned = {name: labels.take(positions) for name, positions in of_split.items()}
    planned["train"], num_changed = _noisy(planned["train"], len(classes), label_noise, noise_seed)
    return Plan(tuple(classes), of_split, planned, dropped + gone, small, num_changed)


def _long_tail(labels: Labels, num_classes: int, factor: float, seed: int) -> np.ndarray:
    if isinstance(labels, LabelSets):
        return long_tail_of_sets(labels, num_classes, factor, seed)
    return long_tail_indices(labels, num_classes, factor, seed)


def _noisy(labels: Labels, num_classes: int, fraction: float, seed: int) -> tuple[Labels, int]:
    if not fraction:
        return labels, 0
    if isinstance(labels, LabelSets):
        sets, num_moved = noisy_label_sets(labels, num_classes, fraction, seed)
        return LabelSets.of(sets), num_moved
    noisy = noisy_labels(labels, num_classes, fraction, seed)
    return noisy, int((noisy != labels).sum())


def _parts(
    records: Records,
    labels: Labels,
    pool: np.ndarray,
    num_classes: int,
    fractions: dict[str, float],
    seed: int,
) -> dict[str, np.ndarray]:
    """Positions in the pool by part, see `stratified_split`."""
    owners, classes = _shown(labels.take(pool), num_classes)
    split = grouped_split if _several(records, labels, pool) else stratified_split
    parts = split(classes, _groups(records, pool)[owners], fractions, seed)
    return {name: np.unique(owners[positions]) for name, positions in parts.items()}


def _several(records: Records, labels: Labels, pool: np.ndarray) -> bool:
    """Whether what must not be torn apart may be of several classes."""
    return isinstance(labels, LabelSets) or bool((records.groups[pool] >= 0).any())


def _shown(labels: Labels, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Position and class of all that is shown; what shows none is of a class of its own."""
    if not isinstance(labels, LabelSets):
        return np.arange(len(labels)), labels
    owners, classes = labels.shown()
    bare = np.setdiff1d(np.arange(len(labels)), owners)
    owners = np.concatenate([owners, bare])
    classes = np.concatenate([classes, np.full(len(bare), num_classes)])
    order = np.argsort(owners, kind="stable")
    return owners[order], classes[order]


def _groups(records: Records, pool: np.ndarray) -> np.ndarray:
    """A number for what must not be torn apart, in the order in which it first appears.

    That is the same picture, the parts of one group, and what both together tie to each other.
    """
    images, groups = records.images[pool], records.groups[pool]
    named = groups >= 0
    if not named.any():
        return images
    first_group = int(images.max()) + 1
    pairs = np.stack([images[named], first_group + groups[named]], axis=1)
    return connected(pairs, first_group + int(groups.max()) + 1)[images]


def _without_leaks(records: Records) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Leave out what another split of the source holds too; `test` stays before the others."""
    keeping = np.zeros(records.images.max(initial=-1) + 1, dtype=records.splits.dtype)
    np.maximum.at(keeping, records.images, records.splits)
    stays = records.splits == keeping[records.images]
    kept, lost = np.flatnonzero(stays), np.flatnonzero(~stays)
    keeper = np.zeros(len(keeping), dtype=np.int64)
    # Of those that are the same the first remains, as it is set last.
    keeper[records.images[kept][::-1]] = kept[::-1]
    others = keeper[records.images[lost]]
    dropped = [
        {"file": name, "reason": f"the same image as {other} of the split {SPLITS[split]}"}
        for name, other, split in zip(
            records.ids(lost), records.ids(others), records.splits[others], strict=True
        )
    ]
    return kept, dropped


def _without_small_classes(
    records: Records, kept: np.ndarray, classes: Sequence[str], least: int
) -> tuple[Labels, np.ndarray, dict[str, int], list[dict[str, str]]]:
    """Leave out classes with too few images, and images of which nothing is left to say.

    Returns:
        Labels by what is left of the classes, positions of the examples that are left, the
        classes that are not with the number of their images, and the examples that are not.
    """
    if not least:
        return records.labels, kept, {}, []
    pool = kept[records.splits[kept] == _TRAIN]
    counts = _image_counts(records, records.labels, pool, len(classes))
    is_small = counts < least
    small = {classes[i]: int(counts[i]) for i in np.flatnonzero(is_small).tolist()}
    if not small:
        return records.labels, kept, small, []
    if len(classes) - len(small) < 2:
        raise ValueError(
            f"Expected at least 2 classes with {least} or more different images to train with. "
            f"Received: {len(classes) - len(small)} of {len(classes)}. Lower min_images "
            "(--min-images), or add images."
        )
    new = np.where(is_small, -1, np.cumsum(~is_small) - 1)
    few = f"fewer than {least} different images"
    labels: Labels
    if isinstance(records.labels, LabelSets):
        labels = records.labels.relabelled(new)
        stays = labels.known()[kept]
        reason = f"nothing is known of it but of classes with {few}"
    else:
        labels = new[records.labels]
        stays = labels[kept] >= 0
        reason = f"its class has {few}"
    gone = [{"file": name, "reason": reason} for name in records.ids(kept[~stays])]
    return labels, kept[stays], small, gone


def _image_counts(
    records: Records, labels: Labels, pool: np.ndarray, num_classes: int
) -> np.ndarray:
    """How many images of its own each class has, to be given to one split or another."""
    if _several(records, labels, pool):
        owners, classes = _shown(labels.take(pool), num_classes)
        pairs = np.unique(np.stack([_groups(records, pool)[owners], classes]), axis=1)
        return np.bincount(pairs[1], minlength=num_classes)[:num_classes]
    _, first = np.unique(records.images[pool], return_index=True)
    return np.bincount(cast(np.ndarray, labels)[pool][first], minlength=num_classes)


def _require_samples(
    counts: np.ndarray, classes: Sequence[str], num_parts: int, grouped: bool
) -> None:
    """Every class needs one image of its own for each split that is drawn from the pool."""
    too_few = {classes[i]: int(n) for i, n in enumerate(counts) if n < num_parts}
    if not too_few:
        return
    expected = f"at least {num_parts} different images of every class"
    remedy = "Add images to these classes"
    if grouped:
        expected = f"images of every class in at least {num_parts} groups"
        remedy = (
            "All of a group, such as what is cut from one photo, stays in one split: add images of "
            "other groups"
        )
    raise ValueError(
        f"Expected {expected}, one for each split that is made of the source's training images. "
        f"Received: {too_few}. {remedy}, or leave such classes out by min_images={num_parts} "
        f"(--min-images {num_parts})."
    )


def _check_disjoint(records: Records, of_split: dict[str, np.ndarray]) -> None:
    """The promise that no image is in two splits, checked once more before it is written down."""
    held = [np.unique(records.images[positions]) for positions in of_split.values()]
    if len(np.unique(np.concatenate(held))) != sum(map(len, held)):
        raise AssertionError("An image is in two splits: please report this as a bug.")
