"""Losses to compare with in multi-label training: one for each entry, so that each has a weight."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class _PerEntry:
    """Keras's losses average over the last axis; over one of length 1 that leaves each entry."""

    # What it gives, for those who read its gradient.
    multi_label = True

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(..., num_classes)` of labels and logits `(..., num_classes)`."""
        return super().call(y_true[..., tf.newaxis], y_pred[..., tf.newaxis])  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="gb_keras")
class BinaryCrossentropy(_PerEntry, keras.losses.BinaryCrossentropy):
    """Keras's binary cross-entropy, which takes sample weights `(batch_size, num_classes)`.

    Args:
        from_logits: Whether predictions are logits; else they are probabilities.
        label_smoothing: Share of each label that is spread to yes and no, in [0, 1].
        axis: Not used: each entry has a loss of its own.
        reduction: As for any Keras loss.
        name: Name of the loss.
        dtype: Type of the computation.

    Example:
        >>> loss = BinaryCrossentropy(from_logits=True, reduction=None)
        >>> labels = tf.constant([[1.0, 0.0]])
        >>> loss(labels, tf.zeros((1, 2)), sample_weight=labels).numpy().tolist()
        [[0.6931, 0.0]]
    """


@keras.saving.register_keras_serializable(package="gb_keras")
class BinaryFocalCrossentropy(_PerEntry, keras.losses.BinaryFocalCrossentropy):
    """Keras's binary focal loss, which takes sample weights `(batch_size, num_classes)`.

    Args:
        apply_class_balancing: Whether positives are weighted by `alpha`, negatives by `1 - alpha`.
        alpha: See there.
        gamma: How much less easy entries count, at least 0.
        from_logits: Whether predictions are logits; else they are probabilities.
        label_smoothing: Share of each label that is spread to yes and no, in [0, 1].
        axis: Not used: each entry has a loss of its own.
        reduction: As for any Keras loss.
        name: Name of the loss.
        dtype: Type of the computation.

    Example:
        >>> loss = BinaryFocalCrossentropy(gamma=2.0, from_logits=True, reduction=None)
        >>> loss(tf.constant([[1.0, 0.0]]), tf.zeros((1, 2))).numpy().tolist()  # 0.5^2 * log(2)
        [[0.1733, 0.1733]]

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    """


@keras.saving.register_keras_serializable(package="gb_keras")
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

    # What it takes and gives, for those who read its gradient.
    from_logits = True
    multi_label = True

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


@keras.saving.register_keras_serializable(package="gb_keras")
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

    # What it takes and gives, for those who read its gradient.
    from_logits = True
    multi_label = True

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


@keras.saving.register_keras_serializable(package="gb_keras")
class DistributionBalancedLoss(keras.losses.Loss):
    """Focal binary cross-entropy that heeds which labels go together, and spares negatives.

    With `n_c` of `N` images showing class `c`, an entry of an image that shows the classes `K` has
    the weight

        r_c = 0.1 + sigmoid(10 (1 / n_c / sum_{k in K} 1 / n_k - mu))

    and, of the logit `z_c` and `v_c = -kappa log(N / n_c - 1) / scale`, the loss

        present:  2 r_c (1 - p)^gamma * -log p,            p = sigmoid(z_c + v_c)
        absent:   2 r_c / scale * q^gamma * -log(1 - q),   q = sigmoid(scale (z_c + v_c))

    Args:
        class_counts: Training images that show each class, `(num_classes,)`. Classes without one
            count as having one.
        num_images: Training images, `N`, more than any class has.
        mu: Share from which on a class counts as rare in its image.
        scale: How much sooner a negative has been pressed down enough, above 0.
        kappa: Scale of the bias from class frequencies.
        gamma: How much less easy entries count, at least 0.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Raises:
        ValueError: No class counts, or as many images of a class as there are.

    Example:
        >>> loss = DistributionBalancedLoss([50, 50], num_images=100, gamma=0.0, reduction=None)
        >>> labels = tf.constant([[1.0, 0.0]])
        >>> loss(labels, tf.zeros((1, 2))).numpy().tolist()  # r = 0.1 + sigmoid(8)
        [[1.5245, 0.7623]]

    References:
        Wu, Huang, Liu, Wang, Lin, Distribution-Balanced Loss for Multi-Label Classification in
        Long-Tailed Datasets, ECCV 2020, arXiv 2007.09654; focal part, bias over scale and the
        values for COCO from the authors' code, github.com/wutong16/DistributionBalancedLoss. Their
        class-aware sampling is not part of the loss.
    """

    # What it takes and gives, for those who read its gradient.
    from_logits = True
    multi_label = True

    def __init__(
        self,
        class_counts: Sequence[int],
        num_images: int,
        mu: float = 0.2,
        scale: float = 2.0,
        kappa: float = 0.05,
        gamma: float = 2.0,
        name: str = "distribution_balanced_loss",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ):
        counts = np.maximum(np.asarray(class_counts, dtype="float64"), 1.0)
        if counts.ndim != 1 or not counts.size or counts.max() >= num_images:
            raise ValueError(
                "Expected the number of images that show each class, each less than num_images. "
                f"Received: class_counts={class_counts!r}, num_images={num_images!r}."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_counts = [int(count) for count in class_counts]
        self.num_images = int(num_images)
        self.mu = mu
        self.scale = scale
        self.kappa = kappa
        self.gamma = gamma
        self._inverse = 1.0 / counts
        self._bias = -kappa * np.log(num_images / counts - 1.0) / scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(..., num_classes)` of labels and logits `(..., num_classes)`."""
        inverse = ops.convert_to_tensor(self._inverse, y_pred.dtype)
        of_image = ops.sum(y_true * inverse, axis=-1, keepdims=True)
        # Where an image shows nothing, every class is all there is.
        share = ops.where(of_image > 0, inverse / ops.maximum(of_image, 1e-12), 1e6)
        weights = 0.1 + ops.sigmoid(10.0 * (share - self.mu))
        logits = y_pred + ops.convert_to_tensor(self._bias, y_pred.dtype)
        # Towards the right answer: of a negative steeper, and counting as much less.
        signed = ops.where(y_true > 0.5, logits, -self.scale * logits)
        weights = ops.where(y_true > 0.5, weights, weights / self.scale)
        wrong = ops.maximum(ops.sigmoid(-signed), keras.config.epsilon())
        return -2.0 * weights * ops.power(wrong, self.gamma) * ops.log_sigmoid(signed)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "class_counts": list(self.class_counts),
            "num_images": self.num_images,
            "mu": self.mu,
            "scale": self.scale,
            "kappa": self.kappa,
            "gamma": self.gamma,
            "dtype": self.dtype,
        }
