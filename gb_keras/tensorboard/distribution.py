"""A distribution of gradient norms, measured and put in words: pure functions of NumPy arrays.

Norms are gradient norms in [0, 1]: 0 of a sample that is learned, 1 of one predicted to be of
another class with certainty.
"""

import numpy as np

EASY = 0.1
# A bump at norm 1: the last tenth of the range, where label noise sits once a model has learned.
HARD = 0.9


def share_below(density: np.ndarray, norm: float) -> float:
    """Share of the samples with a gradient norm below `norm`; within a bin they lie evenly.

    Args:
        density: Samples per bin, `(bins,)`.
        norm: In [0, 1].

    Example:
        >>> share_below(np.array([6.0, 2.0, 1.0, 1.0]), 0.375)
        0.7
    """
    return share_between(density, 0.0, norm)


def share_between(density: np.ndarray, low: float, high: float) -> float:
    """Share of the samples with a gradient norm from `low` to `high`, 0 where there is no sample.

    Args:
        density: Samples per bin, `(bins,)`.
        low: In [0, 1].
        high: In [0, 1], not below `low`.
    """
    bins = len(density)
    edges = np.arange(bins)
    covered = np.clip(high * bins - edges, 0.0, 1.0) - np.clip(low * bins - edges, 0.0, 1.0)
    total = density.sum()
    return float((density * covered).sum() / total) if total > 0 else 0.0


def gradient_shares(
    density: np.ndarray, weights: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    """Share of the gradient of the samples from `low` to `high`: before and after weighting.

    Args:
        density: Samples per bin, `(bins,)`.
        weights: Weight of a sample in each bin, `(bins,)`.
        low: Norm in [0, 1].
        high: Norm in [0, 1], not below `low`.
    """
    bins = len(density)
    # A sample's gradient is as large as its norm.
    before = density * (np.arange(bins) + 0.5) / bins
    after = before * np.nan_to_num(weights)
    return share_between(before, low, high), share_between(after, low, high)


def in_words(density: np.ndarray, weights: np.ndarray | None, balanced: bool) -> str:
    """The distribution in a sentence: of the easy or of the hard samples, whichever tells more.

    Args:
        density: Samples per bin, `(bins,)`.
        weights: Weight of a sample in each bin, `(bins,)`, or None where they are not known.
        balanced: Whether the model trains with these weights.

    Example:
        >>> density = np.array([80.0, 10.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0])
        >>> weights = np.array([0.5, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0])
        >>> in_words(density, weights, balanced=True)
        '80% of the samples are easier than 0.1; weights cut their share of the gradient from 35%
        to 12%.'
    """
    if density.sum() <= 0:
        return "No sample has been counted yet."
    known = np.ones_like(density) if weights is None else weights
    told = []
    for low, high, what in ((0.0, EASY, f"easier than {EASY}"), (HARD, 1.0, f"harder than {HARD}")):
        share = share_between(density, low, high)
        before, after = gradient_shares(density, known, low, high)
        # What weights change, or how far some samples are above or below their number.
        tells = abs(after - before) if balanced and weights is not None else abs(before - share)
        if share >= 0.005:
            told.append((tells, share, before, after, what))
    if not told:
        text = f"Nearly all samples have a gradient norm between {EASY} and {HARD}."
        return text if balanced else f"{text} The model is not balanced."
    _, share, before, after, what = max(told)
    text = f"{share:.0%} of the samples are {what}; "
    if not balanced:
        return text + f"they give {before:.0%} of the gradient. The model is not balanced."
    if weights is None:
        return text + f"they give {before:.0%} of the gradient. Their weights are not known."
    if f"{before:.0%}" == f"{after:.0%}":
        return text + f"weights leave their share of the gradient at {before:.0%}."
    verb = "cut" if after < before else "raise"
    return text + f"weights {verb} their share of the gradient from {before:.0%} to {after:.0%}."
