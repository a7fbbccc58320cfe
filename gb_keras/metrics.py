"""Metrics for many unevenly filled classes: balanced accuracy, recall by shot, calibration."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

SHOTS = ("many", "medium", "few")


def shots(class_counts: Sequence[int], many: int = 100, few: int = 20) -> list[str]:
    """Name the shot of each class: `"many"`, `"medium"` or `"few"` training samples.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`.
        many: Classes with more samples than this are many-shot.
        few: Classes with fewer samples than this are few-shot; those between are medium-shot.

    Returns:
        One of `SHOTS` for each class.

    Raises:
        ValueError: `few` is larger than `many`, or a count is negative.

    Example:
        >>> shots([500, 100, 20, 19])
        ['many', 'medium', 'medium', 'few']

    Reference: Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019.
    """
    if few > many:
        raise ValueError(
            "Expected the few-shot threshold to be at most the many-shot threshold. Received: "
            f"few={few}, many={many}. Lower few, or raise many."
        )
    counts = np.asarray(class_counts)
    if counts.ndim != 1 or (counts < 0).any():
        raise ValueError(
            "Expected the number of training samples of each class, a list of numbers from 0. "
            f"Received: class_counts={class_counts!r}."
        )
    return np.select([counts > many, counts < few], ["many", "few"], "medium").tolist()


class _ClassRecalls(keras.metrics.Metric):
    """Running recall of each class; a subclass says which classes it averages."""

    # So that callbacks know without a `mode` that more is better.
    _direction = "up"

    def __init__(self, name: str, dtype: Any = None):
        # Counts outgrow half precision at 2,048 samples.
        super().__init__(name=name, dtype=dtype or "float32")
        # Made at the first batch, which shows the number of classes.
        self.correct: Any = None
        self.total: Any = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: Integer labels `(...)` or `(..., 1)`, where a negative label takes no part; or
                one-hot or soft labels `(..., num_classes)`.
            y_pred: Logits or probabilities, `(..., num_classes)`.
            sample_weight: Weights that broadcast to `(...)` from the left, or None.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        labels = _class_indices(y_true, y_pred)
        weights = _weights(sample_weight, labels, y_pred, self.dtype)
        hits = ops.cast(labels == _predicted_classes(y_pred), self.dtype) * weights
        num_classes = y_pred.shape[-1]
        self._build(num_classes)
        self.correct.assign(self.correct + _sum_by(labels, hits, num_classes))
        self.total.assign(self.total + _sum_by(labels, weights, num_classes))

    def _build(self, num_classes: int) -> None:
        if self.total is None:
            self.correct = self.add_variable((num_classes,), "zeros", self.dtype, name="correct")
            self.total = self.add_variable((num_classes,), "zeros", self.dtype, name="total")
        elif self.total.shape[0] != num_classes:
            raise ValueError(
                f"Expected predictions of {self.total.shape[0]} classes, as before. Received "
                f"{num_classes} classes. Make a new {type(self).__name__} for another model."
            )

    def _mean_recall(self, among: Any) -> Any:
        """Mean recall over the classes seen so far that are also `among` (1 or 0 each)."""
        seen = ops.cast(self.total > 0, self.dtype) * among
        recalls = ops.divide_no_nan(self.correct, self.total) * seen
        return ops.divide_no_nan(ops.sum(recalls), ops.sum(seen))


@keras.saving.register_keras_serializable(package="gb_keras")
class BalancedAccuracy(_ClassRecalls):
    """Mean of the recalls of all classes seen so far: every class counts the same.

    Accuracy of a long tail is the accuracy of its head. This metric is not: a model that always
    answers the most frequent of `C` classes has a balanced accuracy of `1 / C`.

    Args:
        name: Name of the metric.
        dtype: Type of the counts.

    Example:
        >>> metric = BalancedAccuracy()
        >>> metric.update_state([0, 0, 0, 1], [[2.0, 1.0]] * 4)
        >>> float(metric.result())
        0.5

    Reference: Brodersen et al., The Balanced Accuracy and Its Posterior Distribution, ICPR 2010.
    """

    def __init__(self, name: str = "balanced_accuracy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def result(self) -> Any:
        """Balanced accuracy in [0, 1]; 0 before the first sample."""
        if self.total is None:
            return ops.zeros((), self.dtype)
        return self._mean_recall(ops.ones_like(self.total))


@keras.saving.register_keras_serializable(package="gb_keras")
class ShotRecall(_ClassRecalls):
    """Mean recall of the classes with many, medium or few training samples.

    Shows who pays: methods for long tails often win few-shot recall with many-shot recall.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`.
        shot: `"many"`, `"medium"` or `"few"`.
        many: Classes with more samples than this are many-shot.
        few: Classes with fewer samples than this are few-shot; those between are medium-shot.
        name: Name of the metric. Defaults to `"few_shot_recall"` and so on.
        dtype: Type of the counts.

    Raises:
        ValueError: An unknown shot, `few` larger than `many`, or no class in this shot.

    Example:
        >>> metric = ShotRecall([1000, 5, 7], shot="few")
        >>> metric.update_state([0, 1, 2], [[9.0, 0, 0], [9.0, 0, 0], [0, 0, 9.0]])
        >>> metric.name, float(metric.result())
        ('few_shot_recall', 0.5)

    Reference: Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        shot: str,
        many: int = 100,
        few: int = 20,
        name: str | None = None,
        dtype: Any = None,
    ):
        if shot not in SHOTS:
            raise ValueError(f"Expected shot to be one of {SHOTS}. Received: shot={shot!r}.")
        super().__init__(name=name or f"{shot}_shot_recall", dtype=dtype)
        self.class_counts = [int(count) for count in class_counts]
        self.shot = shot
        self.many = many
        self.few = few
        self._among = [float(each == shot) for each in shots(self.class_counts, many, few)]
        if not any(self._among):
            raise ValueError(
                f"Expected at least one {shot}-shot class. Received class_counts from "
                f"{min(self.class_counts, default=0)} to {max(self.class_counts, default=0)} with "
                f"many={many}, few={few}. Leave this metric out, or change the thresholds."
            )
        self._build(len(self.class_counts))

    def result(self) -> Any:
        """Mean recall in [0, 1]; 0 before the first sample of such a class."""
        return self._mean_recall(ops.convert_to_tensor(self._among, dtype=self.dtype))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this metric."""
        return {
            **super().get_config(),
            "class_counts": list(self.class_counts),
            "shot": self.shot,
            "many": self.many,
            "few": self.few,
        }


@keras.saving.register_keras_serializable(package="gb_keras")
class ExpectedCalibrationError(keras.metrics.Metric):
    """How far a model's confidence is from its accuracy, on average over its predictions.

    Predictions are put into `M` equal bins of confidence, the probability of the predicted class;
    bin `m` holds the confidences in `((m - 1) / M, m / M]`:

        ECE = sum_m (n_m / n) * |accuracy(m) - confidence(m)|

    with `n_m` the weight of the samples in bin `m` and `n` that of all.

    Args:
        num_bins: Number of bins, `M`.
        from_logits: Whether predictions are logits; else they are probabilities.
        name: Name of the metric.
        dtype: Type of the sums.

    Raises:
        ValueError: Less than one bin.

    Example:
        >>> metric = ExpectedCalibrationError(from_logits=False)
        >>> metric.update_state([0, 1], [[0.9, 0.1], [0.9, 0.1]])
        >>> float(metric.result())
        0.4

    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    _direction = "down"

    def __init__(
        self,
        num_bins: int = 15,
        from_logits: bool = True,
        name: str = "expected_calibration_error",
        dtype: Any = None,
    ):
        if num_bins < 1:
            raise ValueError(f"Expected at least one bin. Received: num_bins={num_bins}.")
        super().__init__(name=name, dtype=dtype or "float32")
        self.num_bins = num_bins
        self.from_logits = from_logits
        self.total = self.add_variable((num_bins,), "zeros", self.dtype, name="total")
        self.correct = self.add_variable((num_bins,), "zeros", self.dtype, name="correct")
        self.confidence = self.add_variable((num_bins,), "zeros", self.dtype, name="confidence")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: Integer labels `(...)` or `(..., 1)`, where a negative label takes no part; or
                one-hot or soft labels `(..., num_classes)`.
            y_pred: Logits or probabilities, `(..., num_classes)`.
            sample_weight: Weights that broadcast to `(...)` from the left, or None.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        labels = _class_indices(y_true, y_pred)
        weights = _weights(sample_weight, labels, y_pred, self.dtype)
        weights = ops.where(labels < 0, 0.0, weights)
        hits = ops.cast(labels == _predicted_classes(y_pred), self.dtype)
        scores = ops.cast(y_pred, self.dtype)
        confidences = ops.max(ops.softmax(scores) if self.from_logits else scores, axis=-1)
        bins = ops.cast(ops.ceil(confidences * self.num_bins), "int32") - 1
        bins = ops.clip(bins, 0, self.num_bins - 1)
        for variable, values in (
            (self.total, weights),
            (self.correct, hits * weights),
            (self.confidence, confidences * weights),
        ):
            variable.assign(variable + _sum_by(bins, values, self.num_bins))

    def result(self) -> Any:
        """Expected calibration error in [0, 1]; 0 before the first sample."""
        gaps = ops.sum(ops.abs(self.correct - self.confidence))
        return ops.divide_no_nan(gaps, ops.sum(self.total))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this metric."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "from_logits": self.from_logits,
        }


