"""Stochastic gradient descent as the papers' programs have it."""

from typing import Any

import keras

MOMENTUM = 0.9


class PenalisedSGD(keras.optimizers.SGD):
    """SGD with momentum 0.9, whose weight decay is a part of the gradient.

    Keras's own `weight_decay` is decoupled: it shrinks a weight beside the momentum, by
    `learning_rate * weight_decay` a step. In the papers' programs (PyTorch's `SGD`) the gradient is
    `g + weight_decay * w`, which momentum then repeats: for momentum 0.9 the same number decays ten
    times as much. All weights decay, those of batch normalisation too.

    Args:
        learning_rate: Rate of the classifier.
        penalty: The papers' weight decay.
        feature_rate: Rate of all layers but the classifier, as a share of the learning rate.

    Example:
        >>> weight = keras.Variable([1.0])
        >>> PenalisedSGD(0.1, penalty=0.5).apply([keras.ops.zeros(1)], [weight])
        >>> weight.numpy()
        array([0.95], dtype=float32)
    """

    def __init__(self, learning_rate: float, penalty: float, feature_rate: float = 1.0):
        super().__init__(learning_rate, momentum=MOMENTUM)
        self.penalty = penalty
        self.feature_rate = feature_rate

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        penalty = keras.ops.cast(self.penalty, variable.dtype) * variable
        if self.feature_rate != 1.0 and not variable.name.startswith("logits/"):
            learning_rate = learning_rate * self.feature_rate
        super().update_step(gradient + penalty, variable, learning_rate)
