"""Published relatives as their authors' code computes them, to compare what a step costs.

They are for timing. To train with them take `gb_keras.baselines`, which computes the same in fewer
steps.
"""

import keras
import tensorflow as tf


class GHMC(keras.losses.Loss):
    """GHM-C with a softmax: a loop over bins, each with a mask over the batch.

    Li, Liu, Wang, "Gradient Harmonized Single-stage Detector", AAAI 2019, arXiv 1811.05181, with
    the loop of the authors' code (github.com/libuncertain/GHM_Detection), there for sigmoids.

    Args:
        bins: Number of bins.
        momentum: Of the samples in each bin.
    """

    def __init__(self, bins: int = 30, momentum: float = 0.75):
        super().__init__(name="ghm_c")
        self.momentum = momentum
        self.edges = [number / bins for number in range(bins)] + [1.0 + 1e-6]
        self.samples = keras.Variable(tf.zeros(bins), trainable=False, name="samples")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Losses of logits `(batch_size, num_classes)`, `(batch_size,)`."""
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        probabilities = tf.nn.softmax(tf.stop_gradient(y_pred))
        norm = 1.0 - tf.gather(probabilities, labels, batch_dims=1)
        total = tf.cast(tf.size(norm), tf.float32)
        weights, occupied, samples = tf.zeros_like(norm), 0.0, []
        for number, before in enumerate(tf.unstack(tf.convert_to_tensor(self.samples))):
            inside = (norm >= self.edges[number]) & (norm < self.edges[number + 1])
            count = tf.reduce_sum(tf.cast(inside, tf.float32))
            mixed = self.momentum * before + (1.0 - self.momentum) * count
            samples.append(tf.where(count > 0, mixed, before))
            weights = tf.where(inside, total / samples[-1], weights)
            occupied += tf.cast(count > 0, tf.float32)
        self.samples.assign(tf.stack(samples))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y_pred)
        return losses * weights / tf.maximum(occupied, 1.0)


class Seesaw(keras.losses.Loss):
    """Seesaw with its matrix of all pairs of classes, and a one-hot tensor.

    Wang et al., "Seesaw Loss for Long-Tailed Instance Segmentation", CVPR 2021, arXiv 2008.10032,
    equations 5 to 8, as MMDetection computes them.

    Args:
        num_classes: Number of classes.
        p: Exponent of the ratio of class counts.
        q: Exponent of the ratio of scores.
    """

    def __init__(self, num_classes: int, p: float = 0.8, q: float = 2.0):
        super().__init__(name="seesaw")
        self.p, self.q = p, q
        self.counts = keras.Variable(tf.zeros(num_classes), trainable=False, name="counts")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Losses of logits `(batch_size, num_classes)`, `(batch_size,)`."""
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        one_hot = tf.one_hot(labels, y_pred.shape[-1])
        self.counts.assign_add(tf.reduce_sum(one_hot, axis=0))
        counts = tf.maximum(tf.convert_to_tensor(self.counts), 1.0)
        ratio = counts[tf.newaxis, :] / counts[:, tf.newaxis]
        mitigation = tf.gather(tf.where(ratio < 1.0, ratio**self.p, 1.0), labels)
        scores = tf.nn.softmax(tf.stop_gradient(y_pred))
        own = tf.maximum(tf.gather(scores, labels, batch_dims=1), 1e-2)
        excess = scores / own[:, tf.newaxis]
        compensation = tf.where(excess > 1.0, excess**self.q, 1.0)
        shift = tf.math.log(mitigation * compensation + 1e-2) * (1.0 - one_hot)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y_pred + shift)
