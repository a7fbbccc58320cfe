"""Models that train with balanced gradients: the custom train step and the state it updates."""

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras.src.models.functional import Functional  # Keras exports no name for it.

from gb_keras.balance import ModelBalance
from gb_keras.statistics import GradientDensity

# To a type checker a mixin is what it is mixed into.
if TYPE_CHECKING:
    from keras import Model as _ModelBase
else:
    _ModelBase = object


class GradientBalancedMixin(_ModelBase):
    """Makes a Keras model train with the gradient statistic of its `GradientBalancedLoss`.

    Put it before `keras.Model` in an own subclass. It works with whatever `call`, `compute_loss`
    or `train_step` the class or its other bases have: within a training step the balanced losses
    read their logit gradient through a `tf.GradientTape`, update the running statistic, and hand
    the balanced gradient on to the step's one backward pass. Outside of a training step, hence in
    `evaluate`, they are the base loss and touch no statistic. Losses without balance are left
    alone.

    `compile` starts a new statistic, as it starts a new optimizer state.

    Example:
        >>> import gb_keras, keras, numpy as np
        >>> class MyModel(GradientBalancedMixin, keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.classifier = keras.layers.Dense(3, activation="softmax")
        ...     def call(self, inputs):
        ...         return self.classifier(inputs)
        >>> model = MyModel()
        >>> model.compile("sgd", loss=gb_keras.GradientBalancedLoss())
        >>> history = model.fit(np.eye(3), np.arange(3), verbose=0)
        >>> model.gradient_density.class_counts.numpy()
        array([1., 1., 1.], dtype=float32)
    """

    _balance: Any = None  # A `ModelBalance`, once the model is compiled.

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        bases = cls.__mro__
        if keras.Model in bases and bases.index(keras.Model) < bases.index(GradientBalancedMixin):
            raise TypeError(
                f"Expected GradientBalancedMixin before keras.Model in the bases of "
                f"{cls.__name__}, so that its train step comes first. Received "
                f"{[base.__name__ for base in cls.__bases__]}. Write "
                f"class {cls.__name__}(GradientBalancedMixin, keras.Model)."
            )
        # A method in the body of a subclass hides the mixin's own.
        for name, block in _BLOCK_OF.items():
            if name in vars(cls):
                setattr(cls, name, _within(block, vars(cls)[name]))

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure for training, as `keras.Model.compile`."""
        super().compile(*args, **kwargs)
        self._balance = ModelBalance(self)

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
        with self._within("training"):
            return super().train_step(data)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of an evaluation, without balance."""
        with self._within("testing"):
            return super().test_step(data)

    def train_on_batch(self, *args: Any, return_dict: bool = False, **kwargs: Any) -> Any:
        """Train on a batch, as `keras.Model.train_on_batch`; the base loss is in the dict only."""
        logs = super().train_on_batch(*args, return_dict=True, **kwargs)
        if return_dict:
            return logs
        with self._within("evaluating"):
            own = {metric.name for metric in self._balance.base_loss.values()}
            return self._flatten_metrics_in_order(
                {name: value for name, value in logs.items() if name not in own}
            )

    def compute_loss(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        """The loss of a batch, as `keras.Model.compute_loss`; balanced inside a training step."""
        with self._within("computing_loss"):
            return super().compute_loss(*args, **kwargs)

    @property
    def losses(self) -> list[tf.Tensor]:
        """Losses of regularisers and `add_loss`, as those of any Keras layer."""
        balance = self._balance
        held = None if balance is None else balance.held_losses
        return super().losses if held is None else held

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Measure on data, as `keras.Model.evaluate`; its loss is the base loss."""
        with self._within("evaluating"):
            return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Measure on a batch, as `keras.Model.test_on_batch`; its loss is the base loss."""
        with self._within("evaluating"):
            return super().test_on_batch(*args, **kwargs)

    def _within(self, block: str) -> contextlib.AbstractContextManager:
        """A block of the model's balance; nothing for a model that is not compiled yet."""
        balance = self._balance
        return contextlib.nullcontext() if balance is None else getattr(balance, block)()

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


# Methods that a user may write anew, and the block of the balance that each runs in.
_BLOCK_OF = {"train_step": "training", "test_step": "testing", "compute_loss": "computing_loss"}


def _within(block: str, method: Callable) -> Callable:
    """A method of a model, run within a block of its balance."""

    @functools.wraps(method)
    def balanced(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._within(block):
            return method(self, *args, **kwargs)

    return balanced


@keras.saving.register_keras_serializable(package="gb_keras")
class GradientBalancedModel(GradientBalancedMixin, keras.Model):
    """A functional Keras model that trains with balanced gradients.

    Args:
        inputs: As for `keras.Model`.
        outputs: As for `keras.Model`.
        name: Name of the model.

    Example:
        >>> import gb_keras, keras, numpy as np
        >>> inputs = keras.Input((4,))
        >>> outputs = keras.layers.Dense(3, activation="softmax")(inputs)
        >>> model = GradientBalancedModel(inputs, outputs)
        >>> model.compile("adam", loss=gb_keras.GradientBalancedLoss(bins=10))
        >>> history = model.fit(np.ones((8, 4)), np.arange(8) % 3, verbose=0)
        >>> model.gradient_density.histogram.numpy().shape
        (3, 10)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "GradientBalancedModel":
        """Refuse a whole model, of which people expect what `from_model` does."""
        if args and isinstance(args[0], keras.Model):
            raise TypeError(
                "Expected the inputs and outputs of a functional model. Received a whole model, "
                f"{args[0].name!r}. Write GradientBalancedModel.from_model(model)."
            )
        return super().__new__(cls, *args, **kwargs)

    @staticmethod
    def from_model(model: keras.Model) -> keras.Model:
        """A balanced model with the layers and weights of another one, shared, not copied.

        Args:
            model: Any Keras model: Sequential, Functional, from `keras.applications`, or an own
                subclass. Of an own subclass `call` is used: one with its own `train_step` or
                `compute_loss` takes the `GradientBalancedMixin` instead.

        Returns:
            A model to compile with a `GradientBalancedLoss`.

        Raises:
            TypeError: Not a Keras model, or one with an own `train_step` or `compute_loss`.

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
        for name in ("train_step", "compute_loss"):
            if getattr(type(model), name) is not getattr(keras.Model, name):
                raise TypeError(
                    f"Expected a model with Keras's own {name}. Received {type(model).__name__}, "
                    "whose own one would not be called. Give the class the mixin instead: "
                    f"class {type(model).__name__}(gb_keras.GradientBalancedMixin, keras.Model)."
                )
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
