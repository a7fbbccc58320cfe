"""How loud each class speaks: pure functions of the histogram, of trust and of the prior.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.
"""

import tensorflow as tf

# Least mean trust of a class that is made up for: a class speaks up to ten times louder.
LEAST_MEAN_TRUST = 0.1
# Of the density exponent: how far rarity of a class of which nothing is learned is made up for.
RARITY = 0.6
# Noise rate from which on no class is raised: what a rare one has are then mostly wrong labels.
NOISY = 0.1


def rarity_exponents(
    class_norms: tf.Tensor | float, density_exponent: float, noise_rate: tf.Tensor | float
) -> tf.Tensor:
    """How far rare classes are weighted up instead of given a margin.

    A margin alone lets a rare class win in the end, but until then its few samples hardly move the
    network. A weight moves it at once, but does nothing any more where all is learned by heart. So
    classes of which little is learned have a weight, `prior_c ^ -q_c`, and the less margin,

        q_c = min(0.6 density_exponent, 1) * n_c * max(0, 1 - e / 0.1)

    with `n_c` the mean norm of the class and `e` the noise rate.

    Args:
        class_norms: Mean gradient norm of each class, `(num_classes,)`, or of all.
        density_exponent: That of the loss, at least 0.
        noise_rate: Estimated share of wrong labels; 0 where all are trusted.

    Returns:
        Exponents in float32, in [0, 1], shaped as `class_norms`.

    Example:
        >>> rarity_exponents(tf.constant([0.0, 1.0]), 0.5, 0.05).numpy().round(3).tolist()
        [0.0, 0.15]
    """
    most = min(RARITY * density_exponent, 1.0)
    noise = tf.convert_to_tensor(noise_rate, tf.float32) / NOISY
    return (most * tf.nn.relu(1.0 - noise)) * class_norms


def class_weights(margin: tf.Tensor, full_margin: tf.Tensor) -> tf.Tensor:
    """Weights of classes that make up for what their margins lack of full ones.

    Args:
        margin: What `margins.shared_margin` returned, or rows of it, `(...)`.
        full_margin: What `margins.class_margin` returned, the same rows.

    Returns:
        Weights, of mean 1 over samples, `(...)`.

    Example:
        >>> full = tf.math.log([0.8, 0.2])
        >>> class_weights(tf.math.log([0.5, 0.5]), full).numpy().round(3).tolist()
        [0.625, 2.5]
    """
    return tf.exp(margin - full_margin)


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
