"""The balance of a compiled model: its statistics, handed to its balanced losses one by one."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from gb_keras import loss_context, losses
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
        outputs = _balanced_outputs(model)
        _check_activations(outputs)
        self._name_at = {output.path: output.name for output in outputs}
        self.losses = {output.name: output.loss for output in outputs}
        self.densities = {
            name: GradientDensity(loss.bins, loss.momentum, loss.base.multi_label, name=name)
            for name, loss in self.losses.items()
        }
        several = len(self.losses) > 1
        self.base_loss = {
            name: MeanOfSamples(name=f"{name}_base_loss" if several else "base_loss")
            for name in self.losses
        }
        # Known early for functional models, else from the first batch on.
        self._num_classes = {
            output.name: output.tensor.shape[-1]
            for output in outputs
            if output.tensor is not None and output.tensor.shape[-1] is not None
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
        """Within this block, a training step, the statistics are updated and losses balanced.

        Also a loss that the step calls by itself instead of through `compute_loss`.
        """
        outer, self._thread.training = self._training, True
        try:
            with loss_context.balanced_by(_Pass(self, in_order=False)):
                yield
        finally:
            self._thread.training = outer

    def testing(self) -> contextlib.AbstractContextManager:
        """Within this block, a step of an evaluation, losses are the base loss."""
        return loss_context.balanced_by(_Pass(self, in_order=False))

    @property
    def _training(self) -> bool:
        return getattr(self._thread, "training", False)

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
    def computing_loss(self) -> Iterator[None]:
        """Hands the statistics to the losses of one computation of the model's loss, in order."""
        if getattr(self._thread, "computing", False):
            # An own `compute_loss` that calls that of its base: it is one computation.
            yield
            return
        self._thread.computing = True
        try:
            with loss_context.balanced_by(_Pass(self, in_order=True)):
                yield
        finally:
            self._thread.computing = False
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

    def name_of(self, index: int | None, num_classes: int) -> str:
        """Name of the output whose balanced loss is computed as number `index`.

        None is for a loss that a training step calls by itself.
        """
        names = list(self.densities)
        if index is None and len(names) > 1:
            raise ValueError(
                f"Expected a training step of a model with several balanced outputs, {names}, to "
                "call self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight). "
                "Received a call of one of its losses, which does not say for which output."
            )
        if len(names) > 1:
            # Keras has matched losses and outputs by now: these are where it has put them.
            paths = [
                entry.path
                for entry in self._model._compile_loss._flat_losses
                if isinstance(entry.loss, losses.GradientBalancedLoss)
            ]
            if set(paths) == set(self._name_at):
                names = [self._name_at[path] for path in paths]
        index = index or 0
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


class MeanOfSamples(keras.metrics.Mean):
    """Mean over samples of values that are means over a batch.

    What `Mean` does with a sample weight, in half of the operations, which a small model feels.

    Args:
        name: Name of the metric.
    """

    def __init__(self, name: str):
        super().__init__(name=name)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: an own training step that hands labels to all metrics is not meant here."""

    def record(self, value: tf.Tensor, batch_size: tf.Tensor) -> None:
        """Take in the mean over a batch."""
        batch_size = tf.cast(batch_size, self.dtype)
        if value.shape.rank:
            # Keras leaves the losses of an empty batch, or without reduction, as they are.
            value = tf.math.divide_no_nan(tf.reduce_sum(value), batch_size)
        self.total.assign_add(tf.cast(value, self.dtype) * batch_size)
        self.count.assign_add(batch_size)


class _Pass:
    """One computation of a model's loss: gives each balanced loss its statistic, in order."""

    def __init__(self, balance: ModelBalance, in_order: bool):
        self._balance = balance
        self._index = 0 if in_order else None
        self._name = ""

    def statistic(self, num_classes: int) -> GradientDensity | None:
        self._name = self._balance.name_of(self._index, num_classes)
        if self._index is not None:
            self._index += 1
        if not self._balance._training:
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
        if not self._balance._training:
            return
        num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if num_replicas > 1:
            value *= num_replicas
        self._balance.base_loss[self._name].record(value, batch_size)


