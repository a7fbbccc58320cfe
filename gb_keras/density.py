"""The density of logit gradients, and weights by it: pure functions of tensors.

Symbols, used in all docstrings below:

| symbol | meaning |
|---|---|
| `g_i`  | gradient of the loss of sample `i` with respect to its logits, `(num_classes,)` |
| `n_i`  | gradient norm of sample `i`, `||g_i||_1 / 2`; for softmax cross-entropy `1 - p_y` |
| `H`    | joint gradient histogram, `(num_rows, bins)`: samples of a class with a norm in a bin |
| `rho`  | density: `H` summed over its rows, `(bins,)` |
| `N`    | class counts, `(num_classes,)` |

A row of `H` is a class; in multi-label training each class has two rows, negatives and positives.

References:
    Gradient norm, unit regions and density: Li, Liu, Wang, "Gradient Harmonized Single-stage
    Detector", AAAI 2019, arXiv 1811.05181. Balance of the loss by the density of logit gradients
    in multi-class training: patent CN112633359A.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


def softmax_gradient_norm(gradient: tf.Tensor) -> tf.Tensor:
    """Norm of a sample's logit gradient, `||g||_1 / 2`.

    The components of a softmax gradient sum to zero, so that half of the sum of their absolute
    values is the probability mass that the model has put wrong: `1 - p_y` for a one-hot label.

    Args:
        gradient: Logit gradients, `(..., num_classes)`.

    Returns:
        Norms in float32, `(...)`; in [0, 1] for cross-entropy with labels that sum to 1.

    Example:
        >>> p = tf.constant([[0.7, 0.2, 0.1]])
        >>> y = tf.constant([[1.0, 0.0, 0.0]])
        >>> softmax_gradient_norm(p - y).numpy()
        array([0.3], dtype=float32)
    """
    return 0.5 * tf.cast(tf.reduce_sum(tf.abs(gradient), axis=-1), tf.float32)


def sigmoid_gradient_norm(gradient: tf.Tensor) -> tf.Tensor:
    """Norm of one logit's own gradient, `|g|`, where every logit is a sample (multi-label).

    Args:
        gradient: Logit gradients, `(..., num_classes)`.

    Returns:
        Norms in float32, same shape; `|sigmoid(z) - y|`, in [0, 1], for binary cross-entropy.
    """
    return tf.cast(tf.abs(gradient), tf.float32)


def one_label_gradient_norm(gradient: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """`softmax_gradient_norm` of softmax cross-entropy with one label: `1 - p_y = -g_y`.

    Reads one number of each sample instead of all of its gradient.

    Args:
        gradient: Logit gradients of softmax cross-entropy, `(..., num_classes)`.
        label: Class of each sample, int32 in [0, num_classes), `(...)`.

    Returns:
        Norms in float32, `(...)`, in [0, 1].

    Example:
        >>> one_label_gradient_norm(tf.constant([[-0.3, 0.2, 0.1]]), tf.constant([0])).numpy()
        array([0.3], dtype=float32)
    """
    return -tf.cast(tf.gather(gradient, label, batch_dims=label.shape.rank), tf.float32)


def bin_index(norm: tf.Tensor, bins: int) -> tf.Tensor:
    """Unit region of a norm: `min(floor(n * bins), bins - 1)`.

    Args:
        norm: Finite gradient norms, any shape. Norms above 1 fall into the last bin.
        bins: Number of bins on [0, 1].

    Returns:
        Bin indices in [0, bins), int32, same shape.

    Example:
        >>> bin_index(tf.constant([0.0, 0.09, 0.1, 1.0, 7.5]), bins=10).numpy()
        array([0, 0, 1, 9, 9], dtype=int32)
    """
    # Clipped before the cast, which rounds towards 0: a float beyond int32 has no defined integer.
    return tf.cast(tf.minimum(norm * bins, bins - 1.0), tf.int32)


def count(indices: tf.Tensor, included: tf.Tensor, num: int) -> tf.Tensor:
    """Number of included samples per index, `(num,)`.

    Args:
        indices: Index of each sample, int32, any shape. Negative ones are left out.
        included: 1 for samples that count, 0 for others, float32, same shape.
        num: Number of indices.

    Returns:
        Counts in float32, `(num,)`.

    Example:
        >>> count(tf.constant([0, 2, 2, -1, 1]), tf.constant([1.0, 1.0, 1.0, 1.0, 0.0]), 3).numpy()
        array([1., 0., 2.], dtype=float32)
    """
    if len(indices.shape) != 1:
        indices, included = tf.reshape(indices, [-1]), tf.reshape(included, [-1])
    return tf.math.unsorted_segment_sum(included, indices, num_segments=num)


class Balance(NamedTuple):
    """What a statistic knows after it took in a batch, over all replicas.

    Attributes:
        density: Number of samples per bin, a moving average, `(bins,)`; where each logit is a
            sample, those of negatives and of positives, `(2, bins)`.
        batch_density: The same of the batch alone.
        histogram: Moving average of the samples by row and bin, `(num_rows, bins)`.
        trusted: Moving average of the sums of trust weights by class, `(num_classes,)`; None where
            each logit is a sample.
        share: This replica's number of samples over the mean of all replicas, float32 scalar; None
            with one replica.
    """

    density: tf.Tensor
    batch_density: tf.Tensor
    histogram: tf.Tensor
    trusted: tf.Tensor | None = None
    share: tf.Tensor | None = None


class BatchCounts(NamedTuple):
    """The valid samples of a batch, counted in float32.

    Attributes:
        histogram: By row and bin, `(num_rows, bins)`.
        rows: By row, `(num_rows,)`: the sums of the histogram's rows.
        bins: By bin, `(bins,)`: the sums of its columns. Where each logit is a sample, those of
            negatives and of positives, `(2, bins)`.
    """

    histogram: tf.Tensor
    rows: tf.Tensor
    bins: tf.Tensor


def count_batch(
    rows: tf.Tensor,
    bin_indices: tf.Tensor,
    included: tf.Tensor,
    num_rows: int,
    bins: int,
    each_logit: bool = False,
) -> BatchCounts:
    """Count the valid samples of a batch by row, by bin, and by both.

    Where each logit is a sample, the samples are about as many as the cells: that costs one
    scatter, and a pass over the histogram for its sums. Counting by bin, millions of samples
    would queue at a few places, which takes a GPU longest of all. Else the samples are few and the
    cells may be many: three scatters of `batch_size` ones, and no pass over the histogram. A
    one-hot tensor is never materialised.

    Args:
        rows: Row of each sample, int32, any shape. Samples of negative rows are in no histogram.
        bin_indices: Bin of each sample, int32 in [0, bins), same shape.
        included: 1 for samples that count, 0 for others, float32, same shape.
        num_rows: Number of rows.
        bins: Number of bins.
        each_logit: Whether each logit is a sample. The first half of the rows is that of negatives
            then, and no row is negative.

    Returns:
        The counts.

    Example:
        >>> counts = count_batch(
        ...     tf.constant([1, 1, 0]), tf.constant([2, 2, 0]), tf.constant([1.0, 1.0, 0.0]), 2, 3
        ... )
        >>> counts.histogram.numpy()
        array([[0., 0., 0.],
               [0., 0., 2.]], dtype=float32)
        >>> counts.rows.numpy(), counts.bins.numpy()
        (array([0., 2.], dtype=float32), array([0., 0., 2.], dtype=float32))
    """
    cells = count(rows * bins + bin_indices, included, num_rows * bins)
    histogram = tf.reshape(cells, [num_rows, bins])
    if each_logit:
        by_sign = tf.reshape(histogram, [2, num_rows // 2, bins])
        return BatchCounts(
            histogram, tf.reduce_sum(histogram, axis=1), tf.reduce_sum(by_sign, axis=1)
        )
    return BatchCounts(
        histogram=histogram,
        rows=count(rows, included, num_rows),
        bins=count(bin_indices, included, bins),
    )


def update_rate(momentum: float, num_updates: tf.Tensor) -> tf.Tensor:
    """Share of the newest batch in the moving average, `max(1 - momentum, 1 / t)`.

    The average is the plain mean of all batches until the momentum's window is full, so that it
    has no bias from its start.

    Args:
        momentum: Momentum in the long run, in [0, 1).
        num_updates: Number of updates `t`, the coming one included, float32, at least 1.

    Returns:
        Rate in (0, 1], float32 scalar.

    Example:
        >>> [float(update_rate(0.9, tf.constant(t))) for t in (1.0, 2.0, 100.0)]
        [1.0, 0.5, 0.1]
    """
    return tf.maximum(1.0 - momentum, 1.0 / num_updates)


def class_norms(histogram: tf.Tensor) -> tf.Tensor:
    """Mean gradient norm of each class, each sample at the lower edge of its bin.

    Args:
        histogram: `H`, `(num_classes, bins)`.

    Returns:
        Means in float32, in [0, 1], `(num_classes,)`; 1 of a class without samples, which has
        learned nothing.

    Example:
        >>> class_norms(tf.constant([[4.0, 0.0], [1.0, 1.0], [0.0, 0.0]])).numpy().tolist()
        [0.0, 0.25, 1.0]
    """
    edges = _lower_edges(histogram.shape[-1])
    sums = tf.matmul(histogram, tf.constant(np.stack([np.ones_like(edges), 1.0 - edges], axis=1)))
    samples, learned = tf.unstack(sums, axis=-1)
    return 1.0 - tf.math.divide_no_nan(learned, samples)


def mean_norm(density: tf.Tensor) -> tf.Tensor:
    """Mean gradient norm of a histogram, each sample at the lower edge of its bin.

    Args:
        density: Number of samples per bin, `(bins,)`.

    Returns:
        Mean in float32, in [0, 1); 0 without samples, and where all are in the easiest bin.

    Example:
        Nine easy samples and one of the hardest of four bins:

        >>> float(mean_norm(tf.constant([9.0, 0.0, 0.0, 1.0])))
        0.075
    """
    edges = _lower_edges(density.shape[0])
    return tf.math.divide_no_nan(tf.reduce_sum(density * edges), tf.reduce_sum(density))


def _lower_edges(bins: int) -> np.ndarray:
    """Norms at which bins begin, `(bins,)`."""
    return np.arange(bins, dtype=np.float32) / bins
