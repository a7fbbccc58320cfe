"""Cross-entropy made milder, of logits and integer labels: for labels that may be wrong."""

from typing import Any

import keras
from keras import ops

from gb_keras.reweighting import crossentropy, labels_and_logits


@keras.saving.register_keras_serializable(package="gb_keras")
class LabelSmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy with a part of each label spread over all classes, for integer labels.

        loss = (1 - s) * cross_entropy(y, z) - s * mean_k log p_k,    p = softmax(z)

    No label is believed to the end, so that logits stay bounded. Keras smooths one-hot labels
    (`CategoricalCrossentropy(label_smoothing=s)`); this is the same loss.

    Args:
        smoothing: Part of the label that is spread, `s`, in [0, 1); 0 is cross-entropy.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Raises:
        ValueError: `smoothing` out of its range.

    Example:
        >>> loss = LabelSmoothedCrossentropy(0.1)
        >>> float(loss([0], [[2.0, 0.0]]))  # 0.95 * log(1 + exp(-2)) + 0.05 * log(1 + exp(2))
        0.2269

    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR
        2016, arXiv 1512.00567.
    """

    from_logits = True  # So that a `GradientBalancedLoss` can balance it; so for all losses here.

    def __init__(
        self,
        smoothing: float = 0.1,
        name: str = "label_smoothed_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not 0 <= smoothing < 1:
            raise ValueError(
                f"Expected smoothing in [0, 1), 1 excluded. Received: smoothing={smoothing!r}. "
                "The authors take 0.1."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        labels, logits = labels_and_logits(y_true, y_pred)
        of_all_classes = -ops.mean(ops.log_softmax(logits), axis=-1)
        of_label = crossentropy(labels, logits)
        return (1.0 - self.smoothing) * of_label + self.smoothing * of_all_classes

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {**super().get_config(), "smoothing": self.smoothing, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="gb_keras")
class GeneralisedCrossentropy(keras.losses.Loss):
    """Between cross-entropy and absolute error, for integer labels: bounded, so noise is, too.

        loss = (1 - p_y^q) / q,    p = softmax(z)

    Its gradient is that of cross-entropy times `p_y^q`: what the model does not believe pulls
    less. Keras has this loss for probabilities (`CategoricalGeneralizedCrossEntropy`); from
    logits nothing is lost where `p_y` is near 0 or 1. The authors also study a truncated form,
    which drops samples below `p_y = 0.5` between the epochs; this is the plain one.

    Args:
        q: From towards 0, cross-entropy, to 1, which is `1 - p_y`.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Raises:
        ValueError: `q` out of its range.

    Example:
        >>> loss = GeneralisedCrossentropy(q=0.7)
        >>> float(loss([0], [[0.0, 0.0]]))  # (1 - 0.5^0.7) / 0.7
        0.5492

    Reference: Zhang, Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks
        with Noisy Labels, NeurIPS 2018, arXiv 1805.07836.
    """

    from_logits = True

    def __init__(
        self,
        q: float = 0.7,
        name: str = "generalised_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not 0 < q <= 1:
            raise ValueError(
                f"Expected q in (0, 1], 0 excluded. Received: q={q!r}. The authors take 0.7; the "
                "limit of 0 is 'sparse_categorical_crossentropy'."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.q = q

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        labels, logits = labels_and_logits(y_true, y_pred)
        # p_y^q = exp(-q * cross_entropy).
        return -ops.expm1(-self.q * crossentropy(labels, logits)) / self.q

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {**super().get_config(), "q": self.q, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="gb_keras")
class SymmetricCrossentropy(keras.losses.Loss):
    """Cross-entropy plus its mirror image, in which prediction and label change places.

        loss = alpha * cross_entropy(y, z) + beta * reverse,
        reverse = -sum_k p_k log onehot(y)_k = -A * (1 - p_y),    p = softmax(z)

    where the logarithm of 0 is set to a number `A` below 0. The first part converges, the second
    tolerates noise. The defaults are the paper's for CIFAR-10, its main data set; for the 100
    classes of CIFAR-100 it takes `alpha=6, beta=0.1`. `A = -4` is what the paper states; the
    authors' program clips labels at 1e-4 instead, whose natural logarithm is -9.2. Since `beta`
    and `A` only appear as a product, their program is `beta=2.3` here.

    Args:
        alpha: Weight of the cross-entropy, at least 0.
        beta: Weight of the reverse cross-entropy, at least 0.
        log_zero: The number for the logarithm of 0, `A`, below 0.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Raises:
        ValueError: An argument out of its range.

    Example:
        >>> loss = SymmetricCrossentropy()
        >>> float(loss([0], [[0.0, 0.0]]))  # 0.1 * log(2) + 4 * 0.5
        2.0693

    Reference: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV
        2019, arXiv 1908.06112.
    """

    from_logits = True

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 1.0,
        log_zero: float = -4.0,
        name: str = "symmetric_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not (alpha >= 0 and beta >= 0):
            raise ValueError(
                "Expected alpha and beta of at least 0. Received: "
                f"alpha={alpha!r}, beta={beta!r}. The authors take 0.1 and 1 for 10 classes."
            )
        if not log_zero < 0:
            raise ValueError(
                f"Expected log_zero below 0. Received: log_zero={log_zero!r}. The authors take -4."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = alpha
        self.beta = beta
        self.log_zero = log_zero

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        labels, logits = labels_and_logits(y_true, y_pred)
        forward = crossentropy(labels, logits)
        # 1 - p_y = -expm1(-cross_entropy).
        reverse = self.log_zero * ops.expm1(-forward)
        return self.alpha * forward + self.beta * reverse

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "log_zero": self.log_zero,
            "dtype": self.dtype,
        }
