"""Long-tail and label-noise views of a label array: pure NumPy, a function of the seed."""

import numpy as np


def long_tail_counts(class_counts: np.ndarray, factor: float) -> np.ndarray:
    """How many samples of each class an exponential long tail keeps.

    With `C` classes in the order of their index and `n_max` the largest count, class `c` keeps

        n_c = max(1, floor(n_max * factor ** (-c / (C - 1))))

    samples, and never more than it has: class 0 stays whole, the last class keeps one in
    `factor` of the largest.

    Args:
        class_counts: Samples per class, int, shape `(num_classes,)`.
        factor: Largest over smallest class, at least 1. 1 changes nothing.

    Returns:
        Samples to keep per class, int64, shape `(num_classes,)`.

    Raises:
        ValueError: `factor` is below 1 or not finite.

    Example:
        The training set of CIFAR-10-LT:

        >>> long_tail_counts([5000] * 10, factor=100).tolist()
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

    Reference:
        Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of
        Samples", CVPR 2019, section 5.1.
    """
    if not (np.isfinite(factor) and factor >= 1):
        raise ValueError(
            f"Expected a long-tail factor of at least 1 (1: no long tail). Received: {factor}."
        )
    counts = np.asarray(class_counts, dtype=np.int64)
    if len(counts) < 2:
        return counts.copy()
    exponent = -np.arange(len(counts)) / (len(counts) - 1)
    # The small addition keeps floor() from falling below results that are whole numbers.
    wanted = np.floor(counts.max() * float(factor) ** exponent + 1e-6).astype(np.int64)
    return np.minimum(counts, np.maximum(wanted, 1))


def long_tail_indices(labels: np.ndarray, num_classes: int, factor: float, seed: int) -> np.ndarray:
    """Which samples an exponential long tail keeps (see `long_tail_counts`), drawn at random.

    Args:
        labels: Class indices, int, shape `(num_samples,)`.
        num_classes: Number of classes.
        factor: Largest over smallest class, at least 1.
        seed: Seed of the draw.

    Returns:
        Ascending positions in `labels`, int64.

    Example:
        >>> labels = np.repeat([0, 1, 2], 100)
        >>> kept = long_tail_indices(labels, num_classes=3, factor=100, seed=0)
        >>> np.bincount(labels[kept]).tolist()
        [100, 10, 1]
    """
    labels = np.asarray(labels)
    kept_counts = long_tail_counts(np.bincount(labels, minlength=num_classes), factor)
    return drawn_indices(labels, kept_counts, np.random.default_rng(seed))


def drawn_indices(
    labels: np.ndarray, counts: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Samples of each class, drawn at random.

    Args:
        labels: Class indices, int, shape `(num_samples,)`.
        counts: How many of each class, or all that it has where those are fewer.
        generator: Source of the draw.

    Returns:
        Ascending positions in `labels`, int64.

    Example:
        >>> labels = np.array([0, 0, 0, 1])
        >>> labels[drawn_indices(labels, [2, 2], np.random.default_rng(0))].tolist()
        [0, 0, 1]
    """
    drawn = [
        generator.permutation(np.flatnonzero(labels == index))[:count]
        for index, count in enumerate(counts)
    ]
    return np.sort(np.concatenate(drawn))


def noisy_labels(labels: np.ndarray, num_classes: int, fraction: float, seed: int) -> np.ndarray:
    """Symmetric label noise: a fraction of the labels changed to another class, uniformly.

    Exactly `round(fraction * num_samples)` labels change, each to one of the `num_classes - 1`
    other classes with equal chance.

    Args:
        labels: Class indices, int, shape `(num_samples,)`; left as they are.
        num_classes: Number of classes, at least 2 if `fraction` is above 0.
        fraction: Share of labels to change, in [0, 1).
        seed: Seed of the draw.

    Returns:
        The noisy labels, int64, shape `(num_samples,)`.

    Raises:
        ValueError: `fraction` is outside [0, 1).

    Example:
        >>> labels = np.zeros(10, int)
        >>> int((noisy_labels(labels, num_classes=4, fraction=0.3, seed=0) != labels).sum())
        3
    """
    require_noise_fraction(fraction)
    noisy = np.array(labels, dtype=np.int64)
    num_changed = round(fraction * len(noisy))
    generator = np.random.default_rng(seed)
    changed = generator.permutation(len(noisy))[:num_changed]
    # A shift by 1 to C - 1 steps around the circle of classes reaches every other class once.
    shift = generator.integers(1, num_classes, size=num_changed)
    noisy[changed] = (noisy[changed] + shift) % num_classes
    return noisy


def require_noise_fraction(fraction: float) -> None:
    """Refuse what is no share of labels to change.

    Raises:
        ValueError: `fraction` is outside [0, 1).

    Example:
        >>> require_noise_fraction(1.5)
        Traceback (most recent call last):
        ...
        ValueError: Expected a label-noise fraction in [0, 1). Received: 1.5.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"Expected a label-noise fraction in [0, 1). Received: {fraction}.")
