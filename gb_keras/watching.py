"""What of a batch is worth a look, and costs something: pure functions of tensors.

Symbols are those of `gb_keras.density`.
"""

from typing import NamedTuple

import tensorflow as tf

from gb_keras import density


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
        positive = density.count(rows, norm * included, num_classes)
        return tf.stack([positive, tf.maximum(total(gradient) + positive, 0.0)])
    return tf.stack([total(tf.nn.relu(-gradient)), total(tf.nn.relu(gradient))])