def _class_indices(y_true: Any, y_pred: Any) -> Any:
    """Labels as int32 class indices `(...)`, whatever way they were given."""
    num_classes = y_pred.shape[-1]
    if len(y_pred.shape) < 2 or num_classes is None or num_classes < 2:
        raise ValueError(
            "Expected predictions of shape (batch_size, ..., num_classes) with at least 2 classes. "
            f"Received shape {tuple(y_pred.shape)}. Give a yes-or-no model two outputs."
        )
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == num_classes:
        return ops.cast(ops.argmax(y_true, axis=-1), "int32")
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        return ops.cast(ops.squeeze(y_true, axis=-1), "int32")
    if len(y_true.shape) == len(y_pred.shape) - 1:
        return ops.cast(y_true, "int32")
    raise ValueError(
        f"Expected labels of shape {tuple(y_pred.shape[:-1])} (integers) or "
        f"{tuple(y_pred.shape)} (one-hot). Received shape {tuple(y_true.shape)}."
    )


def _predicted_classes(y_pred: Any) -> Any:
    return ops.cast(ops.argmax(y_pred, axis=-1), "int32")


def _weights(sample_weight: Any, labels: Any, y_pred: Any, dtype: str) -> Any:
    """Weight of each label, `(...)`; 0 where Keras masks the prediction (padding)."""
    weights = ops.ones_like(labels, dtype=dtype)
    mask = getattr(y_pred, "_keras_mask", None)
    for factor in (sample_weight, mask):
        if factor is None:
            continue
        factor = ops.cast(factor, dtype)
        if len(factor.shape) == len(labels.shape) + 1 and factor.shape[-1] == 1:
            factor = ops.squeeze(factor, axis=-1)
        for _ in range(len(labels.shape) - len(factor.shape)):
            factor = ops.expand_dims(factor, axis=-1)
        weights = weights * factor
    return weights


def _sum_by(groups: Any, values: Any, num_groups: int) -> Any:
    """Sum of `values` in each group; a negative group is left out."""
    return ops.segment_sum(ops.reshape(values, [-1]), ops.reshape(groups, [-1]), num_groups)
