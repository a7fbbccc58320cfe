"""How loud each class speaks: a pure function of the histogram and of trust.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.
"""

import tensorflow as tf

# Least mean trust of a class that is made up for: a class speaks up to ten times louder.
LEAST_MEAN_TRUST = 0.1


def class_scales(
    histogram: tf.Tensor, bin_weights: tf.Tensor, trusted: tf.Tensor | None, strength: float
) -> tf.Tensor:
    """Scale of each class's weights, with which density and trust weigh within the class alone.

    The margin lets each class win by its count, so each must speak as loud as its count says. But
    the samples of a class that is not learned yet are neither easy nor trusted. With `w` the
    density weight of a bin, and `t` the trust of a sample,

        scale_c = (mean of w over c * max(mean of t over c, 0.1)) ^ -min(strength, 1)

    so that with a full margin the density weights of a class have mean 1, as has its trust, and
    without one nothing changes. A margin of more than the log prior asks for no more than that.

    Args:
        histogram: `H`, or rows of it, `(..., bins)`.
        bin_weights: Density weight of each bin, float32, `(bins,)`.
        trusted: Sum of the trust weights of each class, averaged as the histogram is, float32,
            `(...)`; None where all labels are trusted.
        strength: Scale of the margin, at least 0.

    Returns:
        Scales in float32, `(...)`; 1 for a class without samples.

    Example:
        Samples of the first class are easy and trusted; those of the second are not:

        >>> histogram = tf.constant([[8.0, 0.0], [0.0, 2.0]])
        >>> scales = class_scales(
        ...     histogram, tf.constant([0.5, 2.0]), trusted=tf.constant([8.0, 1.0]), strength=1.0)
        >>> scales.numpy().tolist()
        [2.0, 1.0]
    """
    sums = tf.matmul(histogram, tf.stack([tf.ones_like(bin_weights), bin_weights], axis=1))
    samples, weights = tf.unstack(sums, axis=-1)
    means = tf.math.divide_no_nan(weights, samples)
    if trusted is not None:
        means *= tf.maximum(tf.math.divide_no_nan(trusted, samples), LEAST_MEAN_TRUST)
    return tf.pow(tf.where(means > 0, means, 1.0), -min(strength, 1.0))
