"""Losses by name: what each one needs beside the loss itself to be trained as published."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from gb_keras import baselines
from gb_keras.losses import GradientBalancedLoss
from gb_keras.names import require_name

# The authors of LDAM-DRW start the weights at epoch 160 of 200.
DEFERRED_START = 0.8


@dataclasses.dataclass(frozen=True)
class Method:
    """How to train with a loss.

    Attributes:
        loss: The loss to compile with, of logits and integer labels.
        balanced: Whether the model must be a `GradientBalancedModel`.
        class_weight: For `fit(class_weight=...)`, or None.
        logit_scale: Scale of a normalised classifier, or None for a plain `Dense` one.
        callbacks: Callbacks that belong to the method.
        class_sampling: Share of each class in an epoch, `(num_classes,)`, or None for the share
            that it has in the data.
    """

    loss: keras.losses.Loss
    balanced: bool = False
    class_weight: dict[int, float] | None = None
    logit_scale: float | None = None
    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    class_sampling: tuple[float, ...] | None = None

    @property
    def observable(self) -> bool:
        """Whether gradient norms can be watched: in [0, 1], and left alone by being read."""
        return self.logit_scale is None and not isinstance(self.loss, baselines.OnlineLoss)


def names() -> list[str]:
    """Names that `method` knows.

    Example:
        >>> ", ".join(names())
        'cross_entropy, label_smoothing, generalised_cross_entropy, symmetric_cross_entropy, focal,
        class_balanced, square_root_resampling, logit_adjustment, ldam_drw, equalization_v2, seesaw,
        ghm_c, gradient_balanced'
    """
    return list(_METHODS)


def method(
    name: str,
    class_counts: Sequence[int],
    epochs: int,
    soft_labels: bool = False,
    **balance: Any,
) -> Method:
    """The method of a name, made for a data set and a length of training.

    | name | what |
    |---|---|
    | `cross_entropy` | softmax cross-entropy |
    | `label_smoothing` | cross-entropy, a tenth of the label spread (Szegedy et al. 2016) |
    | `generalised_cross_entropy` | bounded cross-entropy, q 0.7 (Zhang and Sabuncu 2018) |
    | `symmetric_cross_entropy` | and its reverse, alpha 0.1, beta 1, A -4 (Wang et al. 2019) |
    | `focal` | focal loss, gamma 2 (Lin et al. 2017) |
    | `class_balanced` | cross-entropy, classes weighted by effective number (Cui et al. 2019) |
    | `square_root_resampling` | cross-entropy, classes by root of count (Mahajan et al. 2018) |
    | `logit_adjustment` | cross-entropy with the log class prior, tau 1 (Menon et al. 2021) |
    | `ldam_drw` | margins, normalised classifier, weights in the last fifth (Cao et al. 2019) |
    | `equalization_v2` | sigmoids, balanced by their gradients so far (Tan et al. 2021) |
    | `seesaw` | frequent classes press less on rare ones, p 0.8, q 2 (Wang et al. 2021) |
    | `ghm_c` | density of gradient norms fully inverted (Li et al. 2019) |
    | `gradient_balanced` | this project's loss |

    Balanced softmax (Ren et al. 2020) is `logit_adjustment`: with tau 1 they are the same loss.

    Args:
        name: One of `names()`.
        class_counts: Training samples of each class, `(num_classes,)`.
        epochs: Number of epochs of the whole training.
        soft_labels: Whether labels will be shares of classes, `(batch, num_classes)`.
        **balance: Options of balancing instead of the method's own defaults, of those that it
            takes, see `gb_keras.stages.balance_options.defaults`.

    Raises:
        ValueError: There is no method of this name, or none that takes soft labels.
    """
    require_name("loss", name, _METHODS)
    chosen = _METHODS[name](class_counts, epochs, **balance)
    if not soft_labels:
        return chosen
    require_soft_labels(name)
    return dataclasses.replace(chosen, loss=_SOFT_LABEL_LOSSES[name](class_counts, **balance))


def soft_label_names() -> list[str]:
    """Names of the methods that take shares of classes as labels."""
    return list(_SOFT_LABEL_LOSSES)


def require_soft_labels(name: str) -> None:
    """Refuse a method that does not take shares of classes as labels.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: It takes one label for each sample.

    Example:
        >>> require_soft_labels("seesaw")
        Traceback (most recent call last):
        ...
        ValueError: Expected a loss that takes soft labels, one of cross_entropy, ...
    """
    if name not in _SOFT_LABEL_LOSSES:
        raise ValueError(
            f"Expected a loss that takes soft labels, one of {', '.join(_SOFT_LABEL_LOSSES)}. "
            f"Received: loss={name!r}, which takes one label for each image. Choose another loss, "
            "or leave out mixup and cutmix."
        )


def _cross_entropy_loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _soft_cross_entropy_loss(class_counts: Sequence[int]) -> keras.losses.Loss:
    return keras.losses.CategoricalCrossentropy(from_logits=True)


def _logit_adjusted_loss(
    class_counts: Sequence[int], prior_strength: float = 1.0
) -> keras.losses.Loss:
    return baselines.LogitAdjustedCrossentropy(class_counts, tau=prior_strength)


def _cross_entropy(class_counts: Sequence[int], epochs: int) -> Method:
    return Method(_cross_entropy_loss())


def _label_smoothing(
    class_counts: Sequence[int], epochs: int, label_smoothing: float = 0.1
) -> Method:
    return Method(baselines.LabelSmoothedCrossentropy(label_smoothing))


def _generalised_cross_entropy(class_counts: Sequence[int], epochs: int) -> Method:
    return Method(baselines.GeneralisedCrossentropy())


def _symmetric_cross_entropy(class_counts: Sequence[int], epochs: int) -> Method:
    return Method(baselines.SymmetricCrossentropy())


def _focal(class_counts: Sequence[int], epochs: int) -> Method:
    return Method(baselines.SparseCategoricalFocalCrossentropy())


def _class_balanced(class_counts: Sequence[int], epochs: int) -> Method:
    weights = baselines.class_balanced_weights(class_counts)
    return Method(_cross_entropy_loss(), class_weight=weights)


def _square_root_resampling(class_counts: Sequence[int], epochs: int) -> Method:
    roots = np.sqrt(class_counts)
    return Method(_cross_entropy_loss(), class_sampling=tuple((roots / roots.sum()).tolist()))


def _logit_adjustment(class_counts: Sequence[int], epochs: int, **balance: Any) -> Method:
    return Method(_logit_adjusted_loss(class_counts, **balance))


def _ldam_drw(class_counts: Sequence[int], epochs: int) -> Method:
    ldam = baselines.LDAMLoss(class_counts)
    start_epoch = round(DEFERRED_START * epochs)
    return Method(
        baselines.ClassWeightedLoss(ldam, [1.0] * len(class_counts)),
        logit_scale=ldam.scale,
        callbacks=(baselines.DeferredReweighting(class_counts, start_epoch),),
    )


def _equalization_v2(class_counts: Sequence[int], epochs: int) -> Method:
    return Method(baselines.EqualizationLossV2(len(class_counts)))


def _seesaw(class_counts: Sequence[int], epochs: int) -> Method:
    return Method(baselines.SeesawLoss(len(class_counts)))


def _ghm_c(class_counts: Sequence[int], epochs: int, **balance: Any) -> Method:
    return Method(baselines.ghm_c(**balance), balanced=True)


def _gradient_balanced(class_counts: Sequence[int], epochs: int, **balance: Any) -> Method:
    return Method(GradientBalancedLoss(_cross_entropy_loss(), **balance), balanced=True)


_METHODS = {
    "cross_entropy": _cross_entropy,
    "label_smoothing": _label_smoothing,
    "generalised_cross_entropy": _generalised_cross_entropy,
    "symmetric_cross_entropy": _symmetric_cross_entropy,
    "focal": _focal,
    "class_balanced": _class_balanced,
    "square_root_resampling": _square_root_resampling,
    "logit_adjustment": _logit_adjustment,
    "ldam_drw": _ldam_drw,
    "equalization_v2": _equalization_v2,
    "seesaw": _seesaw,
    "ghm_c": _ghm_c,
    "gradient_balanced": _gradient_balanced,
}

_SOFT_LABEL_LOSSES: dict[str, Callable[..., keras.losses.Loss]] = {
    "cross_entropy": _soft_cross_entropy_loss,
    "label_smoothing": lambda counts, label_smoothing=0.1: keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=label_smoothing
    ),
    "class_balanced": _soft_cross_entropy_loss,
    "square_root_resampling": _soft_cross_entropy_loss,
    "logit_adjustment": _logit_adjusted_loss,
    "ghm_c": lambda counts, **balance: baselines.ghm_c(
        loss=_soft_cross_entropy_loss(counts), **balance
    ),
    "gradient_balanced": lambda counts, **balance: GradientBalancedLoss(
        _soft_cross_entropy_loss(counts), **balance
    ),
}
