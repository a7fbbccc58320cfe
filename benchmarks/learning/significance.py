"""How sure a difference is: means over seeds, standard errors, paired tests."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

LEVEL = 0.05


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error; no error from a single value.

    Example:
        >>> mean_and_error([1.0, 2.0, 3.0])
        (2.0, 0.577)
    """
    array = np.asarray(values, "float64")
    if len(array) < 2:
        return float(array.mean()), None
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array)))


def outcome(ours: Sequence[float], peer: Sequence[float]) -> str:
    """`"win"`, `"tie"` or `"loss"` of ours by a paired t-test at 95%, two-sided.

    Pairs share a seed, hence the data, the wrong labels, the first weights and the order of
    samples, so the test is of what the method alone changes.

    Args:
        ours: Values of our method, one for each seed; more is better.
        peer: Values of the other one, of the same seeds.

    Returns:
        The outcome. With fewer than two pairs nothing is sure: `"tie"`.

    Example:
        >>> outcome([0.81, 0.83, 0.82], [0.71, 0.72, 0.73]), outcome([0.8, 0.7], [0.7, 0.8])
        ('win', 'tie')
    """
    difference = np.asarray(ours, "float64") - np.asarray(peer, "float64")
    if len(difference) < 2 or not difference.any():
        return "tie"
    # Too equal for a test, which divides by their spread.
    if np.ptp(difference) < 1e-9:
        return "win" if difference[0] > 0 else "loss"
    if scipy.stats.ttest_1samp(difference, 0.0).pvalue >= LEVEL:
        return "tie"
    return "win" if difference.mean() > 0 else "loss"
