"""Many labels for one image: every logit is a sample, an entry `(sample, class)` of the labels.

Pure functions that count entries and weigh them. Of thousands of classes an image shows a few, so
that nearly all entries are negatives in the easiest bin. That crowd needs no look at each of its
entries: its number by class is what the others leave, and its weight is one. So the crowd costs no
scatter and no look-up, which on a CPU are ten times dearer than a pass over all entries.
"""

from typing import NamedTuple

import tensorflow as tf

# TensorFlow does not publish how to know that XLA compiles what is traced.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from gb_keras import density, watching

# How far a positive label is doubted, to how far a negative one is.
POSITIVE_DOUBT = 0.25


class Others(NamedTuple):
    """The entries of a batch that are not of the crowd, one by one.

    Attributes:
        places: Place of each among all entries, laid flat, int64, `(num_others,)`; None where all
            entries are here, in order.
        rows: Row of the histogram of each, int32, `(num_others,)`: its class, and for positives
            `num_classes` more.
        bins: Bin of each, int32, `(num_others,)`.
        included: 1 for entries that count, 0 for those that are not finite, or not active, float32,
            `(num_others,)`.
    """

    places: tf.Tensor | None
    rows: tf.Tensor
    bins: tf.Tensor
    included: tf.Tensor


def count_labels(positive: tf.Tensor, active: tf.Tensor | None) -> tf.Tensor:
    """Negatives and positives of each class.

    Args:
        positive: Whether an entry's label is positive, bool, `(..., num_classes)`.
        active: Whether an entry takes part in the loss, same shape; None for all.

    Returns:
        Counts in float32, `(2, num_classes)`: negatives, positives.

    Example:
        >>> count_labels(tf.constant([[True, False], [True, True]]), None).numpy()
        array([[0., 1.],
               [2., 1.]], dtype=float32)
    """
    num_classes = positive.shape[-1]

    def total(chosen: tf.Tensor) -> tf.Tensor:
        by_sample = tf.reshape(tf.cast(chosen, tf.float32), [-1, num_classes])
        return tf.reduce_sum(by_sample, axis=0)

    if active is None:
        positives = total(positive)
        num_samples = tf.size(positive) // num_classes
        return tf.stack([tf.cast(num_samples, tf.float32) - positives, positives])
    return tf.stack([total(active & ~positive), total(active & positive)])


def others(
    positive: tf.Tensor,
    norm: tf.Tensor,
    losses: tf.Tensor,
    active: tf.Tensor | None,
    bins: int,
) -> Others:
    """The active entries that are not of the crowd, the valid negatives in the easiest bin.

    How many they are is known only when they are looked for. XLA needs to know before; there all
    entries are looked at, which it does in one pass.

    Args:
        positive: Whether an entry's label is positive, bool, `(..., num_classes)`.
        norm: Gradient norm of each entry, float32, same shape.
        losses: Loss of each entry, same shape. It and the norm of a valid entry are finite.
        active: Whether an entry takes part in the loss, same shape; None for all.
        bins: Number of bins.

    Example:
        An easy negative, a hard one, and a positive:

        >>> found = others(tf.constant([[False, False, True]]), tf.constant([[0.1, 0.9, 0.1]]),
        ...     tf.zeros((1, 3)), None, bins=2)
        >>> found.places.numpy(), found.rows.numpy(), found.bins.numpy()
        (array([1, 2]), array([1, 5], dtype=int32), array([1, 0], dtype=int32))
    """
    num_classes = norm.shape[-1]
    flat = [tf.reshape(values, [-1]) for values in (positive, norm, losses)]
    if GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        places = None
        classes = tf.reshape(tf.broadcast_to(tf.range(num_classes), tf.shape(norm)), [-1])
        included = True if active is None else tf.reshape(active, [-1])
    else:
        crowd = ~positive & (norm * bins < 1.0) & tf.math.is_finite(losses)
        chosen = ~crowd if active is None else active & ~crowd
        places = tf.where(tf.reshape(chosen, [-1]))[:, 0]
        flat = [tf.gather(values, places) for values in flat]
        classes = tf.cast(places % num_classes, tf.int32)
        included = True
    positive, norm, losses = flat
    included &= tf.math.is_finite(norm + tf.cast(losses, tf.float32))
    return Others(
        places=places,
        rows=tf.cast(positive, tf.int32) * num_classes + classes,
        bins=density.bin_index(tf.where(included, norm, 0.0), bins),
        included=tf.cast(included, tf.float32),
    )


