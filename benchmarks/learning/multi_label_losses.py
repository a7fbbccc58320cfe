"""Peers' losses for multi-label training: one loss for each entry, so that each has a weight."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops


class _PerEntry:
    """Keras's losses average over the last axis; over one of length 1 that leaves each entry."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(..., num_classes)` of labels and logits `(..., num_classes)`."""
        return super().call(y_true[..., tf.newaxis], y_pred[..., tf.newaxis])  # type: ignore[misc]


class BinaryCrossentropy(_PerEntry, keras.losses.BinaryCrossentropy):
    """Keras's binary cross-entropy, which takes sample weights `(batch_size, num_classes)`.

    Example:
        >>> loss = BinaryCrossentropy(from_logits=True, reduction=None)
        >>> labels = tf.constant([[1.0, 0.0]])
        >>> loss(labels, tf.zeros((1, 2)), sample_weight=labels).numpy().tolist()
        [[0.6931, 0.0]]
    """


class BinaryFocalCrossentropy(_PerEntry, keras.losses.BinaryFocalCrossentropy):
    """Keras's binary focal loss, which takes sample weights `(batch_size, num_classes)`.

    Example:
        >>> loss = BinaryFocalCrossentropy(gamma=2.0, from_logits=True, reduction=None)
        >>> loss(tf.constant([[1.0, 0.0]]), tf.zeros((1, 2))).numpy().tolist()  # 0.5^2 * log(2)
        [[0.1733, 0.1733]]

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    """


class PositiveWeightedCrossentropy(keras.losses.Loss):
    """Binary cross-entropy whose positive entries have a weight of their class.

    TensorFlow has it as a function, `tf.nn.weighted_cross_entropy_with_logits`; Keras's
    `class_weight` is for one label of each image.

    Args:
        positive_weights: Weight of the positive entries of each class, `(num_classes,)`.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Example:
        >>> loss = PositiveWeightedCrossentropy([3.0, 3.0], reduction=None)
        >>> loss(tf.constant([[1.0, 0.0]]), tf.zeros((1, 2))).numpy().tolist()
        [[2.0794, 0.6931]]
    """

    def __init__(
        self,
        positive_weights: Sequence[float],
        name: str = "positive_weighted_crossentropy",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.positive_weights = [float(weight) for weight in positive_weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(..., num_classes)` of labels and logits `(..., num_classes)`."""
        weights = tf.constant(self.positive_weights, y_pred.dtype)
        return tf.nn.weighted_cross_entropy_with_logits(y_true, y_pred, weights)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "positive_weights": list(self.positive_weights),
            "dtype": self.dtype,
        }


class AsymmetricLoss(keras.losses.Loss):
    """Binary cross-entropy that leaves easy negatives alone, and next to so the hardest (ASL).

        positive entry:  -(1 - p)^gamma_positive * log(p)
        negative entry:  -p_m^gamma_negative * log(1 - p_m),    p_m = max(p - margin, 0)

    with `p = sigmoid(z)`. Negatives below the margin have no loss at all; those of a probability
    near 1, which may be missing labels, press less than in a focal loss.

    Args:
        gamma_positive: How much less easy positives count, at least 0.
        gamma_negative: How much less easy negatives count, at least 0.
        margin: Probability that a negative may have for nothing, in [0, 1).
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Example:
        >>> loss = AsymmetricLoss(reduction=None)
        >>> labels = tf.constant([[1.0, 0.0]])
        >>> loss(labels, tf.zeros((1, 2))).numpy().tolist()  # log(2), -0.45^4 * log(0.55)
        [[0.6931, 0.0245]]

    Reference: Ben-Baruch et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021,
        arXiv 2009.14119, equations 4 to 7; gamma 0 and 4, margin 0.05 as in its experiments.
    """

    def __init__(
        self,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        margin: float = 0.05,
        name: str = "asymmetric_loss",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not (gamma_positive >= 0 and gamma_negative >= 0 and 0 <= margin < 1):
            raise ValueError(
                "Expected gammas of at least 0 and a margin in [0, 1). Received: "
                f"gamma_positive={gamma_positive!r}, gamma_negative={gamma_negative!r}, "
                f"margin={margin!r}. The paper takes 0, 4 and 0.05."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(..., num_classes)` of labels and logits `(..., num_classes)`."""
        # Not quite down to 0, where a power has no finite slope and a logarithm no value.
        least = keras.config.epsilon()
        wrong = ops.maximum(ops.sigmoid(-y_pred), least)
        shifted = ops.maximum(ops.sigmoid(y_pred) - self.margin, least)
        right = ops.maximum(ops.minimum(ops.sigmoid(-y_pred) + self.margin, 1.0), least)
        positive = -ops.power(wrong, self.gamma_positive) * ops.log_sigmoid(y_pred)
        negative = -ops.power(shifted, self.gamma_negative) * ops.log(right)
        return y_true * positive + (1.0 - y_true) * negative

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "gamma_positive": self.gamma_positive,
            "gamma_negative": self.gamma_negative,
            "margin": self.margin,
            "dtype": self.dtype,
        }
