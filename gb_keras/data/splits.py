"""Stratified splits that keep identical samples together."""

import numpy as np


def stratified_split(
    labels: np.ndarray, groups: np.ndarray, fractions: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Split samples class by class, never tearing a group apart.

    Samples of one group are the same picture, so they must not meet on both sides of a split.
    A group that spans several classes (the same picture under two labels) goes with the class of
    its first sample. Of every class each named part gets `fraction * count` samples, rounded, at
    least one; a group that would exceed this is left to the rest.

    Args:
        labels: Class indices, int, shape `(num_samples,)`.
        groups: Group of each sample, int, shape `(num_samples,)`.
        fractions: Share of the samples by the name of the part, each in (0, 1), below 1 in sum.
        seed: Seed of the draw.

    Returns:
        Ascending positions by part, and what is left under the name `"rest"`.

    Raises:
        ValueError: A class has too few distinct samples to put one into every part.

    Example:
        >>> labels = np.repeat([0, 1], 10)
        >>> parts = stratified_split(labels, np.arange(20), {"test": 0.2}, seed=0)
        >>> np.bincount(labels[parts["test"]]).tolist(), len(parts["rest"])
        ([2, 2], 16)
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    generator = np.random.default_rng(seed)
    _, first, group_of_sample = np.unique(groups, return_index=True, return_inverse=True)
    sizes = np.bincount(group_of_sample)
    group_labels = labels[first]
    rest = len(fractions)
    part_of_group = np.full(len(sizes), rest)
    too_few = {}
    for label in range(int(labels.max(initial=-1)) + 1):
        members = generator.permutation(np.flatnonzero(group_labels == label))
        if len(members) <= len(fractions):
            too_few[label] = len(members)
            continue
        for part, fraction in enumerate(fractions.values()):
            free = members[part_of_group[members] == rest]
            wanted = max(1, round(fraction * int(sizes[members].sum())))
            # The parts still to come, and the rest, need a group each.
            taken = _take(free, sizes, wanted, most=len(free) - (rest - part))
            part_of_group[taken] = part
    if too_few:
        raise ValueError(
            f"Expected at least {len(fractions) + 1} different samples of every class, one for "
            f"each part. Received by class index: {too_few}."
        )
    part_of_sample = part_of_group[group_of_sample]
    names = [*fractions, "rest"]
    return {name: np.flatnonzero(part_of_sample == part) for part, name in enumerate(names)}


def _take(groups: np.ndarray, sizes: np.ndarray, wanted: int, most: int) -> list[int]:
    """The first groups that together hold no more than `wanted` samples; at least one group."""
    taken: list[int] = []
    total = 0
    for group in groups:
        if len(taken) < most and total + sizes[group] <= wanted:
            taken.append(group)
            total += sizes[group]
    return taken or [groups[np.argmin(sizes[groups])]]
