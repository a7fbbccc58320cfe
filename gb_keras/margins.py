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
