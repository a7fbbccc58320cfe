"""The last layer of a network."""

import keras
from keras import layers

from gb_keras.normalized_dense import NormalizedDense

NAME = "logits"


def classifier(num_classes: int, logit_scale: float | None) -> keras.layers.Layer:
    """The last layer of a network, named `logits`; float32 under mixed precision, too.

    Args:
        num_classes: Number of classes.
        logit_scale: None for a `Dense` layer, or the scale of a `NormalizedDense` one.

    Example:
        >>> classifier(3, logit_scale=30.0)(keras.ops.ones((2, 4))).shape
        TensorShape([2, 3])
    """
    if logit_scale is None:
        return layers.Dense(num_classes, dtype="float32", name=NAME)
    return NormalizedDense(num_classes, logit_scale, dtype="float32", name=NAME)
