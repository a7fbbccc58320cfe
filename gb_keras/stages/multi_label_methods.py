"""Methods of multi-label training by name; a name is that of the same method for one label."""

from typing import Any

import keras
import numpy as np

from gb_keras import baselines
from gb_keras import multi_label_losses as losses
from gb_keras.losses import GradientBalancedLoss
from gb_keras.names import require_name
from gb_keras.stages.methods import Method

_REDUCTION = "mean_with_sample_weight"


def names() -> list[str]:
    """Names that `method` knows.

    Example:
        >>> ", ".join(names())
        'cross_entropy, label_smoothing, focal, class_balanced, asymmetric, distribution_balanced,
        logit_adjustment, ghm_c, gradient_balanced'
    """
    return list(_METHODS)


def method(name: str, entry_counts: np.ndarray, **balance: Any) -> Method:
    """The method of a name, made for a data set.

    Losses are means over the labels that are known: where few are, they are not small.

    | name | what |
    |---|---|
    | `cross_entropy` | binary cross-entropy |
    | `label_smoothing` | binary cross-entropy, a tenth of the label spread (Szegedy et al. 2016) |
    | `focal` | binary focal loss, gamma 2 (Lin et al. 2017) |
    | `class_balanced` | positives weighted by negatives over positives of their class |
    | `asymmetric` | ASL, gamma 0 and 4, margin 0.05 (Ben-Baruch et al. 2021) |
    | `distribution_balanced` | DB loss with its values for COCO (Wu et al. 2020) |
    | `logit_adjustment` | binary cross-entropy with the log odds (Menon et al. 2021) |
    | `ghm_c` | density of gradient norms fully inverted (Li et al. 2019) |
    | `gradient_balanced` | this project's loss |

    Args:
        name: One of `names()`.
        entry_counts: Known training entries of each class, negatives and positives,
            `(2, num_classes)`.
        **balance: Options of balancing instead of the method's own defaults, of those that it
            takes, see `gb_keras.stages.balance_options.defaults`.

    Raises:
        ValueError: There is no method of this name.
    """
    require_name("loss", name, _METHODS)
    return _METHODS[name](entry_counts, **balance)


def _binary_cross_entropy() -> keras.losses.Loss:
    return keras.losses.BinaryCrossentropy(from_logits=True, reduction=_REDUCTION)


def _cross_entropy(entry_counts: np.ndarray) -> Method:
    return Method(losses.BinaryCrossentropy(from_logits=True, reduction=_REDUCTION))


def _label_smoothing(entry_counts: np.ndarray, label_smoothing: float = 0.1) -> Method:
    return Method(
        losses.BinaryCrossentropy(
            from_logits=True, label_smoothing=label_smoothing, reduction=_REDUCTION
        )
    )


def _focal(entry_counts: np.ndarray) -> Method:
    return Method(losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True, reduction=_REDUCTION))


def _class_balanced(entry_counts: np.ndarray) -> Method:
    negatives, positives = entry_counts
    # A class without a positive has nothing to weigh.
    return Method(
        losses.PositiveWeightedCrossentropy(
            negatives / np.maximum(positives, 1), reduction=_REDUCTION
        )
    )


def _asymmetric(entry_counts: np.ndarray) -> Method:
    return Method(losses.AsymmetricLoss(reduction=_REDUCTION))


def _distribution_balanced(entry_counts: np.ndarray) -> Method:
    negatives, positives = entry_counts
    # Of a class that all known entries are positive of, one more is not.
    num_images = max((negatives + positives).max(), positives.max() + 1)
    return Method(losses.DistributionBalancedLoss(positives, int(num_images), reduction=_REDUCTION))


def _logit_adjustment(entry_counts: np.ndarray, prior_strength: float = 1.0) -> Method:
    loss = GradientBalancedLoss(
        _binary_cross_entropy(),
        density_exponent=0.0,
        prior_strength=prior_strength,
        noise_exponent=0.0,
        label_smoothing=0.0,
        name="logit_adjustment",
    )
    return Method(loss, balanced=True)


def _ghm_c(entry_counts: np.ndarray, **balance: Any) -> Method:
    return Method(baselines.ghm_c(loss=_binary_cross_entropy(), **balance), balanced=True)


def _gradient_balanced(entry_counts: np.ndarray, **balance: Any) -> Method:
    return Method(GradientBalancedLoss(_binary_cross_entropy(), **balance), balanced=True)


_METHODS = {
    "cross_entropy": _cross_entropy,
    "label_smoothing": _label_smoothing,
    "focal": _focal,
    "class_balanced": _class_balanced,
    "asymmetric": _asymmetric,
    "distribution_balanced": _distribution_balanced,
    "logit_adjustment": _logit_adjustment,
    "ghm_c": _ghm_c,
    "gradient_balanced": _gradient_balanced,
}
