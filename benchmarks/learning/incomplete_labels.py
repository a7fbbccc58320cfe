"""Labels of several classes that nobody has marked completely."""

import numpy as np


def missing_positives(
    labels: np.ndarray, share: float, generator: np.random.Generator
) -> np.ndarray:
    """A share of the positive labels recorded as negative.

    As where annotators mark some of what they see, and what they did not mark counts as absent.

    Args:
        labels: 0 or 1, `(num_images, num_classes)`; left as they are.
        share: Share of the positive labels to miss, in [0, 1); rounded to whole labels.
        generator: Source of the draw.

    Returns:
        The recorded labels, `(num_images, num_classes)`.

    Example:
        >>> int(missing_positives(np.ones((2, 4)), 0.5, np.random.default_rng(0)).sum())
        4

    References:
        Cole et al., Multi-Label Learning from Single Positive Labels, CVPR 2021, arXiv 2106.09708;
        Ben-Baruch et al., Asymmetric Loss, ICCV 2021, arXiv 2009.14119, section 4.4.
    """
    recorded = labels.copy()
    positives = generator.permutation(np.flatnonzero(labels))
    recorded.flat[positives[: round(share * len(positives))]] = 0
    return recorded


def known_entries(
    shape: tuple[int, ...], share_unknown: float, generator: np.random.Generator
) -> np.ndarray:
    """Which entries of the labels are known: 1 or 0, a sample weight for each entry.

    As in Open Images, where most classes of an image were never asked for.

    Args:
        shape: Shape of the labels, `(num_images, num_classes)`.
        share_unknown: Share of all entries that are unknown, in [0, 1); rounded to whole entries.
        generator: Source of the draw.

    Returns:
        Weights in float32, `(num_images, num_classes)`.

    Example:
        >>> int(known_entries((2, 4), 0.25, np.random.default_rng(0)).sum())
        6

    Reference: Kuznetsova et al., The Open Images Dataset V4, IJCV 2020, arXiv 1811.00982.
    """
    known = np.ones(shape, "float32")
    known.flat[generator.permutation(known.size)[: round(share_unknown * known.size)]] = 0
    return known
