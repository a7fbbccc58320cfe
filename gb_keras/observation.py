"""Watching a model train: its gradient statistics, whether it balances by them or not."""

import dataclasses
import threading
import warnings
from typing import Any

import keras
import tensorflow as tf
from keras.src.losses.losses import LossFunctionWrapper  # Keras exports no name for it.

from gb_keras.losses import GradientBalancedLoss
from gb_keras.statistics import GradientDensity
from gb_keras.training import GradientBalancedMixin


@dataclasses.dataclass(frozen=True)
class ObservedOutput:
    """An output of a model whose gradients are watched.

    Attributes:
        name: Name of the output.
        loss: How its loss is balanced; a neutral one for a plain loss.
        statistic: The running statistic, watched.
        balanced: Whether the model trains with this loss.
    """

    name: str
    loss: GradientBalancedLoss
    statistic: GradientDensity
    balanced: bool


class Observation:
    """The gradient statistics of a model while it trains, until `stop`.

    A model with balanced losses has them already. In a plain `keras.Model` the same statistic is
    taken beside its own loss, which it trains with as before.

    Args:
        model: A compiled model. A training step that Keras made for it before does not observe:
            make it anew, by `make_train_function(force=True)`.

    Raises:
        ValueError: The model is not compiled.
    """

    def __init__(self, model: keras.Model):
        if not model.compiled or model._compile_loss is None:
            raise ValueError("Expected a model compiled with a loss. Call compile(loss=...) first.")
        self._model = model
        self._own = _own_outputs(model)
        self._listener = None if self._own else _Listener(model)
        with model.distribute_strategy.scope():
            for output in self._own:
                output.statistic.watch()
        # What was compiled before does not observe.
        model.train_function = None

    @property
    def outputs(self) -> list[ObservedOutput]:
        """The observed outputs, those of a plain model once it has trained on a batch."""
        outputs = self._own if self._listener is None else self._listener.outputs
        return [output for output in outputs if output.statistic.built]

    def warn_if_nothing_is_heard(self) -> None:
        """Say, after a first step, that the step has not computed the loss it was compiled with."""
        if self._listener is not None and not self._listener.has_listened:
            warnings.warn(
                "Expected a training step that computes the loss given to compile(). Received one "
                f"of {type(self._model).__name__} that does not: nothing is observed. Call "
                "super().compute_loss() in it.",
                stacklevel=2,
            )

    def stop(self) -> None:
        """Leave the model as it was."""
        for output in self._own:
            output.statistic.unwatch()
        if self._listener is not None:
            self._listener.remove()
        self._model.train_function = None


def _own_outputs(model: keras.Model) -> list[ObservedOutput]:
    """The outputs whose statistics the model has by itself."""
    balance = model._balance if isinstance(model, GradientBalancedMixin) else None
    if balance is None:
        return []
    return [
        ObservedOutput(name, balance.losses[name], statistic, balanced=True)
        for name, statistic in balance.densities.items()
    ]


