"""Splits of groups of samples that are of several classes."""

import numpy as np


def grouped_split(
    labels: np.ndarray, groups: np.ndarray, fractions: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Split samples so that each part has its share of every class, never tearing a group apart.

    Iterative stratification: the class with the fewest samples left to give away comes first, and
    each of its groups goes, with all that it holds, to the part that still lacks most of that
    class; of equals to the one that lacks most in all. Every part lacks at least one sample of
    each class, and the last groups of a class are kept for the parts that have none of it yet.
    Shares are met as well as groups allow.

    Args:
        labels: Class indices, int, shape `(num_samples,)`.
        groups: Group of each sample, int, shape `(num_samples,)`.
        fractions: Share of the samples by the name of the part, each in (0, 1), below 1 in sum.
        seed: Seed of the draw.

    Returns:
        Ascending positions by part, and what is left under the name `"rest"`.

    Example:
        Four photographs, each with a crop of class 0 and one of class 1:

        >>> labels, groups = np.tile([0, 1], 4), np.repeat(np.arange(4), 2)
        >>> parts = grouped_split(labels, groups, {"test": 0.25}, seed=0)
        >>> len(parts["test"]), sorted(labels[parts["test"]].tolist())
        (2, [0, 1])

    Reference:
        Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011,
        algorithm 1.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    _, group_of_sample = np.unique(groups, return_inverse=True)
    num_classes = int(labels.max(initial=-1)) + 1
    num_groups = int(group_of_sample.max(initial=-1)) + 1
    # Classes of a group's samples, and groups of a class in the order of the draw, as slices.
    order = np.argsort(group_of_sample, kind="stable")
    starts = np.searchsorted(group_of_sample[order], np.arange(num_groups + 1))
    held = labels[order]
    drawn = np.random.default_rng(seed).permutation(num_groups)
    rank = np.empty(num_groups, dtype=np.int64)
    rank[drawn] = np.arange(num_groups)
    pairs = np.unique(np.stack([labels, rank[group_of_sample]]), axis=1)
    members = drawn[pairs[1]]
    starts_of_members = np.searchsorted(pairs[0], np.arange(num_classes + 1))

    left = np.bincount(labels, minlength=num_classes)
    shares = np.array([*fractions.values(), 1 - sum(fractions.values())])
    # What a part still lacks of each class, and in all; the last part is what the others leave.
    lacking = np.where(left, np.maximum(shares[:-1, None] * left, 1.0), 0.0)
    lacking = np.vstack([lacking, left - lacking.sum(axis=0)])
    lacking_in_all = shares * len(labels)
    parts = range(len(shares))
    held_by_part = np.zeros(lacking.shape, dtype=np.int64)
    part_of_group = np.full(num_groups, -1)
    while left.any():
        label = int(np.where(left > 0, left, np.iinfo(np.int64).max).argmin())
        waiting = members[starts_of_members[label] : starts_of_members[label + 1]]
        waiting = waiting[part_of_group[waiting] < 0]
        for position, group in enumerate(waiting):
            without = [part for part in parts if not held_by_part[part, label]]
            # The last groups are for the parts that have none of this class yet.
            reserved = len(without) > 0 and len(waiting) - position <= len(without)
            part = max(
                without if reserved else parts,
                key=lambda part: (lacking[part, label], lacking_in_all[part]),
            )
            part_of_group[group] = part
            classes = held[starts[group] : starts[group + 1]]
            counts = np.bincount(classes, minlength=num_classes)
            left -= counts
            lacking[part] -= counts
            held_by_part[part] += counts
            lacking_in_all[part] -= len(classes)
    part_of_sample = part_of_group[group_of_sample]
    names = [*fractions, "rest"]
    return {name: np.flatnonzero(part_of_sample == part) for part, name in enumerate(names)}