@dataclasses.dataclass(frozen=True)
class _BalancedOutput:
    """An output of a model and its balanced loss.

    Attributes:
        path: Where Keras finds it in the structure of the outputs: `()` for the only one.
        name: Its name: the key in a dict of outputs, else the layer's name.
        loss: Its loss.
        tensor: The symbolic output of a functional model, else None.
    """

    path: tuple
    name: str
    loss: losses.GradientBalancedLoss
    tensor: keras.KerasTensor | None


def _balanced_outputs(model: keras.Model) -> list[_BalancedOutput]:
    """The outputs that have a balanced loss, as Keras matches the two."""
    outputs = getattr(model, "output", None) if hasattr(model, "output_names") else None
    found = list(_matched(model.loss, outputs, (), getattr(model, "output_names", None)))
    names = [output.name for output in found]
    if len(set(names)) == len(names):
        return found
    # Names of nested outputs may come twice; their paths do not.
    return [dataclasses.replace(output, name="_".join(map(str, output.path))) for output in found]


def _matched(
    loss: Any, outputs: Any, path: tuple, names: list[str] | None
) -> Iterator[_BalancedOutput]:
    """Balanced losses with their outputs, from the structures of both."""
    if loss is losses.GradientBalancedLoss:
        # The class in place of an object: Keras makes one with its defaults.
        loss = loss()
    if isinstance(outputs, (list, tuple)) and len(outputs) == 1 and not path:
        # A list of one output is to Keras that output.
        outputs = outputs[0]
    if isinstance(loss, losses.GradientBalancedLoss):
        if isinstance(outputs, dict):
            for key, output in outputs.items():
                yield from _matched(loss, output, (*path, key), None)
        elif isinstance(outputs, (list, tuple)):
            for index, output in enumerate(outputs):
                yield from _matched(loss, output, (*path, index), None)
        else:
            yield _BalancedOutput(path, _name(path, outputs), loss, outputs)
    elif isinstance(loss, dict):
        if names and not isinstance(outputs, dict) and set(loss) <= set(names):
            # By the names of the layers, which Keras puts in the order of the outputs.
            loss = [loss.get(name) for name in names]
            yield from _matched(loss if len(loss) > 1 else loss[0], outputs, path, None)
            return
        for key, entry in loss.items():
            output = outputs.get(key) if isinstance(outputs, dict) else None
            yield from _matched(entry, output, (*path, key), None)
    elif isinstance(loss, (list, tuple)):
        several = isinstance(outputs, (list, tuple))
        if len(loss) == 1 and not several and not path:
            yield from _matched(loss[0], outputs, path, None)
            return
        for index, entry in enumerate(loss):
            output = outputs[index] if several and index < len(outputs) else None
            yield from _matched(entry, output, (*path, index), None)


def _name(path: tuple, output: keras.KerasTensor | None) -> str:
    if path and isinstance(path[-1], str):
        return path[-1]
    if output is not None:
        return output._keras_history.operation.name
    return str(path[-1]) if path else "output"


def _check_activations(outputs: list[_BalancedOutput]) -> None:
    """Refuse logits declared as probabilities, or the other way round, where layers show it."""
    for output in outputs:
        if output.tensor is None:
            continue
        layer = output.tensor._keras_history.operation
        activation = getattr(layer, "activation", None)
        from_logits = output.loss.base.from_logits
        if not from_logits and activation is keras.activations.linear:
            raise ValueError(
                f"Expected probabilities at output {output.name!r}, since its loss says "
                f"from_logits=False (as a loss given by name does). Received raw logits: layer "
                f"{layer.name!r} has no activation. Pass the loss as an object with "
                "from_logits=True, or end the model with a softmax (sigmoid for multi-label)."
            )
        if from_logits and activation in (keras.activations.softmax, keras.activations.sigmoid):
            raise ValueError(
                f"Expected logits at output {output.name!r}, since its loss says "
                f"from_logits=True. Received probabilities: layer {layer.name!r} ends with "
                f"{activation.__name__}. Say from_logits=False, or remove the activation."
            )
