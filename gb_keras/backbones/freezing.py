"""Training of the classifier alone."""

import contextlib
from collections.abc import Iterator

import keras

from gb_keras.backbones.classifier import NAME


@contextlib.contextmanager
def freeze(model: keras.Model) -> Iterator[None]:
    """Within this block a model from `build` learns in its classifier only.

    The rest of it also works as in inference: batch normalisation keeps its mean, dropout lets all
    through. Compile the model inside of the block, and again after it.

    Args:
        model: A model whose last layer is that of `classifier`.

    Example:
        >>> from gb_keras.backbones import build
        >>> model = build("small_cnn", (8, 8, 1), num_classes=3)
        >>> with freeze(model):
        ...     [variable.path for variable in model.trainable_variables]
        ['logits/kernel', 'logits/bias']
        >>> len(model.trainable_variables)
        11
    """
    # Those that a user has frozen for good stay so.
    layers = [layer for layer in model.layers if layer.name != NAME and layer.trainable]
    for layer in layers:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in layers:
            layer.trainable = True
