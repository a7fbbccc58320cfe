"""The balance of a compiled model: its statistics, handed to its balanced losses one by one."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from gb_keras import losses
from gb_keras.statistics import GradientDensity


class ModelBalance:
    """The statistics of a compiled model, one for each balanced output, in the order of losses.

    Args:
        model: The model, just compiled.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        # Replicas of a mirrored strategy trace in threads of their own.
        self._thread = threading.local()
        self._evaluating = False
        named_losses = _balanced_losses(model.loss, getattr(model, "output_names", None))
        _check_activations(model, named_losses)
        self.densities = {
            name: GradientDensity(loss.bins, loss.momentum, loss.base.multi_label, name=name)
            for name, loss in named_losses.items()
        }
        several = len(named_losses) > 1
        self.base_loss = {
            name: _MeanOfSamples(name=f"{name}_base_loss" if several else "base_loss")
            for name in named_losses
        }
        # Known early for functional models, else from the first batch on.
        self._num_classes = {
            name: output.shape[-1]
            for name, output in _outputs(model, list(named_losses)).items()
            if output.shape[-1] is not None
        }
        self.build()

    def build(self) -> None:
        """Create the statistics whose number of classes is known, in the model's strategy."""
        with self._model.distribute_strategy.scope():
            for name, statistic in self.densities.items():
                if not statistic.built and name in self._num_classes:
                    statistic.build(self._num_classes[name])

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Within this block the statistics are updated and the losses balanced."""
        self._thread.training = True
        try:
            yield
        finally:
            self._thread.training = False

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within this block the loss is the base loss, so no metric of its own repeats it.

        `loss, accuracy = model.evaluate(...)` then works as it does for a plain model.
        """
        outer, self._evaluating = self._evaluating, True
        try:
            yield
        finally:
            self._evaluating = outer

    def metrics(self) -> list[keras.metrics.Metric]:
        """The base losses, where they differ from the loss."""
        return [] if self._evaluating else list(self.base_loss.values())

    @contextlib.contextmanager
    def computing_loss(self) -> Iterator["_Pass"]:
        """Hands the statistics to the losses of one computation of the model's loss."""
        try:
            yield _Pass(self, getattr(self._thread, "training", False))
        finally:
            self._thread.held_losses = None

    def hold_losses(self) -> None:
        """Keep what this replica's forward pass has added to the loss until it is computed.

        Keras leaves it on the layers, which all replicas share; while this replica waits for the
        others in a sum over replicas, they run their forward passes and put theirs in its place.
        """
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            self._thread.held_losses = self._model.losses

    @property
    def held_losses(self) -> list[tf.Tensor] | None:
        """What `hold_losses` has kept in this thread, if anything."""
        return getattr(self._thread, "held_losses", None)

    def name_of(self, index: int, num_classes: int) -> str:
        """Name of the output whose balanced loss is computed as number `index`."""
        # Keras has matched losses and outputs by now, and named them as the outputs.
        names = [
            entry.name
            for entry in self._model._compile_loss._flat_losses
            if isinstance(entry.loss, losses.GradientBalancedLoss)
        ]
        if set(names) != set(self.densities):
            names = list(self.densities)
        if index >= len(names):
            raise ValueError(
                f"Expected {len(names)} balanced output(s): {names}. Received one more. Give "
                "compile() one loss for each output: a list, or a dict by output names."
            )
        known = self._num_classes.setdefault(names[index], num_classes)
        if known != num_classes:
            raise ValueError(
                f"Expected {known} classes at output {names[index]!r}, as in its statistic. "
                f"Received an output of {num_classes}. Compile the model again after changing it."
            )
        return names[index]


class _MeanOfSamples(keras.metrics.Mean):
    """Mean over samples of values that are means over a batch.

    What `Mean` does with a sample weight, in half of the operations, which a small model feels.
    """

    def update_state(self, value: tf.Tensor, batch_size: tf.Tensor) -> None:
        batch_size = tf.cast(batch_size, self.dtype)
        if value.shape.rank:
            # Keras leaves the losses of an empty batch, or without reduction, as they are.
            value = tf.math.divide_no_nan(tf.reduce_sum(value), batch_size)
        self.total.assign_add(tf.cast(value, self.dtype) * batch_size)
        self.count.assign_add(batch_size)


class _Pass:
    """One computation of a model's loss: gives each balanced loss its statistic, in order."""

    def __init__(self, balance: ModelBalance, training: bool):
        self._balance = balance
        self._training = training
        self._index = 0
        self._name = ""

    def statistic(self, num_classes: int) -> GradientDensity | None:
        self._name = self._balance.name_of(self._index, num_classes)
        self._index += 1
        if not self._training:
            return None
        self._balance.hold_losses()
        statistic = self._balance.densities[self._name]
        if not statistic.built:
            # The first step of a model whose output was not known before: Keras, too, creates the
            # state of its metrics while it traces this step.
            self._balance.build()
        return statistic

    def record_base_loss(self, value: tf.Tensor, batch_size: tf.Tensor) -> None:
        # Keras divides a replica's loss by the number of replicas; its mean is shown undivided.
        if not self._training:
            return
        num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if num_replicas > 1:
            value *= num_replicas
        self._balance.base_loss[self._name].update_state(value, batch_size)


def _balanced_losses(
    loss: Any, output_names: list[str] | None
) -> dict[str, losses.GradientBalancedLoss]:
    """The balanced losses of a compile argument by the names of their outputs."""
    if loss is losses.GradientBalancedLoss:
        # The class in place of an object: Keras makes one with its defaults.
        loss = loss()
    if isinstance(loss, losses.GradientBalancedLoss):
        return dict.fromkeys(output_names or ["output"], loss)
    if isinstance(loss, dict):
        entries = list(loss.items())
    elif isinstance(loss, (list, tuple)):
        entries = list(zip(output_names or map(str, range(len(loss))), loss, strict=False))
    else:
        entries = []
    return {
        name: entry for name, entry in entries if isinstance(entry, losses.GradientBalancedLoss)
    }


def _outputs(model: keras.Model, names: list[str]) -> dict[str, keras.KerasTensor]:
    """Symbolic outputs by name; empty for a model that is not functional."""
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return {}
    output_names = getattr(model, "output_names", None) or names
    return {
        name: output for name, output in zip(output_names, outputs, strict=False) if name in names
    }


def _check_activations(
    model: keras.Model, named_losses: dict[str, losses.GradientBalancedLoss]
) -> None:
    """Refuse logits declared as probabilities, or the other way round, where layers show it."""
    for name, output in _outputs(model, list(named_losses)).items():
        layer = output._keras_history.operation
        activation = getattr(layer, "activation", None)
        from_logits = named_losses[name].base.from_logits
        if not from_logits and activation is keras.activations.linear:
            raise ValueError(
                f"Expected probabilities at output {name!r}, since its loss says "
                f"from_logits=False (as a loss given by name does). Received raw logits: layer "
                f"{layer.name!r} has no activation. Pass the loss as an object with "
                "from_logits=True, or end the model with a softmax (sigmoid for multi-label)."
            )
        if from_logits and activation in (keras.activations.softmax, keras.activations.sigmoid):
            raise ValueError(
                f"Expected logits at output {name!r}, since its loss says from_logits=True. "
                f"Received probabilities: layer {layer.name!r} ends with "
                f"{activation.__name__}. Say from_logits=False, or remove the activation."
            )
