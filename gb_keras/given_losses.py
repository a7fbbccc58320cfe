"""Losses and gradients that are computed already: weighted, shared and reduced as Keras would."""

from collections.abc import Callable

import keras
import tensorflow as tf


class GivenLosses(keras.losses.Loss):
    """Keras's reduction, with weights and masks, of losses that are computed already.

    Args:
        reduction: As of any Keras loss.
        name: As of any Keras loss.
        dtype: As of any Keras loss.

    Example:
        The mean over the samples that are not masked:

        >>> given = GivenLosses(reduction="mean_with_sample_weight")
        >>> float(given.reduce(tf.constant([1.0, 2.0, 9.0]), tf.constant([1, 1, 0]), None))
        1.5
    """

    def reduce(
        self, losses: tf.Tensor, mask: tf.Tensor | None, sample_weight: tf.Tensor | None
    ) -> tf.Tensor:
        """The reduced loss.

        Args:
            losses: Losses before reduction, any shape.
            mask: 0 for what is left out, the shape of the losses; None leaves out nothing.
            sample_weight: Weights, the shape of the losses; None weighs all alike.
        """
        # The base loss may have left a mask of its own on the result (`ignore_class`).
        own_mask = getattr(losses, "_keras_mask", None)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            own_mask = mask if own_mask is None else own_mask & mask
        if own_mask is not None:
            losses = tf.identity(losses)
            losses._keras_mask = own_mask
        return self(losses, losses, sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """What is given."""
        return y_pred


def shared(gradient: tf.Tensor, share: tf.Tensor | None) -> tf.Tensor:
    """A replica's gradient in its share of the samples.

    Keras takes the mean of the replicas' means, which is the mean of the whole batch only where all
    replicas have as many samples.

    Args:
        gradient: Logit gradients of this replica's samples, any shape.
        share: Their number over the mean of all replicas', float32 scalar; None for 1.

    Returns:
        Gradients of the same shape and type.

    Example:
        One of two replicas has three samples, the other one:

        >>> shared(tf.constant([0.5, -0.5]), share=tf.constant(1.5)).numpy().tolist()
        [0.75, -0.75]
    """
    return gradient if share is None else gradient * tf.cast(share, gradient.dtype)


def with_gradient(
    logits: tf.Tensor, weights: tf.Tensor, losses: tf.Tensor, gradient: tf.Tensor
) -> tf.Tensor:
    """`weights * losses`, whose gradient with respect to `logits` is `weights * gradient`.

    The backward pass goes on from the gradient that was read for the statistic, so that the loss
    is not differentiated a second time.

    Args:
        logits: What the gradient goes to, `(..., num_classes)`.
        weights: Weight of each loss, the shape of the losses.
        losses: One for each sample, `(...)`, or for each of its logits.
        gradient: That of the losses with respect to the logits, the shape of the logits.

    Returns:
        Weighted losses, the shape of the losses.

    Example:
        The gradient is the one given, not one taken of anything:

        >>> logits = tf.constant([[1.0, 2.0]])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(logits)
        ...     loss = with_gradient(
        ...         logits, tf.constant([2.0]), tf.constant([5.0]), tf.constant([[0.5, -0.5]]))
        >>> loss.numpy()
        array([10.], dtype=float32)
        >>> tape.gradient(loss, logits).numpy()
        array([[ 1., -1.]], dtype=float32)
    """

    @tf.custom_gradient
    def attach(_: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def backward(upstream: tf.Tensor) -> tf.Tensor:
            scale = upstream * weights
            # One loss for each sample, or for each of its logits.
            each_logit = losses.shape.rank == logits.shape.rank
            return (scale if each_logit else scale[..., tf.newaxis]) * gradient

        return weights * losses, backward

    balanced = attach(logits)
    mask = getattr(losses, "_keras_mask", None)
    if mask is not None:
        balanced._keras_mask = mask
    return balanced
