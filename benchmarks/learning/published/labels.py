"""What the protocols do to the labels of a balanced, clean training split.

Each function takes the labels, `(num_images,)`, and returns those to train on; -1 leaves an image
out.
"""

import numpy as np

from gb_keras.data.views import long_tail_indices, noisy_labels

LEFT_OUT = -1

# Class c is mistaken for TARGET[c]: truck for automobile, bird for airplane, deer for horse, cat
# and dog for each other. Patrini et al. 2017, arXiv 1609.03683, section 5 and `noise.py` of their
# program, github.com/giorgiop/loss-correction.
CIFAR10_MISTAKES = (0, 1, 0, 5, 7, 3, 6, 7, 8, 1)

# Super-class of each of the classes of CIFAR-100, both in the alphabetical order of their names.
CIFAR100_SUPER_CLASSES = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
    *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
    *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
    *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
    *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)


def long_tail(labels: np.ndarray, num_classes: int, seed: int, factor: float) -> np.ndarray:
    """Keep an exponential long tail: int(n_max * factor ** (-c / (C - 1))) images of class c.

    That is the rule of Cao et al. 2019 (`imbalance_cifar.py` of github.com/kaidic/LDAM-DRW), and
    the library's `long_tail_counts` gives the same counts. The authors fix which images are kept
    by a seed of NumPy and the order of their copy of the data; here the run's seed draws them.

    Args:
        labels: Class indices.
        num_classes: Number of classes.
        seed: Seed of the draw.
        factor: Largest over smallest class.

    Example:
        >>> kept = long_tail(np.repeat([0, 1, 2], 100), 3, seed=0, factor=100)
        >>> np.bincount(kept[kept >= 0]).tolist()
        [100, 10, 1]
    """
    positions = long_tail_indices(labels, num_classes, factor, seed)
    kept = np.full(len(labels), LEFT_OUT, np.int64)
    kept[positions] = labels[positions]
    return kept


def symmetric_noise(labels: np.ndarray, num_classes: int, seed: int, share: float) -> np.ndarray:
    """A share of the labels becomes any other class with equal chance, as `noisy_labels` says.

    Patrini et al. 2017 (`build_uniform_P` of their program) take every label with probability
    `share`; here exactly that share changes.

    Args:
        labels: Class indices.
        num_classes: Number of classes.
        seed: Seed of the draw.
        share: Share of labels to change.
    """
    return noisy_labels(labels, num_classes, share, seed)


def asymmetric_noise(
    labels: np.ndarray, num_classes: int, seed: int, share: float, target: tuple[int, ...]
) -> np.ndarray:
    """A share of each class's labels becomes the class that it is mistaken for.

    Args:
        labels: Class indices.
        num_classes: Number of classes.
        seed: Seed of the draw.
        share: Share of labels to change in each class that is mistaken for another.
        target: For each class the one it is mistaken for, or itself, `(num_classes,)`.

    Example:
        >>> noisy = asymmetric_noise(np.repeat([0, 1], 10), 2, seed=0, share=0.4, target=(1, 1))
        >>> np.bincount(noisy).tolist()
        [6, 14]
    """
    generator = np.random.default_rng(seed)
    noisy = np.array(labels, np.int64)
    for index in range(num_classes):
        of_class = generator.permutation(np.flatnonzero(labels == index))
        noisy[of_class[: round(share * len(of_class))]] = target[index]
    return noisy


def next_in_super_class(super_classes: tuple[int, ...]) -> tuple[int, ...]:
    """For each class the next one of its super-class, for the last one the first.

    The asymmetric noise of CIFAR-100 in Patrini et al. 2017, arXiv 1609.03683. (Their program and
    those made from it turn the labels within blocks of five consecutive numbers, which are the
    super-classes only where labels are numbered by super-class. Here it is the super-classes.)

    Args:
        super_classes: Super-class of each class.

    Example:
        >>> next_in_super_class((0, 1, 0, 1, 0))
        (2, 3, 4, 1, 0)
    """
    groups = np.asarray(super_classes)
    target = np.empty_like(groups)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        target[members] = np.roll(members, -1)
    return tuple(target.tolist())
