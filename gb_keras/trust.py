"""How far labels are trusted: pure functions of gradient norms.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.
"""

import math

import tensorflow as tf

# The rate of wrong labels that is believed before anything was seen, and the range it stays in: it
# can grow again after it was next to nothing, and a label is never more likely wrong than right.
INITIAL_NOISE_RATE = 0.05
LEAST_NOISE_RATE, GREATEST_NOISE_RATE = 1e-4, 0.5
# Share of a batch in the noise rate: slow enough that the model's own learning leads.
NOISE_UPDATE_RATE = 0.02
# What counts of a label that agrees with the model no better than chance, where labels are wrong.
AGREEMENT_AT_CHANCE = 0.45
# No label is silenced, so that the model can think again.
LEAST_TRUST = 0.005
# Share of the push of negatives that trust keeps at least, before it is made up for.
LEAST_KEPT = 0.1
# Below this a probability counts as 0, where one is divided by.
_TINY = 1e-7


def clean_probability(
    norm: tf.Tensor, prior: tf.Tensor | float, noise_rate: tf.Tensor | float
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
        prior: `pi_y` of each sample's label, float32, same shape or a scalar.
        noise_rate: `e`, in (0, 1).

    Returns:
        Probabilities in float32, the shape of `norm`.

    Example:
        Of ten classes: a sample of which the model knows nothing, one that it knows, and one that
        it knows better than its label does:

        >>> norm = tf.constant([0.9, 0.01, 0.9999])
        >>> clean_probability(norm, 0.1, noise_rate=0.2).numpy().round(3).tolist()
        [0.8, 0.975, 0.004]
    """
    right = (1.0 - noise_rate) * tf.maximum(1.0 - norm, 0.0)
    return right / (right + noise_rate * prior)


def agreement_weights(
    norm: tf.Tensor,
    prior: tf.Tensor | float,
    noise_rate: tf.Tensor | float,
    num_classes: int,
) -> tf.Tensor:
    """How much counts of a label that the model half believes, where labels may be wrong.

    A wrong label that is always mistaken for the same other class agrees with the model better
    than chance, so that `clean_probability` believes it. This weight goes by the agreement itself,
    and fades as the noise rate falls below its start:

        (a_i) ^ (log(0.45) / log(1 / num_classes) * min(e / 0.05, 1))

    with `a_i` the probability of the label by the model, were all classes equally frequent. It is
    1 for a label that the model is sure of, and 0.45 at chance, `1 / num_classes`. The gradient of
    a label that the model gives up goes to 0, as that of generalised cross-entropy does (Zhang and
    Sabuncu 2018).

    Args:
        norm: Gradient norms `n`, float32, any shape; above 1 as 1.
        prior: `pi_y` of each sample's label, float32, same shape or a scalar.
        noise_rate: `e`, in (0, 1).
        num_classes: Number of classes. Of one class, no label is doubted.

    Returns:
        Weights in float32, in [0, 1], the shape of `norm`.

    Example:
        >>> norm = tf.constant([0.9, 0.5, 0.0])
        >>> agreement_weights(norm, 0.1, noise_rate=0.2, num_classes=10).numpy().tolist()
        [0.45, 0.786, 1.0]
        >>> agreement_weights(norm, 0.1, noise_rate=0.0, num_classes=10).numpy().tolist()
        [1.0, 1.0, 1.0]
    """
    if num_classes < 2:
        return tf.ones_like(norm)
    noisy = tf.minimum(noise_rate / INITIAL_NOISE_RATE, 1.0)
    # Odds against the label, with those of its class divided out and those of chance put in.
    balance = prior * (num_classes - 1.0) / tf.maximum(1.0 - prior, _TINY)
    odds = tf.maximum(norm, 0.0) / tf.maximum(1.0 - norm, _TINY) * balance
    exponent = noisy * (math.log(AGREEMENT_AT_CHANCE) / math.log(num_classes))
    return tf.pow(1.0 + odds, exponent)


def trust_weights(credibility: tf.Tensor, exponent: float) -> tf.Tensor:
    """Weight of a sample by how far its label is to be believed.

    Never 0: a rare class of which the model knows nothing yet looks like noise where most of its
    labels are wrong. What little weight is left lets the model think again.

    The samples of a class that is not learned yet are all doubted. `class_balance.class_scales`
    lets them speak as loud as those of any other class.

    Args:
        credibility: Product of `clean_probability` and `agreement_weights`, float32, any shape.
        exponent: How far doubt is turned into weight, at least 0.

    Returns:
        Weights in float32, in [0.005, 1], same shape.

    Example:
        >>> trust_weights(tf.constant([0.9, 0.5, 0.0]), exponent=2.0).numpy().round(3).tolist()
        [0.81, 0.25, 0.005]
    """
    return tf.maximum(tf.pow(credibility, exponent), LEAST_TRUST)


def entry_doubt(exponent: float) -> float:
    """How far a negative label is doubted where each logit is a sample.

    Of several labels many may be missing, and nothing but somebody's word tells how many. So the
    doubt is the same for all, `1 - exp(-exponent / 4)`.

    Args:
        exponent: How far doubt counts, at least 0.

    Returns:
        Doubt, in [0, 1).

    Example:
        >>> [round(entry_doubt(exponent), 2) for exponent in (0.0, 2.0)]
        [0.0, 0.39]
    """
    return -math.expm1(-exponent / 4)


def suspicion(density: tf.Tensor) -> tf.Tensor:
    """How far hard negatives are taken for positives that nobody labelled, from 0 to 1.

    A model with the margin of its classes says yes wrongly about as often as no, whatever it has
    learned. As it learns its data by heart both become rare. But what looks like its positives and
    is labelled as none of them comes last. With `H` the number of entries of norm 1/2 and above,
    predicted wrong,

        s = 1 - min(H_positive / H_negative, 1).

    Args:
        density: Number of negatives and of positives per bin, `(2, bins)`.

    Returns:
        Float32 scalar in [0, 1]; 0 where no more negatives than positives are predicted wrong.

    Example:
        Four negatives and one positive are predicted wrong, of many:

        >>> float(suspicion(tf.constant([[90.0, 4.0], [9.0, 1.0]])))
        0.75
    """
    wrong = tf.reduce_sum(density[:, (density.shape[1] + 1) // 2 :], axis=1)
    return tf.nn.relu(tf.math.divide_no_nan(wrong[0] - wrong[1], wrong[0]))


def negative_trust(density: tf.Tensor, exponent: float) -> tf.Tensor:
    """Weight of a negative by its bin, where each logit is a sample: the hardest are doubted.

    A negative that the model takes for a positive may be a positive that nobody labelled. Its
    trust is `(1 - n)^(2 exponent)`, as asymmetric loss turns from the hardest negatives (Ridnik et
    al., ICCV 2021, arXiv 2009.14119). All are scaled so that the sum of the negatives' gradient
    norms stays, so that the model is pushed to no as hard as before.

    Args:
        density: Number of negatives per bin, `(bins,)`.
        exponent: How far doubt counts, at least 0.

    Returns:
        Weights in float32, `(bins,)`, of a norm in the middle of each bin.

    Example:
        Nine negatives of norm 1/4 and one of 3/4, which is hardly heard:

        >>> negative_trust(tf.constant([9.0, 1.0]), exponent=1.0).numpy().round(3).tolist()
        [1.286, 0.143]
    """
    bins = density.shape[0]
    norm = (tf.range(bins, dtype=tf.float32) + 0.5) / bins
    trust = tf.pow(1.0 - norm, 2.0 * exponent)
    pushes = density * norm
    kept = tf.math.divide_no_nan(tf.tensordot(pushes, trust, 1), tf.reduce_sum(pushes))
    return trust / tf.maximum(tf.where(kept > 0, kept, 1.0), LEAST_KEPT)


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
