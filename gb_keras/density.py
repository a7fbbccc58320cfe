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

import tensorflow as tf

# Gradient norms of samples that the model is sure of, and that it predicts right.
SURE_NORM, RIGHT_NORM = 0.1, 0.5
# The share of sure samples among those predicted right, up to which there is no crowd of easy
# samples, and from which on there is one.
NO_CROWD, CROWD = 0.3, 0.5
# What a weight may be before it is scaled: the squares of its sums are still finite.
_GREATEST = 1e15


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


class Watched(NamedTuple):
    """What is taken of a batch only while somebody watches.

    Attributes:
        mass: Gradient mass of each class, `(2, num_classes)`: see `class_mass`.
        cells: Place of each sample in the flat histogram, `row * bins + bin`, int32,
            `(num_samples,)`.
        included: 1 for samples that count, 0 for others, float32, `(num_samples,)`.
        weights: Weight of each sample in the loss, float32, `(num_samples,)`.
    """

    mass: tf.Tensor
    cells: tf.Tensor
    included: tf.Tensor
    weights: tf.Tensor


def averaged_cells(average: tf.Tensor, watched: Watched, rate: tf.Tensor) -> tf.Tensor:
    """One step of the moving averages of the plain and of the balanced histogram.

    The balanced one counts each sample with its weight. Both are taken side by side, so that their
    ratio is a mean of weights whenever the averages began.

    Args:
        average: Both histograms before the batch, `(2, num_rows * bins)`: plain, balanced.
        watched: The batch.
        rate: Share of the batch in the averages, float32 scalar.

    Returns:
        Averages in float32, same shape.

    Example:
        >>> watched = Watched(
        ...     mass=tf.zeros((2, 1)), cells=tf.constant([0, 0, 2]), included=tf.ones(3),
        ...     weights=tf.constant([0.5, 1.0, 2.0]))
        >>> averaged_cells(tf.zeros((2, 3)), watched, rate=tf.constant(1.0)).numpy()
        array([[2. , 0. , 1. ],
               [1.5, 0. , 2. ]], dtype=float32)
    """
    num_cells = average.shape[1]
    # A sample of a negative row, which is no row, adds nothing.
    included = tf.where(watched.cells >= 0, watched.included, 0.0)
    cells = tf.maximum(watched.cells, 0)
    places = tf.concat([cells, cells + num_cells], axis=0)
    amounts = tf.concat([included, included * watched.weights], axis=0)
    # Adding to the few places of a batch costs one pass over the histograms; a histogram of the
    # batch and its difference would cost four.
    flat = tf.tensor_scatter_nd_add(
        tf.reshape((1.0 - rate) * average, [-1]), places[:, tf.newaxis], rate * amounts
    )
    return tf.reshape(flat, average.shape)


def class_mass(
    gradient: tf.Tensor, rows: tf.Tensor, norm: tf.Tensor, included: tf.Tensor, one_label: bool
) -> tf.Tensor:
    """Gradient mass of each class: what pulls its logit up, and what pushes it down.

    The positive part, `sum_i max(-g_ic, 0)`, comes from the class's own samples, the negative
    part, `sum_i max(g_ic, 0)`, from those of the other classes. A class whose negative part
    outweighs its positive one by far is being drowned (Tan et al., "Equalization Loss v2", CVPR
    2021, arXiv 2012.08548).

    Args:
        gradient: Logit gradients of softmax losses, `(..., num_classes)`.
        rows: Class of each sample, int32, `(...)`.
        norm: Gradient norm of each sample, float32, `(...)`.
        included: 1 for samples that count, 0 for others, float32, `(...)`.
        one_label: Whether the gradient is `softmax(z) - onehot(y)`. The positive part is then
            known from the norms, and one pass over the gradient is enough.

    Returns:
        Masses in float32, `(2, num_classes)`: positive, negative. Not finite where the gradient of
        any sample is not.

    Example:
        >>> gradient = tf.constant([[-0.3, 0.2, 0.1], [0.4, -0.5, 0.1]])
        >>> norm = tf.constant([0.3, 0.5])
        >>> mass = class_mass(gradient, tf.constant([0, 1]), norm, tf.ones(2), one_label=True)
        >>> mass.numpy().round(6).tolist()
        [[0.3, 0.5, 0.0], [0.4, 0.2, 0.2]]
    """
    num_classes = gradient.shape[-1]
    gradient = tf.reshape(tf.cast(gradient, tf.float32), [-1, num_classes])
    by_sample = tf.reshape(included, [-1])

    def total(values: tf.Tensor) -> tf.Tensor:
        # A sum over samples as a matrix product: several times faster on a CPU than reduce_sum.
        return tf.linalg.matvec(values, by_sample, transpose_a=True)

    if one_label:
        positive = count(rows, norm * included, num_classes)
        return tf.stack([positive, tf.maximum(total(gradient) + positive, 0.0)])
    return tf.stack([total(tf.nn.relu(-gradient)), total(tf.nn.relu(gradient))])


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
    their mean over the batch to the power of `prior_strength`: with a full margin both have mean 1,
    and density weighs within a sign; without one nothing changes.

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
    return weights / tf.pow(means, prior_strength)[:, tf.newaxis]


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
    bins = density.shape[0]
    edges = tf.range(bins, dtype=density.dtype) / bins
    return tf.math.divide_no_nan(tf.tensordot(density, edges, 1), tf.reduce_sum(density))
