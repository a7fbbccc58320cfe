"""Which example goes into which split under which label, decided before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse.csgraph

from gb_keras.data.group_splits import grouped_split
from gb_keras.data.scan import Record
from gb_keras.data.source import SPLITS
from gb_keras.data.splits import stratified_split
from gb_keras.data.views import long_tail_indices, noisy_labels


@dataclass(frozen=True)
class Plan:
    """The outcome of `plan_splits`.

    Attributes:
        labels: By split, the label to store for each example, by example id.
        dropped: `{"file": id, "reason": text}` for each example left out because the same
            image is in a split that the source keeps for testing.
        num_labels_changed: Training labels that label noise has changed.
    """

    labels: dict[str, dict[str, int]]
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
        long_tail_factor: See `long_tail_counts`; the tail follows the class index.
        label_noise: See `noisy_labels`.
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
    split = grouped_split if any(record.group for record in pool) else stratified_split
    parts = split(_labels(pool), _groups(pool), drawn, split_seed)
    for name in drawn:
        of_split[name] = [pool[index] for index in parts[name]]

    train = [pool[index] for index in parts["rest"]]
    tail = long_tail_indices(_labels(train), len(classes), long_tail_factor, tail_seed)
    of_split["train"] = train = [train[index] for index in tail]
    noisy = noisy_labels(_labels(train), len(classes), label_noise, noise_seed)
    _check_disjoint(of_split)
    planned = {name: {record.id: record.label for record in of_split[name]} for name in SPLITS}
    planned["train"] = dict(zip(planned["train"], noisy.tolist(), strict=True))
    return Plan(planned, dropped, int((noisy != _labels(train)).sum()))


def _labels(records: Sequence[Record]) -> np.ndarray:
    return np.array([record.label for record in records], dtype=np.int64)


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
    ones = np.ones(len(named), dtype=np.int8)
    ties = scipy.sparse.coo_array((ones, tuple(zip(*named, strict=True))), [len(numbers)] * 2)
    _, component = scipy.sparse.csgraph.connected_components(ties, directed=False)
    return component[prints]


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
    if any(record.group for record in pool):
        counts = np.zeros(len(classes), dtype=int)
        labels, groups = _labels(pool), _groups(pool)
        np.add.at(counts, np.unique(np.stack([groups, labels]), axis=1)[1], 1)
    else:
        owner: dict[bytes, int] = {}
        for record in pool:
            owner.setdefault(record.fingerprint, record.label)
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
