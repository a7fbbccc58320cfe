"""Weights of classes by their number of samples: fixed, or from a given epoch on."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def class_balanced_weights(class_counts: Sequence[int], beta: float = 0.9999) -> dict[int, float]:
    """Class weights by the effective number of samples, for `fit(class_weight=...)`.

    The more samples of a class there are, the more of them look alike. Of `n` samples

        E_n = (1 - beta^n) / (1 - beta)

    count, and a class weighs `1 / E_n`, scaled so that the mean over classes is 1 (the weights
    sum to the number of classes). `beta = 0` weighs all classes alike, `beta -> 1` by `1 / n`.
    A class without samples gets weight 0 and stays out of the mean.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`.
        beta: How slowly samples become alike, in [0, 1).

    Returns:
        Weight of each class.

    Raises:
        ValueError: `beta` out of its range, or counts that are not at least 0 and not all 0.

    Example:
        >>> class_balanced_weights([9, 1], beta=0.5)
        {0: 0.667, 1: 1.332}

    Reference: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019,
        arXiv 1901.05555.
    """
    counts = checked_counts(class_counts)
    if not 0 <= beta < 1:
        raise ValueError(f"Expected beta in [0, 1), 1 excluded. Received: beta={beta!r}")
    present = counts > 0
    effective = (1.0 - beta**counts) / (1.0 - beta)
    weights = np.where(present, 1.0 / np.where(present, effective, 1.0), 0.0)
    weights *= present.sum() / weights.sum()
    return {index: float(weight) for index, weight in enumerate(weights)}


@keras.saving.register_keras_serializable(package="gb_keras")
class ClassWeightedLoss(keras.losses.Loss):
    """Another loss for integer labels, times a weight of each class that may change in training.

    `fit(class_weight=...)` fixes its weights for the whole training. These are a variable, which
    a callback such as `DeferredReweighting` may assign between the steps of a compiled function.

    Args:
        loss: Name or object of a Keras loss for integer labels.
        class_weights: Weight of each class, `(num_classes,)`, at least 0.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Example:
        >>> cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> loss = ClassWeightedLoss(cross_entropy, [1.0, 2.0])
        >>> _ = loss.class_weights.assign([0.0, 3.0])
        >>> float(loss([1], [[0.0, 0.0]]))  # 3 * log(2)
        2.0794
    """

    def __init__(
        self,
        loss: str | keras.losses.Loss,
        class_weights: Sequence[float],
        name: str = "class_weighted_loss",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.loss = keras.losses.get(loss)
        self.class_weights = keras.Variable(
            list(class_weights), trainable=False, dtype=self.dtype, name="class_weights"
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and outputs `(..., num_classes)`."""
        labels, y_pred = labels_and_logits(y_true, y_pred, self.class_weights.shape[0])
        weights = ops.take(ops.convert_to_tensor(self.class_weights), labels)
        return weights * self.loss.call(labels, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss, with its present weights."""
        return {
            **super().get_config(),
            "loss": keras.losses.serialize(self.loss),
            "class_weights": self.class_weights.numpy().tolist(),
            "dtype": self.dtype,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ClassWeightedLoss":
        """Rebuild a loss from `get_config`."""
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


class DeferredReweighting(keras.callbacks.Callback):
    """Class-balanced weights from a given epoch on, and none before.

    First features are learned from the data as they are, then the classifier is balanced. The
    weights are those of `class_balanced_weights`, scaled to mean 1 over the training samples (as
    the authors' weighted mean does for each batch), so that the step size does not jump. They
    depend on the epoch alone: training resumed at any epoch has the weights it would have had.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`.
        start_epoch: First epoch with weights, counted from 0; the paper takes 160 of 200.
        beta: As for `class_balanced_weights`.

    Raises:
        ValueError: At the start of training, if the model's loss is no `ClassWeightedLoss`.

    Example:
        >>> cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> loss = ClassWeightedLoss(cross_entropy, [1.0, 1.0])
        >>> callback = DeferredReweighting([90, 10], start_epoch=1)
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", loss=loss)
        >>> history = model.fit(
        ...     np.ones((4, 1)), np.array([0, 0, 1, 1]), epochs=2, callbacks=[callback], verbose=0)
        >>> loss.class_weights.numpy().tolist()
        [0.557, 4.99]

    Reference: Cao et al. 2019 (deferred re-weighting), arXiv 1906.07413; weights by Cui et al.
        2019, arXiv 1901.05555.
    """

    def __init__(self, class_counts: Sequence[int], start_epoch: int, beta: float = 0.9999):
        super().__init__()
        counts = checked_counts(class_counts)
        weights = np.array(list(class_balanced_weights(class_counts, beta).values()))
        self.class_weights = weights * counts.sum() / (weights * counts).sum()
        self.start_epoch = start_epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that the model's loss has weights to assign."""
        if not isinstance(self.model.loss, ClassWeightedLoss):
            raise ValueError(
                "Expected a model compiled with a gb_keras ClassWeightedLoss. Received: "
                f"loss={self.model.loss!r}. Compile with ClassWeightedLoss(loss, [1.0] * classes)."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assign the weights of this epoch."""
        started = epoch >= self.start_epoch
        self.model.loss.class_weights.assign(
            self.class_weights if started else np.ones_like(self.class_weights)
        )


def checked_counts(class_counts: Sequence[int]) -> np.ndarray:
    """Class counts as float64 `(num_classes,)`; an error where they make no sense.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`.

    Raises:
        ValueError: A negative count, none above 0, or no list.
    """
    counts = np.asarray(class_counts, dtype="float64")
    if counts.ndim != 1 or not (counts >= 0).all() or not counts.sum() > 0:
        raise ValueError(
            "Expected the number of training samples of each class, a list of numbers from 0, not "
            f"all 0. Received: class_counts={class_counts!r}"
        )
    return counts


def crossentropy(labels: Any, logits: Any) -> Any:
    """Softmax cross-entropy `(...)`, before any reduction.

    Args:
        labels: Integer labels, `(...)`, or shares of classes, `(..., num_classes)`.
        logits: Logits, `(..., num_classes)`.
    """
    if len(labels.shape) == len(logits.shape):
        return keras.losses.categorical_crossentropy(labels, logits, from_logits=True)
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def labels_and_logits(
    y_true: Any, y_pred: Any, num_classes: int | None = None, soft: bool = False
) -> tuple[Any, Any]:
    """Integer labels `(...)` and logits `(..., num_classes)`, checked against each other.

    Args:
        y_true: Integer labels, `(...)` or `(..., 1)`.
        y_pred: Logits, `(..., num_classes)`.
        num_classes: Number of classes that there must be, or None.
        soft: Whether `y_true` may also be shares of classes, `(..., num_classes)`, which are then
            returned in the type of the logits.

    Raises:
        ValueError: Another number of classes, or labels of another shape.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if num_classes is not None and y_pred.shape[-1] != num_classes:
        raise ValueError(
            f"Expected logits of {num_classes} classes, as many as class counts or weights were "
            f"given. Received logits of shape {tuple(y_pred.shape)}."
        )
    if soft and len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1]:
        return ops.cast(y_true, y_pred.dtype), y_pred
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, axis=-1)
    if len(y_true.shape) != len(y_pred.shape) - 1:
        raise ValueError(
            f"Expected integer labels of shape {tuple(y_pred.shape[:-1])}. Received shape "
            f"{tuple(y_true.shape)}. Take the argmax of one-hot labels."
        )
    return ops.cast(y_true, "int32"), y_pred
