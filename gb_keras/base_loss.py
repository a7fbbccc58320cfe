"""What a balanced loss must know of the Keras loss it balances: labels, logits, one value each."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# TensorFlow publishes the switch, but not how to read it.
from tensorflow.python.framework.config import is_op_determinism_enabled

# Losses that Keras knows as functions too: `keras.losses.get("categorical_crossentropy")`.
_CLASS_OF_FUNCTION = {
    keras.losses.binary_crossentropy: keras.losses.BinaryCrossentropy,
    keras.losses.binary_focal_crossentropy: keras.losses.BinaryFocalCrossentropy,
    keras.losses.categorical_crossentropy: keras.losses.CategoricalCrossentropy,
    keras.losses.categorical_focal_crossentropy: keras.losses.CategoricalFocalCrossentropy,
    keras.losses.categorical_generalized_cross_entropy: (
        keras.losses.CategoricalGeneralizedCrossEntropy
    ),
    keras.losses.kl_divergence: keras.losses.KLDivergence,
    keras.losses.sparse_categorical_crossentropy: keras.losses.SparseCategoricalCrossentropy,
}
_SIGMOID = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
# Losses of probabilities that have no `from_logits` of their own.
_PROBABILITIES_ONLY = (
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.KLDivergence,
)
# How far above 1 a probability may be, or below 0.
_ROUNDING = 1e-3
_INTEGER_LABELS = (
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.SparseCategoricalCrossentropy,
)
_ONE_HOT_LABELS = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.KLDivergence,
)


@dataclasses.dataclass(frozen=True)
class BaseLoss:
    """A Keras loss, seen as a function of logits.

    Attributes:
        loss: The Keras loss as the user gave it.
        from_logits: Whether the model's output is logits; else it is probabilities.
        multi_label: Whether each logit is a yes-or-no question of its own (sigmoid) instead of one
            of many exclusive classes (softmax).
        of_logits: `(labels, logits) -> losses`, before reduction. `(...)` for softmax losses of
            `(..., num_classes)` logits; `(..., num_classes)` for multi-label ones.
        one_label: Whether it is the softmax cross-entropy of exactly one integer label, whose
            gradient is known to be `softmax(z) - onehot(y)`.
        each_label: Whether it is the binary cross-entropy of each label as it is, whose gradient is
            known to be `sigmoid(z) - y`.
        ignore_class: Integer label that takes no part in the loss, or None.
    """

    loss: keras.losses.Loss
    from_logits: bool
    multi_label: bool
    of_logits: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    one_label: bool
    each_label: bool
    ignore_class: int | None

    def losses_and_gradient(
        self, y_true: tf.Tensor, logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Losses before reduction, and each sample's own gradient with respect to its logits.

        Args:
            y_true: Labels, checked.
            logits: `(..., num_classes)`.

        Raises:
            ValueError: The loss does not give a loss for each sample.
        """
        of_logits = self.of_logits
        if self.each_label:
            # A tape would go back through each step of the formula of the losses.
            return of_logits(y_true, logits), tf.sigmoid(logits) - y_true
        # On a GPU that one operation is not deterministic, and fails for who asks for determinism.
        fused = self.one_label and not is_op_determinism_enabled()
        if fused and logits.dtype in (tf.float32, tf.float64):
            of_logits = _cross_entropy_of_samples
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = of_logits(y_true, logits)
        rank = logits.shape.rank - (0 if self.multi_label else 1)
        if losses.shape.rank != rank:
            raise ValueError(
                f"Expected {type(self.loss).__name__} to give one loss for each sample, of "
                f"shape {tuple(logits.shape)[:rank]}. Received shape {tuple(losses.shape)}. Return "
                "the losses before their mean is taken; `reduction` takes it."
            )
        return losses, tape.gradient(losses, logits)

    def logits(self, y_pred: tf.Tensor) -> tf.Tensor:
        """The logits behind a model's output.

        Args:
            y_pred: What the model returned, `(..., num_classes)`.

        Raises:
            ValueError: Probabilities declared as logits, or the other way round.
        """
        # Keras leaves its argument on the result of a softmax or sigmoid.
        behind_activation = getattr(y_pred, "_keras_logits", None)
        if self.from_logits:
            if behind_activation is not None:
                raise ValueError(
                    "Expected logits, since the loss says from_logits=True. Received the output "
                    "of a softmax or sigmoid. Say from_logits=False, or remove the activation "
                    "from the model's last layer."
                )
            return y_pred
        if behind_activation is not None:
            return behind_activation
        probabilities = tf.convert_to_tensor(y_pred)
        low, high = tf.reduce_min(probabilities), tf.reduce_max(probabilities)
        expected = "Expected probabilities in [0, 1], since the loss says from_logits=False."
        remedy = "Say from_logits=True, or end the model with a softmax (sigmoid for multi-label)."
        # What is not a number is told of elsewhere, and rounding is no reason.
        outside = (low < -_ROUNDING) | (high > 1 + _ROUNDING)
        if not tf.executing_eagerly():
            # XLA leaves this out.
            tf.debugging.Assert(~outside, [f"{expected} Received values from", low, high, remedy])
        elif bool(outside):
            raise ValueError(
                f"{expected} Received values from {float(low):.4g} to {float(high):.4g}. {remedy}"
            )
        epsilon = keras.config.epsilon()
        clipped = tf.clip_by_value(tf.cast(probabilities, self.loss.dtype), epsilon, 1.0 - epsilon)
        if self.multi_label:
            return tf.math.log(clipped) - tf.math.log1p(-clipped)
        return tf.math.log(clipped)

    def check_labels(self, y_true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Labels in the shape and type that the loss takes.

        Integer labels lose a last axis of 1. They become int32 for the losses of Keras that take
        them; all else becomes the loss's own float type, which Keras, too, hands to a loss.

        Args:
            y_true: Labels as the user gave them.
            logits: `(..., num_classes)`.

        Raises:
            ValueError: Rank, number of classes or labels that the loss cannot take.
        """
        if logits.shape.rank is None or logits.shape.rank < 2 or logits.shape[-1] is None:
            raise ValueError(
                "Expected model outputs of shape (batch_size, ..., num_classes) with a known "
                f"number of classes. Received shape {logits.shape}."
            )
        num_classes = logits.shape[-1]
        if num_classes < 2 and not self.multi_label:
            raise ValueError(
                f"Expected at least 2 classes. Received logits of shape {logits.shape}. For one "
                "yes-or-no output use the base loss 'binary_crossentropy'."
            )
        one_hot = y_true.shape.rank == logits.shape.rank and y_true.shape[-1] == num_classes
        integer = y_true.shape.rank == logits.shape.rank - 1 or (
            y_true.shape.rank == logits.shape.rank and y_true.shape[-1] == 1 and not one_hot
        )
        name = type(self.loss).__name__
        if self.multi_label or isinstance(self.loss, _ONE_HOT_LABELS):
            if self.multi_label and num_classes == 1 and y_true.shape.rank == logits.shape.rank - 1:
                # A single yes-or-no logit, labelled (batch_size,) as Keras allows.
                return tf.cast(y_true[..., tf.newaxis], self.loss.dtype)
            if not one_hot:
                raise ValueError(
                    f"{name} expects labels of shape {_shape(logits)}, one value per class. "
                    f"Received shape {_shape(y_true)}. "
                    + (
                        "Make a 0/1 vector of each sample's labels."
                        if self.multi_label
                        else "For integer labels use 'sparse_categorical_crossentropy'."
                    )
                )
        elif isinstance(self.loss, _INTEGER_LABELS):
            if not integer:
                raise ValueError(
                    f"{name} expects integer labels of shape {_shape(logits[..., 0])}. Received "
                    f"shape {_shape(y_true)}. For one-hot or soft labels use "
                    "'categorical_crossentropy'."
                )
        elif not (one_hot or integer):
            raise ValueError(
                f"Expected labels of shape {_shape(logits[..., 0])} (integers) or "
                f"{_shape(logits)} (one value per class). Received shape {_shape(y_true)}."
            )
        if not one_hot and y_true.shape.rank == logits.shape.rank:
            y_true = tf.squeeze(y_true, axis=-1)
        leading = logits.shape if one_hot else logits.shape[:-1]
        if not y_true.shape.is_compatible_with(leading):
            raise ValueError(
                f"Expected labels of shape {tuple(leading)} for outputs of shape "
                f"{_shape(logits)}. Received shape {_shape(y_true)}."
            )
        if not one_hot and tf.executing_eagerly():
            self._check_range(y_true, num_classes)
        of_integers = isinstance(self.loss, _INTEGER_LABELS) and not one_hot
        return tf.cast(y_true, tf.int32 if of_integers else self.loss.dtype)

    def _check_range(self, y_true: tf.Tensor, num_classes: int) -> None:
        # In a graph on CPU the cross-entropy operation itself refuses such labels.
        wrong = (y_true < 0) | (y_true >= num_classes)
        if self.ignore_class is not None:
            wrong &= y_true != self.ignore_class
        if bool(tf.reduce_any(wrong)):
            raise ValueError(
                f"Expected integer labels in [0, {num_classes}), since the model has "
                f"{num_classes} outputs. Received {float(y_true[wrong][0]):g} among them. Number "
                "the classes from 0, and give the model's last layer one unit per class."
            )


def class_indices(y_true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Class of each sample, int32 `(...)`: its label, or the most probable class of a soft label.

    An integer label that is no class becomes negative.

    Args:
        y_true: Integer labels `(...)`, or one-hot or soft labels `(..., num_classes)`.
        logits: `(..., num_classes)`.
    """
    if y_true.shape.rank == logits.shape.rank:
        return tf.argmax(y_true, axis=-1, output_type=tf.int32)
    indices = tf.cast(y_true, tf.int32)
    return tf.where(indices < logits.shape[-1], indices, -1)


def resolve(loss: str | keras.losses.Loss | Callable) -> BaseLoss:
    """Find out how to balance a Keras loss.

    Args:
        loss: Name, function or object of a Keras loss over classes. An own subclass of
            `keras.losses.Loss` needs a `from_logits` attribute, and one loss value per sample; or
            an attribute `multi_label=True` too, and one value for each logit.

    Raises:
        ValueError: Not a loss over classes, or one over another axis than the last.

    Example:
        >>> base = resolve("binary_crossentropy")
        >>> base.multi_label, base.from_logits
        (True, False)
    """
    found = keras.losses.get(loss)
    if found in _CLASS_OF_FUNCTION:
        found = _CLASS_OF_FUNCTION[found]()
    # A config may hold values of variables, which cannot be read while a step is traced.
    with tf.init_scope():
        config = found.get_config() if isinstance(found, keras.losses.Loss) else {}
    from_logits = getattr(found, "from_logits", config.get("from_logits"))
    if isinstance(found, _PROBABILITIES_ONLY):
        from_logits = False
    if not isinstance(found, keras.losses.Loss) or not isinstance(from_logits, bool):
        raise ValueError(
            "Expected a loss over classes: a keras.losses.Loss with a boolean `from_logits`, such "
            "as 'sparse_categorical_crossentropy', 'categorical_crossentropy' or "
            f"'binary_crossentropy'. Received: loss={loss!r}. A loss without logits has no logit "
            "gradient to balance. To balance a loss of your own, make it a subclass of "
            "keras.losses.Loss that says whether it takes logits: an attribute `from_logits`."
        )
    if config.get("axis", -1) != -1:
        raise ValueError(
            f"Expected the classes on the last axis (axis=-1). Received axis={config['axis']}. "
            "Move the class axis of the model's output to the end."
        )
    # A loss of one's own that has a value for each logit says so; Keras's have their mean.
    each_logit = getattr(found, "multi_label", False) is True
    multi_label = isinstance(found, _SIGMOID) or each_logit
    ignore_class = getattr(found, "ignore_class", None)
    each_label = type(found) is keras.losses.BinaryCrossentropy and not config["label_smoothing"]
    return BaseLoss(
        loss=found,
        from_logits=from_logits,
        multi_label=multi_label,
        of_logits=_cross_entropy_of_labels
        if each_label
        else _as_function_of_logits(found, from_logits, multi_label, each_logit, config),
        one_label=type(found) is keras.losses.SparseCategoricalCrossentropy
        and ignore_class is None,
        each_label=each_label,
        ignore_class=ignore_class,
    )


def _as_function_of_logits(
    loss: keras.losses.Loss,
    from_logits: bool,
    multi_label: bool,
    each_logit: bool,
    config: dict[str, Any],
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    if not from_logits and "from_logits" in config:
        # The same loss told that it gets logits: one fused, numerically safe operation.
        loss = type(loss).from_config({**config, "from_logits": True})
        from_logits = True

    def of_logits(y_true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        probabilities = tf.nn.sigmoid if multi_label else tf.nn.softmax
        y_pred = logits if from_logits else probabilities(logits)
        if multi_label and not each_logit:
            # Keras averages over the last axis. A last axis of one keeps each entry by itself.
            return loss.call(y_true[..., tf.newaxis], y_pred[..., tf.newaxis])
        return loss.call(y_true, y_pred)

    return of_logits


def _cross_entropy_of_samples(y_true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy whose gradient is each sample's own, `softmax(z) - onehot(y)`.

    TensorFlow computes that gradient together with the losses. Its own backward pass goes over all
    of it once more, to multiply it by what comes from above: here ones, since losses are not summed
    before they are differentiated.
    """

    @tf.custom_gradient
    def of_logits(logits: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        flat = logits if logits.shape.rank == 2 else tf.reshape(logits, [-1, logits.shape[-1]])
        losses, gradient = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            features=flat, labels=tf.reshape(tf.cast(y_true, tf.int64), [-1])
        )
        if logits.shape.rank != 2:
            shape = tf.shape(logits)
            losses, gradient = tf.reshape(losses, shape[:-1]), tf.reshape(gradient, shape)
        return losses, lambda ones: gradient

    return of_logits(logits)


def _cross_entropy_of_labels(y_true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of each logit, safe at any size of it.

    As `tf.nn.sigmoid_cross_entropy_with_logits`, which takes twice as many passes so that it can be
    differentiated twice.
    """
    return tf.nn.relu(logits) - logits * y_true + tf.math.log1p(tf.exp(-tf.abs(logits)))


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...]:
    return tuple(tensor.shape)
