"""Weights of samples by the density of gradient norms: pure functions of densities.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.
"""

import tensorflow as tf

# Gradient norms of samples that the model is sure of, and that it predicts right.
SURE_NORM, RIGHT_NORM = 0.1, 0.5
# The share of sure samples among those predicted right, up to which there is no crowd of easy
# samples, and from which on there is one.
NO_CROWD, CROWD = 0.3, 0.5
# What a weight may be before it is scaled: the squares of its sums are still finite.
_GREATEST = 1e15


def crowding(density: tf.Tensor) -> tf.Tensor:
    """How far there is a crowd of easy samples, from 0 to 1.

    Of the samples that the model predicts right, with norms below 1/2, it is sure of those below
    0.1. While they are few, up to 30%, there is no crowd: the model has learned little, or it has
    learned that labels are often wrong, and the bins that are least crowded are those of wrong
    labels. From 50% on there is one.

    Args:
        density: Number of samples per bin, `(bins,)`.

    Returns:
        Float32 scalar in [0, 1]; 0 without samples.

    Example:
        Of five samples predicted right the model is sure of two, then of four:

        >>> float(crowding(tf.constant([2.0, 0, 3, 0, 0, 0, 0, 0, 0, 1])))
        0.5
        >>> float(crowding(tf.constant([4.0, 0, 1, 0, 0, 0, 0, 0, 0, 1])))
        1.0
    """
    bins = density.shape[0]
    sure, right = (
        tf.reduce_sum(density[: max(1, round(bins * norm))]) for norm in (SURE_NORM, RIGHT_NORM)
    )
    share = tf.math.divide_no_nan(sure, right)
    return tf.clip_by_value((share - NO_CROWD) / (CROWD - NO_CROWD), 0.0, 1.0)


def bin_weights(
    density: tf.Tensor,
    batch_density: tf.Tensor,
    exponent: float | tf.Tensor,
    max_weight: float | None,
) -> tf.Tensor:
    """Weight of a sample by its bin: crowded bins speak lower, so that each region is heard.

    `w(m) = rho(m)^(-exponent)`, scaled to mean 1 over the samples of the batch, capped to
    `[1 / max_weight, max_weight]`, and scaled to mean 1 again. With exponent 1 and no cap this is
    the GHM-C weight (Li et al. 2019, equation 8).

    Args:
        density: Number of samples per bin, `rho`, `(bins,)`; it takes in the current batch.
        batch_density: Number of samples per bin in the current batch, `(bins,)`. A mean over the
            batch is a mean over bins weighted by these, hence costs `bins`, not `batch_size`.
        exponent: How far a density is inverted: 0 not at all, 1 fully.
        max_weight: Cap of the weights, at least 1, or None for no cap.

    Returns:
        Weights in float32, `(bins,)`. Bins without samples so far hold 0 or the least weight, and
        mean nothing.

    Example:
        Ten samples, nine of them easy. Each of the two occupied bins gets half of the weight:

        >>> counts = tf.constant([9.0, 0.0, 1.0])
        >>> bin_weights(counts, counts, exponent=1.0, max_weight=None).numpy()
        array([0.5555, 0.    , 5.    ], dtype=float32)
    """
    if not tf.is_tensor(exponent) and exponent == 0:
        return tf.ones_like(density)
    num_samples = tf.reduce_sum(batch_density)
    # A bin that has long been empty has a density near 0, whose inverse may be infinite.
    weights = tf.where(density > 0, tf.minimum(tf.pow(density, -exponent), _GREATEST), 0.0)

    def scaled_to_mean_one(weights: tf.Tensor) -> tf.Tensor:
        return tf.math.divide_no_nan(weights * num_samples, tf.reduce_sum(weights * batch_density))

    weights = scaled_to_mean_one(weights)
    if max_weight is not None:
        weights = scaled_to_mean_one(tf.clip_by_value(weights, 1.0 / max_weight, max_weight))
    return weights


def sign_weights(weights: tf.Tensor, batch_density: tf.Tensor, prior_strength: float) -> tf.Tensor:
    """Weights that leave it to the margin how positives weigh against negatives.

    Easy negatives are by far the most entries of multi-label data, so weights by density press for
    positives, and so does the margin. Together that is too much. Each sign's weights are divided by
    their mean over the batch to the power of `prior_strength`, 1 at most: with a full margin both
    have mean 1, and density weighs within a sign; without one nothing changes.

    Args:
        weights: Weight of a sample by its bin, of mean 1 over the batch, `(bins,)`.
        batch_density: Number of negatives and of positives per bin in the batch, `(2, bins)`.
        prior_strength: Scale of the margin, at least 0.

    Returns:
        Weights by sign and bin, `(2, bins)`.

    Example:
        Nine easy negatives and a hard positive share a weight of ten equally; with a margin each
        keeps its own:

        >>> weights, counts = tf.constant([0.5555, 5.0]), tf.constant([[9.0, 0.0], [0.0, 1.0]])
        >>> sign_weights(weights, counts, prior_strength=1.0).numpy()
        array([[1.   , 9.001],
               [0.111, 1.   ]], dtype=float32)
    """
    means = tf.math.divide_no_nan(
        tf.linalg.matvec(batch_density, weights), tf.reduce_sum(batch_density, axis=1)
    )
    # A sign without samples, or without weights, has nothing to be scaled.
    means = tf.where(means > 0, means, 1.0)
    return weights / tf.pow(means, min(prior_strength, 1.0))[:, tf.newaxis]
