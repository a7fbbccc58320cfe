"""A saved Keras model as a backbone: all of it but its last layer."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import keras

from gb_keras.backbones.backbone import PRESET, Backbone, as_it_is
from gb_keras.backbones.classifier import NAME
from gb_keras.normalized_dense import NormalizedDense


def model_file(name: str | os.PathLike) -> Path | None:
    """The file of a saved model, or None if `name` is the name of a backbone.

    Args:
        name: A `.keras` file, or a folder that `gb-keras train` has written, which holds one.

    Raises:
        FileNotFoundError: It looks like a path, but there is no model.

    Example:
        >>> model_file("vgg16") is None
        True
    """
    path = Path(name)
    if os.fspath(name).startswith(PRESET):
        return None
    if path.suffix != ".keras" and len(path.parts) == 1 and not path.is_dir():
        return None
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            "Expected a backbone by name, a .keras file, or the folder of a finished training. "
            f"Received: {str(name)!r}; there is no {str(file)!r}."
        )
    return file


def load(file: Path, compiled: bool = False) -> keras.Model:
    """The saved model, each time a new one.

    Args:
        file: A `.keras` file.
        compiled: Whether to compile it as it was, which brings back its gradient statistic.

    Raises:
        ValueError: Not a model that can be loaded, or of a kind whose layers are not known.
    """
    try:
        model = keras.models.load_model(file, compile=compiled)
    except (ValueError, OSError, TypeError) as error:
        raise ValueError(
            f"Expected a saved Keras model. Received: {str(file)!r}, which cannot be loaded: "
            f"{error}"
        ) from error
    last_layer(model, str(file))
    return model


def backbone(file: Path) -> Backbone:
    """What there is to know of a saved model as a backbone.

    It takes values 0..255, as the models that `gb-keras train` writes, or begins with its own
    preprocessing.

    Raises:
        ValueError: A model that cannot be one, see `load`, or does not take one image.
    """
    shape = _input_shape(file, file.stat().st_mtime_ns)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "Expected a model of images, (batch, height, width, channels). Received: "
            f"{str(file)!r} of input_shape={shape!r}."
        )
    _, height, width, channels = shape
    return Backbone(
        functools.partial(_features, file),
        as_it_is,
        minimum_size=1,
        default_size=height or 224,
        channels=channels,
        fixed_size=(height, width) if height and width else None,
    )


@functools.lru_cache
def _input_shape(file: Path, changed: int) -> tuple[int | None, ...]:
    """Asked for several times of a model that may be large; `changed` is for the cache."""
    return load(file).input_shape


def transfer_classes(
    trained: keras.Model, model: keras.Model, sources: Sequence[int | None]
) -> None:
    """Give a new model what a trained one has learned of the classes that both know.

    These are the weights of the classes in the last layer, where both have one of the same kind,
    and the rows of the gradient statistic, where both have one. Other classes keep their initial
    weights, and start with an empty row.

    Args:
        trained: The trained model.
        model: A new one of the same features, compiled if its statistic is wanted; it is changed.
        sources: For each class of the new model its index in the trained one, or None.

    Example:
        >>> def two(classes):
        ...     return keras.Sequential([keras.Input((2,)), keras.layers.Dense(classes)])
        >>> trained, model = two(2), two(3)
        >>> transfer_classes(trained, model, [1, None, 0])
        >>> bool((model.layers[0].kernel[:, 0] == trained.layers[0].kernel[:, 1]).numpy().all())
        True
    """
    pairs = [(new, old) for new, old in enumerate(sources) if old is not None]
    if not pairs:
        return
    new, old = map(list, zip(*pairs, strict=True))
    ours, theirs = last_layer(model), last_layer(trained)
    if type(ours) is type(theirs) and len(ours.weights) == len(theirs.weights):
        for to, source in zip(ours.weights, theirs.weights, strict=True):
            values = to.numpy()
            values[..., new] = source.numpy()[..., old]
            to.assign(values)
    seen = getattr(trained, "gradient_density", None)
    statistic = getattr(model, "gradient_density", None)
    if seen is not None and statistic is not None:
        statistic.take_over(seen, sources)


def _features(file: Path, x: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """What goes into the last layer of the saved model."""
    model = load(file)
    features = last_layer(model, str(file)).input
    return keras.Model(model.inputs[0], features, name=f"features_of_{model.name}")(x)


def last_layer(model: keras.Model, source: str = "") -> keras.layers.Layer:
    """The layer that makes the logits, behind a softmax or sigmoid if there is one."""
    outputs = getattr(model, "outputs", None) or []
    layer = outputs[0]._keras_history.operation if len(outputs) == 1 else None
    while isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        layer = layer.input._keras_history.operation
    if not isinstance(layer, keras.layers.Dense | NormalizedDense):
        raise ValueError(
            "Expected a functional or sequential model with one output, whose last layer is Dense "
            f"(which is replaced by a new one, {NAME!r}). Received: {source or model.name} ending "
            f"in {'no known layer' if layer is None else type(layer).__name__}."
        )
    return layer
