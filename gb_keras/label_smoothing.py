"""Label smoothing of what is learned: pure functions.

Symbols are those of `gb_keras.density`; `docs/method.md` has the reasons.
"""

import tensorflow as tf

# Mean gradient norm above which the model has not learned enough for any label to be smoothed.
UNLEARNED_NORM = 0.1


def smoothing(most: float, mean_norm: tf.Tensor) -> tf.Tensor:
    """Share of a label that goes to all classes: 0 until most is learned.

    It rises from 0 to `most` as the mean norm falls from 0.1 to 0. While there is much to learn, or
    labels are wrong, those that are right must go on to lead.

    Args:
        most: Share where all is learned, in [0, 1).
        mean_norm: Mean gradient norm of the batch, in [0, 1].

    Returns:
        Share in float32, a scalar in [0, most].

    Example:
        >>> [round(float(smoothing(0.02, tf.constant(norm))), 3) for norm in (0.5, 0.05, 0.0)]
        [0.0, 0.01, 0.02]
    """
    return most * tf.nn.relu(1.0 - mean_norm / UNLEARNED_NORM)


def smoothed_gradient(
    gradient: tf.Tensor, label: tf.Tensor, prior: tf.Tensor, share: tf.Tensor
) -> tf.Tensor:
    """Logit gradient of softmax cross-entropy with labels smoothed towards the prior.

    The label `y` becomes `y - share * (y - prior)`, so the gradient `q - y` becomes
    `q - y + share * (y - prior)`. A sample that the model is surer of than `1 - share` is pulled
    back, and all classes that it is not are told to be as likely as they are frequent (Szegedy et
    al., CVPR 2016, section 7, arXiv 1512.00567, with the prior as their `u`).

    Args:
        gradient: That of the labels as given, `(..., num_classes)`.
        label: Class of each sample, int32 `(...)`, or one-hot and soft labels
            `(..., num_classes)`. A negative class is none.
        prior: Share of each class, float32, `(num_classes,)`.
        share: How much of each label is smoothed, float32, a scalar.

    Returns:
        Gradient, the shape and type of the one given.

    Example:
        The model is 99% sure of the first class; a fifth of the label goes to all three:

        >>> smoothed_gradient(tf.constant([[-0.01, 0.005, 0.005]]), tf.constant([0]),
        ...     tf.constant([0.5, 0.25, 0.25]), tf.constant(0.2)).numpy().round(3).tolist()
        [[0.09, -0.045, -0.045]]
    """
    share = tf.cast(share, gradient.dtype)
    if label.shape.rank == gradient.shape.rank:
        of_label = share * tf.cast(label, gradient.dtype)
    else:
        of_label = tf.one_hot(label, gradient.shape[-1], share, tf.zeros_like(share))
    return gradient - share * tf.cast(prior, gradient.dtype) + of_label