class _Listener:
    """Hears each loss in the training steps of a plain model, and takes its statistic after it.

    Everything else that Keras does is left alone: the listener stands before the model's own
    `train_step` and before the losses that Keras has matched with the outputs.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._compile_loss = model._compile_loss
        self._listening = False
        self._outputs: list[ObservedOutput | None] = []
        # Replicas of a mirrored strategy trace in threads of their own.
        self._thread = threading.local()
        self._train_step = model.train_step
        model.train_step = self._step
        if self._compile_loss.built:
            self._listen()
        else:
            # Keras matches losses with outputs and labels at the first batch.
            self._build_before = self._compile_loss.build
            self._compile_loss.build = self._build_loss

    @property
    def outputs(self) -> list[ObservedOutput]:
        return [output for output in self._outputs if output is not None]

    @property
    def has_listened(self) -> bool:
        """Whether a step has computed a loss, if there is one to observe."""
        known = self.outputs
        return any(output.statistic.built for output in known) if known else self._listening

    def remove(self) -> None:
        # The methods of the classes come forward again. Another listener, of a second callback,
        # may have stood before this one and be gone already.
        vars(self._model).pop("train_step", None)
        vars(self._compile_loss).pop("build", None)
        if self._listening:
            self._compile_loss._flat_losses = [
                entry._replace(loss=getattr(entry.loss, "before", entry.loss))
                for entry in self._compile_loss._flat_losses
            ]

    def _build_loss(self, *args: Any) -> None:
        vars(self._compile_loss).pop("build", None)
        self._build_before(*args)
        self._listen()

    def _step(self, data: Any) -> Any:
        heard: list[tuple[ObservedOutput, Any, Any, Any]] = []
        self._thread.heard = heard
        try:
            logs = self._train_step(data)
        finally:
            self._thread.heard = None
        # Only now: a sum over replicas hands over to another replica's thread, and what layers add
        # to the loss lies where all threads share it.
        for output, labels, predictions, sample_weight in heard:
            if not output.statistic.built:
                self._build(output, predictions.shape[-1])
            output.loss.observe(labels, predictions, sample_weight, statistic=output.statistic)
        return logs

    def _listen(self) -> None:
        """Stand before the losses."""
        self._listening = True
        entries = self._compile_loss._flat_losses
        names = getattr(self._model, "output_names", None) or []
        self._outputs = [
            _observed_output(_name(entry, bool(names)), entry.loss) for entry in entries
        ]
        self._compile_loss._flat_losses = [
            entry if output is None else entry._replace(loss=self._before(entry.loss, output))
            for entry, output in zip(entries, self._outputs, strict=True)
        ]
        if not self.outputs:
            losses = [type(entry.loss).__name__ for entry in entries]
            warnings.warn(
                "Expected a loss over classes, whose gradient statistic can be observed. Received "
                f"a model with {losses}. Nothing is observed.",
                stacklevel=2,
            )
        predictions = self._symbolic_predictions()
        for entry, output in zip(entries, self._outputs, strict=True):
            prediction = _at(predictions, entry.path, names)
            if output is not None and prediction is not None and prediction.shape[-1] is not None:
                self._build(output, prediction.shape[-1])

    def _symbolic_predictions(self) -> Any:
        """The model's outputs, where they are known before the first batch.

        A mirrored strategy needs to know: it cannot create variables while it compiles a step.
        """
        if getattr(self._model, "output_names", None):
            return self._model.output
        inputs = getattr(self._model, "_build_shapes_dict", None)
        if not inputs or self._model.distribute_strategy.num_replicas_in_sync == 1:
            return None
        # Keras has called the model symbolically, and kept the shapes of its inputs.
        return self._model.compute_output_spec(
            *(keras.KerasTensor(shape) for shape in inputs.values())
        )

    def _build(self, output: ObservedOutput, num_classes: int) -> None:
        with self._model.distribute_strategy.scope():
            output.statistic.build(num_classes)

    def _before(self, loss: Any, output: ObservedOutput) -> Any:
        def hear(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
            heard = getattr(self._thread, "heard", None)
            if heard is not None:
                heard.append((output, y_true, y_pred, sample_weight))
            return loss(y_true, y_pred, sample_weight)

        hear.before = getattr(loss, "before", loss)  # type: ignore[attr-defined]
        return hear


def _at(predictions: Any, path: tuple, names: list[str]) -> Any:
    """What lies at a path of Keras's in a structure of outputs; None for nothing."""
    for key in path:
        if isinstance(predictions, (list, tuple)) and isinstance(key, str):
            # A dict of losses by the names of the layers.
            key = names.index(key)
        if isinstance(predictions, (dict, list, tuple)):
            predictions = predictions[key]
    if isinstance(predictions, (list, tuple)) and len(predictions) == 1:
        return predictions[0]
    return None if isinstance(predictions, (dict, list, tuple)) else predictions


def _name(entry: Any, functional: bool) -> str:
    """Name of the output that Keras has matched a loss with."""
    if entry.path and isinstance(entry.path[-1], str):
        return entry.path[-1]
    if functional:
        return entry.name
    return str(entry.path[-1]) if entry.path else "output"


def _observed_output(name: str, loss: Any) -> ObservedOutput | None:
    """What is to be observed of an output; None where its loss is not one over classes."""
    # Another callback may listen already.
    loss = getattr(loss, "before", loss)
    balanced = isinstance(loss, GradientBalancedLoss)
    if not balanced:
        # A loss that was given as a function, in Keras's wrapper.
        given = loss.fn if type(loss) is LossFunctionWrapper else loss
        try:
            loss = GradientBalancedLoss(
                given, density_exponent=0, prior_strength=0, noise_exponent=0, label_smoothing=0
            )
        except (ValueError, TypeError):
            return None
    statistic = GradientDensity(loss.bins, loss.momentum, loss.base.multi_label, name=name)
    statistic.watch()
    return ObservedOutput(name, loss, statistic, balanced)
