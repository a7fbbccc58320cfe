"""Losses that balance classes by what they have seen of them so far: formulas and their state."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from gb_keras.replicas import sum_over_replicas
from gb_keras.reweighting import crossentropy, labels_and_logits

# The least probability of the label that seesaw loss divides by; the authors' program has it.
_LEAST_PROBABILITY = 0.01


class OnlineLoss(keras.losses.Loss):
    """A loss for integer labels with numbers for each class that move on while it trains.

    Keras calls a loss alike in training and in validation. What tells them apart is that only
    training takes the gradient; there the state moves on (`_when_differentiated`). So validation
    neither learns from its labels nor changes what training goes on with. A batch is weighed by
    the state before it. Sample weights have no part in the state.

    The state belongs to the loss, not to the weights of the model: `model.save` and
    `keras.models.load_model` keep it; after `save_weights` and `load_weights` alone hand it over
    by `get_state` and `set_state`.

    A subclass lists the names of its state in `_STATE`; each becomes a variable `(num_classes,)`.
    None says `from_logits`, for who reads the gradient of such a loss would move its state on.

    Args:
        num_classes: Number of classes, at least 2.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation. The state is always float32.

    Raises:
        ValueError: Fewer than 2 classes.
    """

    _STATE: tuple[str, ...] = ()

    def __init__(self, num_classes: int, name: str, reduction: str, dtype: Any):
        if not num_classes >= 2:
            raise ValueError(
                f"Expected num_classes of at least 2. Received: num_classes={num_classes!r}. "
                "Give the number of units of the model's last layer."
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.num_classes = int(num_classes)
        for state in self._STATE:
            # Each replica assigns the sum over all replicas, so any of them has the value.
            variable = keras.Variable(
                [0.0] * self.num_classes,
                trainable=False,
                dtype="float32",
                name=state,
                aggregation="only_first_replica",
            )
            setattr(self, state, variable)

    def get_state(self) -> dict[str, list[float]]:
        """Values of the state by name, `(num_classes,)` each."""
        return {name: getattr(self, name).numpy().tolist() for name in self._STATE}

    def set_state(self, state: dict[str, list[float]]) -> None:
        """Go on from the values that `get_state` gave."""
        for name in self._STATE:
            getattr(self, name).assign(state[name])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss, with its present state."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "dtype": self.dtype,
            "state": self.get_state(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OnlineLoss":
        """Rebuild a loss from `get_config`."""
        config = dict(config)
        state = config.pop("state")
        loss = cls(**config)
        loss.set_state(state)
        return loss


@keras.saving.register_keras_serializable(package="gb_keras")
class EqualizationLossV2(OnlineLoss):
    """A yes-or-no question for each class, its two answers balanced by their gradients so far.

        loss = sum_j w_j * sigmoid_cross_entropy(y == j, z_j),
        w_j = 1 + alpha * (1 - f(r_j))  if y == j  else  f(r_j),
        f(r) = 1 / (1 + exp(-gamma * (r - mu))),    r_j = P_j / N_j

    `P_j` and `N_j` are the sums over all batches so far of `w_j * |sigmoid(z_j) - [y == j]|`, the
    gradients with which samples of class `j` raised its logit and all others lowered it. A rare
    class is told "no" by nearly everyone: `r` is small, hence its "no" counts little and its
    "yes" up to `1 + alpha` times. The first batch has weights of 1.

    The paper's detector has a background class, which stays out of the balance; among exclusive
    classes there is none. The model's logits are those of sigmoids. For a sample that belongs to
    exactly one class, independent answers with odds `exp(z_j)` make `softmax(z)` the probability
    of each class; so accuracy, likelihood and calibration are measured from the softmax, as for
    any other loss.

    Args:
        num_classes: Number of classes, at least 2.
        gamma: Steepness of `f`, above 0.
        mu: Ratio of gradients at which `f` is 1/2.
        alpha: How much more "yes" may count, at least 0.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Raises:
        ValueError: An argument out of its range.

    Example:
        Half of the gradient is missing to a balance, so "no" counts little:

        >>> loss = EqualizationLossV2(2)
        >>> loss.set_state({"positive_gradients": [1.0, 1.0], "negative_gradients": [1.0, 2.0]})
        >>> no, yes = loss.class_weights()
        >>> no.numpy().round(3).tolist(), yes.numpy().round(3).tolist()
        ([0.917, 0.027], [1.333, 4.894])

    Reference: Tan et al., Equalization Loss v2: A New Gradient Balance Approach for Long-tailed
        Object Detection, CVPR 2021, arXiv 2012.08548.
    """

    _STATE = ("positive_gradients", "negative_gradients")
    positive_gradients: keras.Variable
    negative_gradients: keras.Variable

    def __init__(
        self,
        num_classes: int,
        gamma: float = 12.0,
        mu: float = 0.8,
        alpha: float = 4.0,
        name: str = "equalization_loss_v2",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not (gamma > 0 and alpha >= 0):
            raise ValueError(
                "Expected gamma above 0 and alpha of at least 0. Received: "
                f"gamma={gamma!r}, alpha={alpha!r}. The authors take 12 and 4."
            )
        super().__init__(num_classes, name, reduction, dtype)
        self.gamma = gamma
        self.mu = mu
        self.alpha = alpha

    def class_weights(self) -> tuple[Any, Any]:
        """Weights of "no" and of "yes", float32 `(num_classes,)` each."""
        positive = ops.convert_to_tensor(self.positive_gradients)
        negative = ops.convert_to_tensor(self.negative_gradients)
        started = ops.sum(positive) + ops.sum(negative) > 0
        # A class may have met no other sample yet; its ratio is then very large, not infinite.
        ratio = positive / ops.maximum(negative, keras.config.epsilon())
        weight = ops.where(started, ops.sigmoid(self.gamma * (ratio - self.mu)), 1.0)
        return weight, 1.0 + self.alpha * (1.0 - weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        labels, logits = labels_and_logits(y_true, y_pred, self.num_classes)
        yes = ops.one_hot(labels, self.num_classes, dtype="bool")
        targets = ops.cast(yes, logits.dtype)
        no_weight, yes_weight = (ops.cast(weight, logits.dtype) for weight in self.class_weights())
        weights = ops.where(yes, yes_weight, no_weight)

        def take_in_batch() -> None:
            gradients = weights * ops.abs(ops.sigmoid(logits) - targets)
            positive = _sum_by_class(ops.where(yes, gradients, 0.0))
            negative = _sum_by_class(ops.where(yes, 0.0, gradients))
            self.positive_gradients.assign_add(sum_over_replicas(positive))
            self.negative_gradients.assign_add(sum_over_replicas(negative))

        heard = _when_differentiated(logits, take_in_batch)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=heard)
        return ops.sum(weights * losses, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss, with its present state."""
        return {**super().get_config(), "gamma": self.gamma, "mu": self.mu, "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="gb_keras")
class SeesawLoss(OnlineLoss):
    """Cross-entropy in which frequent classes press less on rare ones, unless they win wrongly.

        loss = -log(exp(z_y) / sum_j S_yj exp(z_j)),    S_yj = M_yj * C_yj,
        M_yj = min(1, (n_j / n_y)^p),    C_yj = max(1, (p_j / p_y)^q),    p = softmax(z)

    `n` are the samples of each class so far (at least 1). Mitigation `M` lets a sample of a
    frequent class `y` lower the logit of a rarer class `j` less; compensation `C` gives back what
    is needed where `j` is taken for `y`. No gradient passes through `S`. As in the authors'
    program, `p_y` counts as at least 0.01 in `C`.

    The paper also normalises the classifier (cosines times 20) and, for detection, adds an
    objectness branch. Here the classifier is a plain linear one, the same as for other losses.

    Args:
        num_classes: Number of classes, at least 2.
        p: Strength of the mitigation, at least 0; 0 is none.
        q: Strength of the compensation, at least 0; 0 is none.
        name: Name of the loss.
        reduction: As for any Keras loss.
        dtype: Type of the computation.

    Raises:
        ValueError: An argument out of its range.

    Example:
        A sample of a class with 16 times the samples of the other:

        >>> loss = SeesawLoss(2, p=0.5)
        >>> loss.set_state({"class_counts": [16.0, 1.0]})
        >>> float(loss([0], [[0.0, 0.0]]))  # log(1 + (1/16)^0.5)
        0.2231

    Reference: Wang et al., Seesaw Loss for Long-Tailed Instance Segmentation, CVPR 2021,
        arXiv 2008.10032.
    """

    _STATE = ("class_counts",)
    class_counts: keras.Variable

    def __init__(
        self,
        num_classes: int,
        p: float = 0.8,
        q: float = 2.0,
        name: str = "seesaw_loss",
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ):
        if not (p >= 0 and q >= 0):
            raise ValueError(
                f"Expected p and q of at least 0. Received: p={p!r}, q={q!r}. The authors take "
                "0.8 and 2."
            )
        super().__init__(num_classes, name, reduction, dtype)
        self.p = p
        self.q = q

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Losses `(...)` of labels `(...)` or `(..., 1)` and logits `(..., num_classes)`."""
        labels, logits = labels_and_logits(y_true, y_pred, self.num_classes)
        of_label = ops.one_hot(labels, self.num_classes, dtype=logits.dtype)

        def own(values: Any) -> Any:
            return ops.sum(of_label * values, axis=-1, keepdims=True)

        # All in logarithms. At the label itself both factors are 1.
        counts = ops.cast(ops.log(ops.maximum(self.class_counts, 1.0)), logits.dtype)
        mitigation = self.p * ops.minimum(counts - own(counts), 0.0)
        log_p = ops.log_softmax(ops.stop_gradient(logits))
        own_log_p = ops.maximum(own(log_p), math.log(_LEAST_PROBABILITY))
        compensation = self.q * ops.maximum(log_p - own_log_p, 0.0)

        def take_in_batch() -> None:
            self.class_counts.assign_add(sum_over_replicas(_sum_by_class(of_label)))

        heard = _when_differentiated(logits, take_in_batch)
        return crossentropy(labels, heard + mitigation + compensation)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss, with its present state."""
        return {**super().get_config(), "p": self.p, "q": self.q}


def _when_differentiated(values: Any, action: Callable[[], None]) -> Any:
    """The values as they are; when a gradient passes back through them, `action` runs once."""

    @tf.custom_gradient
    def identity(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            action()
            return upstream

        return tf.identity(x), gradient

    return identity(values)


def _sum_by_class(values: Any) -> Any:
    """Sum over all axes but the last, float32 `(num_classes,)`."""
    return ops.sum(ops.reshape(ops.cast(values, "float32"), (-1, values.shape[-1])), axis=0)