def count_entries(found: Others, labels: tf.Tensor, bins: int) -> density.BatchCounts:
    """Count the valid entries of a batch by row, by bin, and by both.

    Args:
        found: Those that are not of the crowd.
        labels: Active negatives and positives of each class, `(2, num_classes)`.
        bins: Number of bins.

    Example:
        Of a class four negatives, one of which is hard, and a positive:

        >>> rows, of_bins = tf.constant([0, 1]), tf.constant([1, 1])
        >>> found = Others(tf.constant([1, 2]), rows, of_bins, tf.ones(2))
        >>> count_entries(found, tf.constant([[4.0], [1.0]]), bins=2).histogram.numpy()
        array([[3., 1.],
               [0., 1.]], dtype=float32)
    """
    num_classes = labels.shape[1]
    rows, of_bins, included = found.rows, found.bins, found.included
    if found.places is not None:
        negative = tf.cast(rows < num_classes, tf.float32)
        crowd = labels[0] - density.count(rows, negative, 2 * num_classes)[:num_classes]
        # As one sample of each class, that counts for all of its crowd.
        classes = tf.range(num_classes)
        rows = tf.concat([rows, classes], axis=0)
        of_bins = tf.concat([of_bins, tf.zeros_like(classes)], axis=0)
        included = tf.concat([included, crowd], axis=0)
    return density.count_batch(rows, of_bins, included, 2 * num_classes, bins, each_logit=True)


