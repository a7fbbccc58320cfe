"""Metrics of multi-label models while they train; an entry is one class of one image."""

from typing import Any

import keras
from keras import ops


class _RightEntries(keras.metrics.Metric):
    """How many positive and negative entries of each class are right; a subclass averages them.

    `counts` is `(2, 2, num_classes)`: of negatives and positives those that are right, and all.
    """

    # So that callbacks know without a `mode` that more is better.
    _direction = "up"

    def __init__(self, name: str, from_logits: bool = True, dtype: Any = None):
        # Counts outgrow half precision at 2,048 entries.
        super().__init__(name=name, dtype=dtype or "float32")
        self.from_logits = from_logits
        # Made at the first batch, which shows the number of classes.
        self.counts: Any = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: Labels, 0 or 1, `(..., num_classes)`.
            y_pred: Logits or probabilities, `(..., num_classes)`.
            sample_weight: Weights that broadcast to `(..., num_classes)`, 0 for entries whose label
                is not known; or `(...)`, one for each image; or None.
        """
        y_true, y_pred = (ops.convert_to_tensor(each, self.dtype) for each in (y_true, y_pred))
        num_classes = y_pred.shape[-1]
        if self.counts is None:
            shape = (2, 2, num_classes)
            self.counts = self.add_variable(shape, "zeros", self.dtype, name="counts")
        positive = y_true >= 0.5
        right = ops.cast(positive == (y_pred > (0.0 if self.from_logits else 0.5)), self.dtype)
        weights = ops.ones_like(right)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, self.dtype)
            if len(sample_weight.shape) < len(right.shape):
                sample_weight = ops.expand_dims(sample_weight, axis=-1)
            weights *= sample_weight
        of_sign = [weights * ops.cast(sign, self.dtype) for sign in (~positive, positive)]
        sums = [
            ops.sum(ops.reshape(each, (-1, num_classes)), axis=0)
            for entries in of_sign
            for each in (entries * right, entries)
        ]
        self.counts.assign(self.counts + ops.reshape(ops.stack(sums), (2, 2, num_classes)))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this metric."""
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="gb_keras")
class MultiLabelAccuracy(_RightEntries):
    """Share of the known entries that are right at probability 0.5.

    With many classes nearly all entries are negative, so that saying no to everything is right
    nearly always; `MultiLabelBalancedAccuracy` is not misled.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits; else they are probabilities.
        dtype: Type of the counts.

    Example:
        >>> metric = MultiLabelAccuracy()
        >>> metric.update_state([[1, 0, 0, 0]], [[-1.0, -1.0, -1.0, -1.0]])
        >>> float(metric.result())
        0.75
    """

    def __init__(self, name: str = "accuracy", from_logits: bool = True, dtype: Any = None):
        super().__init__(name=name, from_logits=from_logits, dtype=dtype)

    def result(self) -> Any:
        """Accuracy in [0, 1]; 0 before the first entry."""
        if self.counts is None:
            return ops.zeros((), self.dtype)
        right, all_of_them = ops.unstack(ops.sum(self.counts, axis=(0, 2)), 2)
        return ops.divide_no_nan(right, all_of_them)


@keras.saving.register_keras_serializable(package="gb_keras")
class MultiLabelBalancedAccuracy(_RightEntries):
    """Mean over classes of the mean recall of their positive and of their negative entries.

    Classes of which no positive or no negative entry was seen are left out. Whoever says no to
    everything has 0.5.

    Args:
        name: Name of the metric.
        from_logits: Whether predictions are logits; else they are probabilities.
        dtype: Type of the counts.

    Example:
        >>> metric = MultiLabelBalancedAccuracy()
        >>> metric.update_state([[1, 0], [0, 1], [0, 1]], [[-1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])
        >>> float(metric.result())
        0.75

    Reference: Brodersen et al., The Balanced Accuracy and Its Posterior Distribution, ICPR 2010.
    """

    def __init__(
        self, name: str = "balanced_accuracy", from_logits: bool = True, dtype: Any = None
    ):
        super().__init__(name=name, from_logits=from_logits, dtype=dtype)

    def result(self) -> Any:
        """Balanced accuracy in [0, 1]; 0 before a class has entries of both signs."""
        if self.counts is None:
            return ops.zeros((), self.dtype)
        right, all_of_them = self.counts[:, 0], self.counts[:, 1]
        seen = ops.cast(ops.all(all_of_them > 0, axis=0), self.dtype)
        recalls = ops.mean(ops.divide_no_nan(right, all_of_them), axis=0)
        return ops.divide_no_nan(ops.sum(recalls * seen), ops.sum(seen))
