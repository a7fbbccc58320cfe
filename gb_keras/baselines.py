"""What gradient balance is compared with: losses for long tails, hard samples, wrong labels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from gb_keras.losses import GradientBalancedLoss
from gb_keras.multi_label_losses import AsymmetricLoss as AsymmetricLoss
from gb_keras.multi_label_losses import DistributionBalancedLoss as DistributionBalancedLoss
from gb_keras.multi_label_losses import (
    PositiveWeightedCrossentropy as PositiveWeightedCrossentropy,
)
from gb_keras.normalized_dense import NormalizedDense as NormalizedDense
from gb_keras.online_losses import EqualizationLossV2 as EqualizationLossV2
from gb_keras.online_losses import OnlineLoss as OnlineLoss
from gb_keras.online_losses import SeesawLoss as SeesawLoss
from gb_keras.reweighting import ClassWeightedLoss as ClassWeightedLoss
from gb_keras.reweighting import DeferredReweighting as DeferredReweighting
from gb_keras.reweighting import checked_counts, crossentropy, labels_and_logits
from gb_keras.reweighting import class_balanced_weights as class_balanced_weights
from gb_keras.robust_losses import GeneralisedCrossentropy as GeneralisedCrossentropy
from gb_keras.robust_losses import LabelSmoothedCrossentropy as LabelSmoothedCrossentropy
from gb_keras.robust_losses import SymmetricCrossentropy as SymmetricCrossentropy


@keras.saving.register_keras_serializable(package="gb_keras")
class LogitAdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits shifted by the log class prior, for integer, one-hot or soft labels.

        loss = cross_entropy(y, z + tau * log pi),    pi_c = n_c / sum_k n_k

    The model learns to lead by the log prior where a class is rare, so that its plain logits
    favour no class: with `tau = 1` they are consistent with the balanced error. A class without
    samples counts as half a sample. With `tau = 1` it is also the balanced softmax of Ren et al.
    (NeurIPS 2020, arXiv 2007.10740): their `n_c exp(z_c) / sum_k n_k exp(z_k)` is the same.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`.
        tau: Scale of the shift, at least 0.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Example:
        >>> loss = LogitAdjustedCrossentropy([90, 10])
        >>> float(loss([1], [[0.0, 0.0]]))  # -log(0.1)
        2.3026

    Reference: Menon et al., Long-tail learning via logit adjustment, ICLR 2021, arXiv 2007.07314.
    """

    # What it takes, for those who read its gradient.
    from_logits = True

    def __init__(
        self,
        class_counts: Sequence[int],
        tau: float = 1.0,
        name: str = "logit_adjusted_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        counts = checked_counts(class_counts)
        if not tau >= 0:
            raise ValueError(f"Expected tau of at least 0. Received: tau={tau!r}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_counts = [int(count) for count in counts]
        self.tau = tau
        smoothed = np.maximum(counts, 0.5)
        self._shift = tau * np.log(smoothed / smoothed.sum())

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of logits `(..., num_classes)` and labels of that shape or `(...)`."""
        labels, logits = labels_and_logits(y_true, y_pred, len(self.class_counts), soft=True)
        return crossentropy(labels, logits + ops.convert_to_tensor(self._shift, logits.dtype))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "class_counts": list(self.class_counts),
            "tau": self.tau,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable(package="gb_keras")
class LDAMLoss(keras.losses.Loss):
    """Label-distribution-aware margin: rare classes must win by a wider margin.

        loss = cross_entropy(y, z - scale * margin_y * onehot(y)),
        margin_c = max_margin * n_c^(-1/4) / max_k n_k^(-1/4)

    The authors' model ends in a normalised layer whose outputs are cosines, and their loss
    multiplies `cosine - margin` by `scale = 30`. Here the layer multiplies (see
    `NormalizedDense(num_classes, scale=30)`), and the loss takes
    `z = scale * cosine`: the same value, `scale * cosine - scale * margin`, while the model's
    outputs stay logits whose softmax is its probability. With a plain `Dense` layer say
    `scale=1`: margins then count in logits, as in the paper's equations.

    Args:
        class_counts: Training samples of each class, `(num_classes,)`. A class without samples
            has the widest margin.
        max_margin: Margin of the rarest class, at least 0, in units of the cosine.
        scale: Factor from cosines to the model's logits, above 0.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Example:
        The rarest class has margin 0.5; one with 16 times its samples half of that:

        >>> LDAMLoss([160, 10]).margins
        [0.25, 0.5]

    Reference: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
        NeurIPS 2019, arXiv 1906.07413.
    """

    def __init__(
        self,
        class_counts: Sequence[int],
        max_margin: float = 0.5,
        scale: float = 30.0,
        name: str = "ldam_loss",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        counts = checked_counts(class_counts)
        if not max_margin >= 0:
            raise ValueError(f"Expected max_margin of at least 0. Received: {max_margin!r}")
        if not scale > 0:
            raise ValueError(f"Expected scale above 0. Received: scale={scale!r}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_counts = [int(count) for count in counts]
        self.max_margin = max_margin
        self.scale = scale
        rarest = counts[counts > 0].min()
        self.margins = (max_margin * (rarest / np.maximum(counts, rarest)) ** 0.25).tolist()

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        num_classes = len(self.class_counts)
        labels, logits = labels_and_logits(y_true, y_pred, num_classes)
        margins = ops.convert_to_tensor(self.margins, logits.dtype)
        of_label = ops.one_hot(labels, num_classes, dtype=logits.dtype) * margins
        return crossentropy(labels, logits - self.scale * of_label)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "class_counts": list(self.class_counts),
            "max_margin": self.max_margin,
            "scale": self.scale,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable(package="gb_keras")
class SparseCategoricalFocalCrossentropy(keras.losses.Loss):
    """Focal loss of logits for integer labels: what is easy counts less.

        loss = (1 - p_y)^gamma * cross_entropy(y, z)

    Keras's own `CategoricalFocalCrossentropy` asks for one-hot labels; this one agrees with it at
    `alpha=1, from_logits=True`.

    Args:
        gamma: How much less easy samples count, at least 0; 0 is cross-entropy.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Example:
        >>> loss = SparseCategoricalFocalCrossentropy(gamma=2.0)
        >>> float(loss([0], [[0.0, 0.0]]))  # 0.5^2 * log(2)
        0.1733

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    """

    from_logits = True  # So that a `GradientBalancedLoss` can balance it.

    def __init__(
        self,
        gamma: float = 2.0,
        name: str = "sparse_categorical_focal_crossentropy",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not gamma >= 0:
            raise ValueError(f"Expected gamma of at least 0. Received: gamma={gamma!r}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        labels, logits = labels_and_logits(y_true, y_pred)
        losses = crossentropy(labels, logits)
        # p_y = exp(-loss). Not quite down to 0, where a power below 1 has no finite slope.
        difficulty = ops.maximum(-ops.expm1(-losses), keras.config.epsilon())
        return ops.power(difficulty, self.gamma) * losses

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {**super().get_config(), "gamma": self.gamma, "dtype": self.dtype}


def ghm_c(
    bins: int = 30, momentum: float = 0.75, loss: keras.losses.Loss | None = None
) -> GradientBalancedLoss:
    """Gradient harmonizing of classification (GHM-C) with a softmax, from logits.

    A corner of `GradientBalancedLoss`: densities fully inverted, no cap, no class margin.

    Args:
        bins: Unit regions of the gradient norm.
        momentum: Momentum of the moving average of the density; the authors' code takes 0.75.
        loss: What is balanced in the place of sparse softmax cross-entropy, such as the binary
            cross-entropy of the paper, where every logit is a sample.

    Returns:
        A loss for a `GradientBalancedModel`.

    Example:
        >>> ghm_c().density_exponent
        1.0

    Reference: Li, Liu, Wang, Gradient Harmonized Single-stage Detector, AAAI 2019,
        arXiv 1811.05181.
    """
    return GradientBalancedLoss(
        loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        bins=bins,
        momentum=momentum,
        density_exponent=1.0,
        prior_strength=0.0,
        max_weight=None,
        noise_exponent=0.0,
        label_smoothing=0.0,
        name="ghm_c",
    )
