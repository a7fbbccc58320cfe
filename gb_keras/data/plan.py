"""Which example goes into which split under which label, decided before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gb_keras.data.group_splits import grouped_split
from gb_keras.data.label_set import LabelSet, shown
from gb_keras.data.multi_label_views import long_tail_of_sets, noisy_label_sets
from gb_keras.data.scan import Record
from gb_keras.data.source import SPLITS
from gb_keras.data.splits import stratified_split
from gb_keras.data.ties import connected
from gb_keras.data.views import long_tail_indices, noisy_labels


@dataclass(frozen=True)
class Plan:
    """The outcome of `plan_splits`.

    Attributes:
        labels: By split, the label (or label set) to store for each example, by example id.
        dropped: `{"file": id, "reason": text}` for each example left out because the same
            image is in a split that the source keeps for testing.
        num_labels_changed: Training labels that label noise has changed.
    """

    labels: dict[str, dict[str, int | LabelSet]]
    dropped: list[dict[str, str]]
    num_labels_changed: int


def plan_splits(
    records: Sequence[Record],
    classes: Sequence[str],
    *,
    long_tail_factor: float,
    label_noise: float,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
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

    Returns:
        The plan.

    Raises:
        ValueError: A class has too few different images for the splits.
    """
    split_seed, tail_seed, noise_seed = np.random.SeedSequence(seed).generate_state(3).tolist()
    kept, dropped = _without_leaks(records)
    of_split = {name: [record for record in kept if record.split == name] for name in SPLITS}
    fractions = {"validation": validation_fraction, "test": test_fraction}
    drawn = {name: share for name, share in fractions.items() if not of_split[name]}
    pool = of_split["train"]
    _require_samples(pool, classes, num_parts=1 + len(drawn))
    parts = _parts(pool, len(classes), drawn, split_seed)
    for name in drawn:
        of_split[name] = [pool[index] for index in parts[name]]

    train = [pool[index] for index in parts["rest"]]
    long_tail = long_tail_of_sets if _has_sets(records) else long_tail_indices
    tail = long_tail(_labels(train), len(classes), long_tail_factor, tail_seed)
    of_split["train"] = train = [train[index] for index in tail]
    noisy, num_changed = _noisy(_labels(train), len(classes), label_noise, noise_seed)
    _check_disjoint(of_split)
    planned = {name: {record.id: record.label for record in of_split[name]} for name in SPLITS}
    planned["train"] = dict(zip(planned["train"], noisy, strict=True))
    return Plan(planned, dropped, num_changed)


def _has_sets(records: Sequence[Record]) -> bool:
    return any(isinstance(record.label, LabelSet) for record in records)


def _labels(records: Sequence[Record]) -> Any:
    """Class indices as an array, or label sets as a list."""
    labels = [record.label for record in records]
    return labels if _has_sets(records) else np.array(labels, dtype=np.int64)


def _noisy(labels: Any, num_classes: int, fraction: float, seed: int) -> tuple[list, int]:
    if isinstance(labels, list):
        return noisy_label_sets(labels, num_classes, fraction, seed)
    noisy = noisy_labels(labels, num_classes, fraction, seed)
    return noisy.tolist(), int((noisy != labels).sum())


def _parts(
    pool: Sequence[Record], num_classes: int, fractions: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Positions in the pool by part, see `stratified_split`."""
    owners, labels = _shown(pool, num_classes)
    several = _has_sets(pool) or any(record.group for record in pool)
    split = grouped_split if several else stratified_split
    parts = split(labels, _groups(pool)[owners], fractions, seed)
    return {name: np.unique(owners[positions]) for name, positions in parts.items()}


def _shown(records: Sequence[Record], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Position and class of all that records show; one that shows none is of a class of its own."""
    pairs = [
        (position, index)
        for position, record in enumerate(records)
        for index in shown(record.label) or (num_classes,)
    ]
    owners, labels = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return owners, labels


def _groups(records: Sequence[Record]) -> np.ndarray:
    """A number for what must not be torn apart, in the order in which it first appears.

    That is the same picture, the parts of one group, and what both together tie to each other.
    """
    numbers: dict[bytes | str, int] = {}
    prints = [numbers.setdefault(record.fingerprint, len(numbers)) for record in records]
    named = [
        (of_print, numbers.setdefault(record.group, len(numbers)))
        for of_print, record in zip(prints, records, strict=True)
        if record.group is not None
    ]
    if not named:
        return np.array(prints, dtype=int)
    return connected(named, len(numbers))[prints]


def _without_leaks(records: Sequence[Record]) -> tuple[list[Record], list[dict[str, str]]]:
    """Leave out what another split of the source holds too; `test` stays before the others."""
    keeper: dict[bytes, Record] = {}
    for split in reversed(SPLITS):
        for record in records:
            if record.split == split:
                keeper.setdefault(record.fingerprint, record)
    kept, dropped = [], []
    for record in records:
        other = keeper[record.fingerprint]
        if other.split == record.split:
            kept.append(record)
        else:
            reason = f"the same image as {other.id} of the split {other.split}"
            dropped.append({"file": record.id, "reason": reason})
    return kept, dropped


def _require_samples(pool: Sequence[Record], classes: Sequence[str], num_parts: int) -> None:
    """Every class needs one image of its own for each split that is drawn from the pool."""
    if _has_sets(pool) or any(record.group for record in pool):
        owners, labels = _shown(pool, len(classes))
        pairs = np.unique(np.stack([_groups(pool)[owners], labels]), axis=1)
        counts = np.bincount(pairs[1], minlength=len(classes))[: len(classes)]
    else:
        owner: dict[bytes, int] = {}
        for record in pool:
            owner.setdefault(record.fingerprint, cast(int, record.label))
        counts = np.bincount(list(owner.values()), minlength=len(classes))
    too_few = {classes[i]: int(n) for i, n in enumerate(counts) if n < num_parts}
    if too_few:
        raise ValueError(
            f"Expected at least {num_parts} different images of every class, one for each split "
            f"that is made of the source's training images. Received: {too_few}. "
            "Add images to these classes, or remove the classes."
        )


def _check_disjoint(of_split: dict[str, list[Record]]) -> None:
    """The promise that no image is in two splits, checked once more before it is written down."""
    prints = [{record.fingerprint for record in records} for records in of_split.values()]
    if len(set().union(*prints)) != sum(map(len, prints)):
        raise AssertionError("An image is in two splits: please report this as a bug.")
