"""How much a rare class must win by: pure functions of class counts.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.

References:
    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314.
"""

import tensorflow as tf

# Added to every class count, so that a class not seen yet has a finite margin. Half a sample is
# the Jeffreys prior of a proportion.
PSEUDO_COUNT = 0.5


def class_margin(class_counts: tf.Tensor, strength: float) -> tf.Tensor:
    """Margin added to the logits in the training loss: `strength * log(pi)` (Menon et al. 2021).

    `pi_c = (N_c + 1/2) / sum_k (N_k + 1/2)` is the class prior. A rare class must be predicted
    with a lead of its log prior, so that the decision without margin favours no class.

    Args:
        class_counts: Samples seen per class, `N`, `(num_classes,)`.
        strength: Scale of the margin: 0 none, 1 the full log prior.

    Returns:
        Margins in float32, `(num_classes,)`, at most 0.

    Example:
        >>> class_margin(tf.constant([99.5, 0.5]), strength=1.0).numpy().tolist()
        [-0.00995, -4.61512]
    """
    return strength * tf.nn.log_softmax(tf.math.log(class_counts + PSEUDO_COUNT))


def shared_margin(
    class_counts: tf.Tensor, strength: float, rarity_exponents: tf.Tensor
) -> tf.Tensor:
    """Margin where weights of classes do a part of its work: that of the prior which they leave.

    With classes weighted by `u_c = pi_c ^ -(min(strength, 1) q_c)` the network sees the prior
    `pi'_c = u_c pi_c / sum_k u_k pi_k`. The margin is `(strength - 1) log(pi) + log(pi')`, so that
    the decision without margin is the same whatever the weights.

    Args:
        class_counts: Samples seen per class, `(num_classes,)`.
        strength: Scale of the margin, above 0.
        rarity_exponents: `q`, in [0, 1], `(num_classes,)`; 0 leaves all to the margin.

    Returns:
        Margins in float32, `(num_classes,)`, at most 0.

    Example:
        Half of the work: the square root of a prior of 0.1 and 0.9 is seen.

        >>> half = shared_margin(tf.constant([8.5, 0.5]), 1.0, tf.constant([0.5, 0.5]))
        >>> tf.exp(half).numpy().round(2).tolist()
        [0.75, 0.25]
    """
    log_prior = class_margin(class_counts, 1.0)
    seen = tf.nn.log_softmax((1.0 - min(strength, 1.0) * rarity_exponents) * log_prior)
    return seen if strength == 1 else seen + (strength - 1.0) * log_prior


def class_log_odds(class_counts: tf.Tensor) -> tf.Tensor:
    """Log odds of each class, which margins of multi-label training are made of.

    Args:
        class_counts: Entries seen per class, `(2, num_classes)`: verified negatives, positives.

    Returns:
        Log odds in float32, `(num_classes,)`: `log((N_positive + 1/2) / (N_negative + 1/2))`.
    """
    negatives, positives = tf.unstack(class_counts + PSEUDO_COUNT)
    return tf.math.log(positives) - tf.math.log(negatives)


def loss_without_margin(
    loss: tf.Tensor, gradient: tf.Tensor, margin: tf.Tensor, label: tf.Tensor
) -> tf.Tensor:
    """Softmax cross-entropy of the bare logits, from the loss and gradient with the margin.

    With `q = softmax(z + m)`, `v = exp(-m)` and the gradient `g = q - onehot(y)`:

        log sum_c exp(z_c) = log sum_c exp(z_c + m_c) + log S,   S = sum_c q_c v_c = g . v + v_y
        l(z) = l(z + m) + m_y + log S

    So it costs one matrix-vector product instead of a second softmax. Margins are at most 0, hence
    `S >= 1`, which also bounds what rounding can do.

    Args:
        loss: Cross-entropy of the shifted logits, `(...)`.
        gradient: Its logit gradient, `(..., num_classes)`.
        margin: `m`, at most 0, `(num_classes,)`.
        label: `y`, int32 in [0, num_classes), `(...)`.

    Returns:
        Cross-entropy of the logits without margin, `(...)`. Its absolute error is about
        `1e-7 / prior of the label`.
    """
    inverse = tf.exp(-margin)
    partition = tf.linalg.matvec(gradient, inverse) + tf.gather(inverse, label)
    return loss + tf.gather(margin, label) + tf.math.log(tf.maximum(partition, 1.0))