def entry_weights(found: Others, weights: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Weight of each entry by its sign and bin; 1 for one that is not finite.

    Args:
        found: The entries that are not of the crowd.
        weights: Weights of negatives and of positives by bin, `(2, bins)`.
        like: A tensor of all entries, `(..., num_classes)`.

    Returns:
        Weights in float32, in the shape of `like`. Those of entries that are not active mean
        nothing.

    Example:
        >>> found = Others(tf.constant([1]), tf.constant([1]), tf.constant([1]), tf.ones(1))
        >>> weights = tf.constant([[0.5, 2.0], [3.0, 4.0]])
        >>> entry_weights(found, weights, tf.zeros((2, 2))).numpy()
        array([[0.5, 2. ],
               [0.5, 0.5]], dtype=float32)
    """
    sign = tf.cast(found.rows >= like.shape[-1], tf.int32)
    of_others = tf.gather(tf.reshape(weights, [-1]), sign * weights.shape[1] + found.bins)
    of_others = tf.where(found.included > 0, of_others, 1.0)
    if found.places is not None:
        of_others = tf.tensor_scatter_nd_update(
            tf.fill([tf.size(like)], weights[0, 0]), found.places[:, tf.newaxis], of_others
        )
    return tf.reshape(of_others, tf.shape(like))


def watched(
    positive: tf.Tensor,
    norm: tf.Tensor,
    losses: tf.Tensor,
    active: tf.Tensor | None,
    weights: tf.Tensor,
    bins: int,
) -> watching.Watched:
    """What a watcher wants of the entries of a batch, all of them looked at.

    Args:
        positive: As in `others`.
        norm: As in `others`.
        losses: As in `others`.
        active: As in `others`.
        weights: Weight of each entry in the loss, float32, same shape.
        bins: Number of bins.

    Example:
        >>> seen = watched(tf.constant([[False, True]]), tf.constant([[0.9, 0.2]]),
        ...     tf.zeros((1, 2)), None, tf.ones((1, 2)), bins=2)
        >>> seen.mass.numpy(), seen.cells.numpy()
        (array([[0. , 0.2],
               [0.9, 0. ]], dtype=float32), array([1, 6], dtype=int32))
    """
    num_classes = norm.shape[-1]
    valid = tf.math.is_finite(norm + tf.cast(losses, tf.float32))
    if active is not None:
        valid &= active
    included = tf.cast(valid, tf.float32)
    rows = tf.cast(positive, tf.int32) * num_classes + tf.range(num_classes)
    cells = rows * bins + density.bin_index(tf.where(valid, norm, 0.0), bins)
    # A logit is pulled up by its positive entries and pushed down by its negative ones.
    by_row = density.count(rows, norm * included, 2 * num_classes)
    return watching.Watched(
        mass=tf.reverse(tf.reshape(by_row, [2, num_classes]), axis=[0]),
        cells=tf.reshape(cells, [-1]),
        included=tf.reshape(included, [-1]),
        weights=tf.reshape(weights, [-1]),
    )


def doubted_labels(label: tf.Tensor, prior: tf.Tensor, doubt: float) -> tf.Tensor:
    """Labels that are taken to be right only so far, else as good as a draw from the prior.

        y' = d pi                    of a negative
        y' = 1 - d / 4 (1 - pi)      of a positive

    and so on in between. It is label smoothing (Szegedy et al. 2016) towards the prior of each
    class. A positive was seen by somebody, a negative may be what nobody looked at, and so it is
    doubted four times as far. A model that is not driven to be sure of labels ranks better.

    Args:
        label: `y`, in [0, 1], `(..., num_classes)`.
        prior: `pi`, share of positives of each class, `(num_classes,)`.
        doubt: `d`, in [0, 1).

    Returns:
        Labels, `(..., num_classes)`.

    Example:
        >>> labels, prior = tf.constant([[1.0, 0.0]]), tf.constant([0.1, 0.1])
        >>> doubted_labels(labels, prior, doubt=0.5).numpy().round(3).tolist()
        [[0.888, 0.05]]
    """
    of_negative = doubt * prior
    of_positive = 1.0 - doubt * POSITIVE_DOUBT * (1.0 - prior)
    return of_negative + label * (of_positive - of_negative)


def doubted_log_odds(log_odds: tf.Tensor, doubt: float) -> tf.Tensor:
    """Log odds of the mean of a class's doubted labels.

    With `r = 3 / 4 d` that mean is `pi (1 + r (1 - pi))`, and what it lacks to 1 is
    `(1 - pi) (1 - r pi)`. Neither is taken from a rounded probability, so that it is finite for a
    class which all images have, or none.

    Args:
        log_odds: Those of the class's own labels, `(num_classes,)`.
        doubt: `d`, in [0, 1).

    Returns:
        Log odds, same shape.

    Example:
        A fifth of the labels are positive. Their mean is 0.2 * 0.9 + 0.8 * 0.1 when doubted:

        >>> log_odds = tf.math.log(tf.constant([0.2 / 0.8]))
        >>> tf.sigmoid(doubted_log_odds(log_odds, doubt=0.5)).numpy().round(3).tolist()
        [0.26]
    """
    rise = (1.0 - POSITIVE_DOUBT) * doubt
    prior, others = tf.sigmoid(log_odds), tf.sigmoid(-log_odds)
    return log_odds + tf.math.log1p(rise * others) - tf.math.log1p(-rise * prior)


def base_loss(
    loss: tf.Tensor,
    target: tf.Tensor,
    shifted: tf.Tensor,
    label: tf.Tensor,
    logits: tf.Tensor,
    margin: tf.Tensor | None,
) -> tf.Tensor:
    """Binary cross-entropy of bare logits and labels, from that of shifted and doubted ones.

    With `s = z + m`, `q = sigmoid(s)`, and the cross-entropy `l(y, z) = log(1 + exp(z)) - y z`:

        log(1 + exp(z)) = log(1 + exp(s)) + log(1 + q (exp(-m) - 1))
        l(y, z) = l(y', s) + y' s - y z + log(1 + q (exp(-m) - 1))

    So it costs half of a second cross-entropy.

    Args:
        loss: `l(y', s)`, `(..., num_classes)`.
        target: `y'`, in [0, 1], same shape.
        shifted: `s`, same shape.
        label: `y`, in [0, 1], same shape.
        logits: `z`, same shape.
        margin: `m`, `(num_classes,)`; None for 0.

    Returns:
        Cross-entropy of the logits without margin, `(..., num_classes)`. Its absolute error is
        about `1e-7 max(1, |z|, |m|, exp(m))`.

    Example:
        >>> logits, margin, label = tf.constant([[0.5]]), tf.constant([-2.0]), tf.ones((1, 1))
        >>> shifted, target = logits + margin, 0.9 * label
        >>> loss = tf.nn.sigmoid_cross_entropy_with_logits(target, shifted)
        >>> found = base_loss(loss, target, shifted, label, logits, margin)
        >>> [float(each[0, 0]) for each in (found, tf.nn.softplus(-logits))]
        [0.4741, 0.4741]
    """
    bare = loss + target * shifted - label * logits
    if margin is None:
        return bare
    return bare + tf.math.log1p(tf.sigmoid(shifted) * tf.math.expm1(-margin))
