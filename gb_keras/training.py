"""Models that train with balanced gradients: the custom train step and the state it updates."""

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras.src.models.functional import Functional  # Keras exports no name for it.

from gb_keras import losses
from gb_keras.statistics import GradientDensity

# To a type checker a mixin is what it is mixed into.
if TYPE_CHECKING:
    from keras import Model as _ModelBase
else:
    _ModelBase = object


class GradientBalancedMixin(_ModelBase):
    """Makes a Keras model train with the gradient statistic of its `GradientBalancedLoss`.

    Put it before `keras.Model` in an own subclass. It works with whatever `call`, `compute_loss`
    or `train_step` the other bases have: within a training step the balanced losses read their
    logit gradient through a `tf.GradientTape`, update the running statistic, and hand the
    balanced gradient on to the step's one backward pass. Outside of a training step, hence in
    `evaluate`, they are the base loss and touch no statistic. Losses without balance are left
    alone.

    `compile` starts a new statistic, as it starts a new optimizer state.

    Example:
        >>> import keras, numpy as np
        >>> class MyModel(GradientBalancedMixin, keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.classifier = keras.layers.Dense(3, activation="softmax")
        ...     def call(self, inputs):
        ...         return self.classifier(inputs)
        >>> model = MyModel()
        >>> model.compile("sgd", loss=losses.GradientBalancedLoss())
        >>> history = model.fit(np.eye(3), np.arange(3), verbose=0)
        >>> model.gradient_density.class_counts.numpy()
        array([1., 1., 1.], dtype=float32)
    """

    _balance: Any = None  # A `_ModelBalance`, once the model is compiled.

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure for training, as `keras.Model.compile`."""
        super().compile(*args, **kwargs)
        self._balance = _ModelBalance(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was; Keras asks for this beside an own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> Any:
        """Make the compiled training step; its statistic must exist before."""
        self._balance.build()
        return super().make_train_function(force=force)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step: forward pass, logit gradient, statistic, balanced backward pass."""
        with self._balance.training():
            return super().train_step(data)

    def compute_loss(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        """The loss of a batch, as `keras.Model.compute_loss`; balanced inside a training step."""
        with self._balance.computing_loss() as balancing, losses.balanced_by(balancing):
            return super().compute_loss(*args, **kwargs)

    @property
    def losses(self) -> list[tf.Tensor]:
        """Losses of regularisers and `add_loss`, as those of any Keras layer."""
        balance = self._balance
        held = None if balance is None else balance.held_losses
        return super().losses if held is None else held

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Measure on data, as `keras.Model.evaluate`; its loss is the base loss."""
        with self._evaluating():
            return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Measure on a batch, as `keras.Model.test_on_batch`; its loss is the base loss."""
        with self._evaluating():
            return super().test_on_batch(*args, **kwargs)

    def _evaluating(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if self._balance is None else self._balance.evaluating()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras's metrics and, while training, the base loss of each balanced output."""
        balance = self._balance
        return super().metrics + ([] if balance is None else balance.metrics())

    @property
    def gradient_density(self) -> GradientDensity | dict[str, GradientDensity]:
        """The statistic of the balanced output; of several outputs, a dict by their names.

        Raises:
            AttributeError: The model is not compiled with a `GradientBalancedLoss`.
        """
        # Keras finds and saves it here, and nowhere else: as a tracked layer it would be in
        # `model.layers` and `model.weights`, which are to stay those of the plain model.
        balance = self._balance
        if balance is None or not balance.densities:
            raise AttributeError(
                "Expected a model compiled with a gb_keras.GradientBalancedLoss. Received a model "
                "without one. Pass it as `loss` to compile()."
            )
        if len(balance.densities) == 1:
            return next(iter(balance.densities.values()))
        return balance.densities

    @property
    def variables(self) -> list[keras.Variable]:
        """Keras's variables and those of the statistic, so that an export holds them too."""
        balance = self._balance
        own = (
            [] if balance is None else [v for d in balance.densities.values() for v in d.variables]
        )
        return super().variables + own


@keras.saving.register_keras_serializable(package="gb_keras")
class GradientBalancedModel(GradientBalancedMixin, keras.Model):
    """A functional Keras model that trains with balanced gradients.

    Args:
        inputs: As for `keras.Model`.
        outputs: As for `keras.Model`.
        name: Name of the model.

    Example:
        >>> import keras, numpy as np
        >>> inputs = keras.Input((4,))
        >>> outputs = keras.layers.Dense(3, activation="softmax")(inputs)
        >>> model = GradientBalancedModel(inputs, outputs)
        >>> model.compile("adam", loss=losses.GradientBalancedLoss(bins=10))
        >>> history = model.fit(np.ones((8, 4)), np.arange(8) % 3, verbose=0)
        >>> model.gradient_density.histogram.numpy().shape
        (3, 10)
    """

    @staticmethod
    def from_model(model: keras.Model) -> keras.Model:
        """A balanced model with the layers and weights of another one, shared, not copied.

        Args:
            model: Any Keras model: Sequential, Functional, from `keras.applications`, or an own
                subclass. Of an own subclass `call` is used, and no other method: one with its own
                `train_step` or `compute_loss` takes the `GradientBalancedMixin` instead.

        Returns:
            A model to compile with a `GradientBalancedLoss`.

        Raises:
            TypeError: Not a Keras model.

        Example:
            >>> import keras
            >>> plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
            >>> balanced = GradientBalancedModel.from_model(plain)
            >>> balanced.layers[-1] is plain.layers[-1]
            True
        """
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"Expected a keras.Model. Received: model={model!r} of type {type(model)}. Build "
                "the model first, then pass it."
            )
        if isinstance(model, GradientBalancedMixin):
            return model
        # A sequential model has its inputs once it knows their shape.
        if type(model) is keras.Sequential and hasattr(model, "inputs"):
            outputs = model.outputs[0] if len(model.outputs) == 1 else model.outputs
            return GradientBalancedModel(model.inputs[0], outputs, name=model.name)
        if type(model) is Functional:
            return GradientBalancedModel(model.input, model.output, name=model.name)
        return GradientBalancedWrapper(model)


@keras.saving.register_keras_serializable(package="gb_keras")
class GradientBalancedWrapper(GradientBalancedMixin, keras.Model):
    """Trains a model that is not functional, such as an own subclass, with balanced gradients.

    Args:
        model: The model; its layers and weights are shared.
        name: Name of the wrapper. Defaults to the model's.
    """

    def __init__(self, model: keras.Model, name: str | None = None, **kwargs: Any):
        super().__init__(name=name or model.name, **kwargs)
        self.model = model

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The model's own output."""
        del training  # Keras hands it on to the layers inside that take it.
        return self.model(inputs)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this model."""
        return {"name": self.name, "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GradientBalancedWrapper":
        """Rebuild a model from `get_config`."""
        return cls(**{**config, "model": keras.saving.deserialize_keras_object(config["model"])})


class _ModelBalance:
    """The statistics of a compiled model, one for each balanced output, in the order of losses."""

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

    def __init__(self, balance: _ModelBalance, training: bool):
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
