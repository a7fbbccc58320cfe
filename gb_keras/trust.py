"""How far labels are trusted, and when a sample is learned: pure functions of gradient norms.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.
"""

import tensorflow as tf

# The rate of wrong labels that is believed before anything was seen, and the range it stays in: it
# can grow again after it was next to nothing, and a label is never more likely wrong than right.
INITIAL_NOISE_RATE = 0.05
LEAST_NOISE_RATE, GREATEST_NOISE_RATE = 1e-4, 0.5
# Share of a batch in the noise rate: slow enough that the model's own learning leads.
NOISE_UPDATE_RATE = 0.02
# No label is silenced, so that the model can think again.
LEAST_TRUST = 0.005


def clean_probability(
    norm: tf.Tensor, log_prior: tf.Tensor | float, noise_rate: tf.Tensor | float
) -> tf.Tensor:
    """Probability that a label is right, from its gradient norm.

    A right label agrees with the model by `1 - n`, which is `p_y`. A wrong one, drawn without a
    look at the sample, agrees by the prior of its class, `pi_y`. With `e` the share of wrong
    labels, Bayes' rule says

        P(right | label) = (1 - e) (1 - n) / ((1 - e) (1 - n) + e pi_y).

    The margin of the balanced loss makes `p_y` start at `pi_y` for each class. So no label is
    doubted for the rarity of its class, only for what the model knows of the sample.

    Args:
        norm: Gradient norms `n`, float32, any shape; above 1 as 1.
        log_prior: `log(pi_y)` of each sample's label, float32, same shape or a scalar.
        noise_rate: `e`, in (0, 1).

    Returns:
        Probabilities in float32, the shape of `norm`.

    Example:
        Of ten classes: a sample of which the model knows nothing, one that it knows, and one that
        it knows better than its label does:

        >>> norm = tf.constant([0.9, 0.01, 0.9999])
        >>> clean_probability(norm, tf.math.log(0.1), noise_rate=0.2).numpy().round(3).tolist()
        [0.8, 0.975, 0.004]
    """
    right = (1.0 - noise_rate) * tf.maximum(1.0 - norm, 0.0)
    return right / (right + noise_rate * tf.exp(log_prior))


def trust_weights(clean: tf.Tensor, exponent: float) -> tf.Tensor:
    """Weight of a sample by the probability that its label is right.

    Never 0: a rare class of which the model knows nothing yet looks like noise where most of its
    labels are wrong. What little weight is left lets the model think again.

    Args:
        clean: Probabilities in [0, 1], float32, any shape.
        exponent: How far doubt is turned into weight, at least 0.

    Returns:
        Weights in float32, in [0.005, 1], same shape.

    Example:
        >>> trust_weights(tf.constant([0.9, 0.5, 0.0]), exponent=2.0).numpy().round(3).tolist()
        [0.81, 0.25, 0.005]
    """
    return tf.maximum(tf.pow(clean, exponent), LEAST_TRUST)


def floor_weights(norm: tf.Tensor, floor: float, noise_rate: tf.Tensor | float) -> tf.Tensor:
    """Weight that leaves learned samples alone: `max(0, 1 - f / n)`.

    A sample with a norm below the floor `f` counts as learned, so the model is not driven to be
    ever surer of it. The floor rises from 0 to its height as the noise rate falls from its start
    to 0: where labels are wrong, the right ones are needed to hold against them.

    Args:
        norm: Gradient norms `n`, float32, any shape.
        floor: Height of the floor, in [0, 1).
        noise_rate: Share of wrong labels, in (0, 1).

    Returns:
        Weights in float32, in [0, 1], the shape of `norm`.

    Example:
        >>> floor_weights(tf.constant([0.01, 0.05, 0.5]), 0.05, noise_rate=0.0).numpy()
        array([0. , 0. , 0.9], dtype=float32)
        >>> floor_weights(tf.constant([0.01, 0.05, 0.5]), 0.05, noise_rate=0.2).numpy()
        array([1., 1., 1.], dtype=float32)
    """
    height = tf.nn.relu(floor - (floor / INITIAL_NOISE_RATE) * noise_rate)
    return tf.nn.relu(1.0 - tf.math.divide_no_nan(height, norm))


def updated_noise_rate(
    noise_rate: tf.Tensor, num_clean: tf.Tensor, num_samples: tf.Tensor
) -> tf.Tensor:
    """One step of expectation maximisation: towards the mean of the doubts of a batch.

    Args:
        noise_rate: Rate before the batch, float32 scalar.
        num_clean: Sum of the batch's clean probabilities, float32 scalar.
        num_samples: Number of its samples, float32 scalar; 0 changes nothing.

    Returns:
        Rate in float32, within its bounds.

    Example:
        >>> rate = tf.constant(0.05)
        >>> float(updated_noise_rate(rate, tf.constant(6.0), tf.constant(10.0)))  # 40% doubts
        0.057
    """
    doubt = 1.0 - num_clean / tf.maximum(num_samples, 1.0)
    rate = noise_rate + NOISE_UPDATE_RATE * (doubt - noise_rate)
    rate = tf.clip_by_value(rate, LEAST_NOISE_RATE, GREATEST_NOISE_RATE)
    return tf.where(num_samples > 0, rate, noise_rate)
