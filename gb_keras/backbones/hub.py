"""The image classifiers of keras-hub by their presets, each with its own preprocessing."""

import difflib
import functools
from typing import Any

import keras
from keras import layers

from gb_keras.backbones.backbone import PRESET, Backbone
from gb_keras.backbones.saved import last_layer

# The only weights that a preset has.
_OWN_WEIGHTS = "preset"


def backbone(preset: str) -> Backbone:
    """What there is to know of a preset as a backbone.

    Images are resized and scaled as the image converter of the preset does it.

    Args:
        preset: A name of keras-hub's, `kaggle://...`, `hf://...`, or the folder of a preset that
            was saved with its preprocessor.

    Raises:
        ValueError: keras-hub is not installed, or there is no such preset of an image classifier.
        ConnectionError: It could not be downloaded.
    """
    converter = _load(preset, "layers.ImageConverter")
    return Backbone(
        functools.partial(_features, preset),
        functools.partial(_preprocess, preset),
        minimum_size=1,
        default_size=converter.image_size[0] if converter.image_size else 224,
        channels=3,
        has_weights=True,
    )


def _preprocess(preset: str, x: keras.KerasTensor) -> keras.KerasTensor:
    """What the preset's image converter makes of values 0..255."""
    converter = _load(preset, "layers.ImageConverter", dtype="float32")
    if converter.image_size is not None:
        resizing = converter.resizing
        # As in `build`: a resizing layer takes itself to be in training where nobody says.
        x = layers.Resizing.from_config(resizing.get_config())(x, training=False)
        converter.image_size = None
    return converter(x)


def _features(preset: str, x: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """What goes into the last layer of the preset's image classifier."""
    if weights not in (None, _OWN_WEIGHTS):
        raise ValueError(
            f"Expected weights of a preset to be {_OWN_WEIGHTS!r}, those that it has, or none. "
            f"Received: {weights!r}."
        )
    model = _load(
        preset,
        "models.ImageClassifier",
        # Its own classifier is left away; without a number a preset of a bare backbone has none.
        num_classes=2,
        load_weights=weights is not None,
        dtype=keras.config.dtype_policy(),
    )
    features = last_layer(model, preset).input
    return keras.Model(model.inputs[0], features, name=f"features_of_{model.name}")(x)


def _load(preset: str, what: str, **options: Any) -> Any:
    """A part of a preset."""
    module, _, kind = what.partition(".")
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        raise ValueError(
            f"Expected keras-hub to be installed for {PRESET + preset!r}. Received: {error}. "
            "Install it: pip install 'gb-keras[hub]'"
        ) from error
    try:
        return getattr(getattr(keras_hub, module), kind).from_preset(preset, **options)
    except (ValueError, TypeError, FileNotFoundError) as error:
        known = keras_hub.models.ImageClassifier.presets
        nearest = difflib.get_close_matches(preset, known, n=1)
        raise ValueError(
            "Expected a preset of an image classifier that keras-hub knows, or the folder of one, "
            f"with its preprocessor. Received: {preset!r} ({_reason(error)})."
            + (f" Did you mean {nearest[0]!r}?" if nearest else "")
        ) from error
    except Exception as error:  # Those of several libraries that download.
        raise ConnectionError(
            f"Expected to download the preset {preset!r}. Received: {type(error).__name__}: "
            f"{error}. On a machine with a network, keras_hub.models.ImageClassifier.from_preset("
            f"{preset!r}, num_classes=2).save_to_preset(FOLDER); bring the folder here, and give "
            f"{PRESET}FOLDER."
        ) from error


def _reason(error: Exception) -> str:
    """The first line of an error, less the words that lead over to the lines below it."""
    line = str(error).partition("\n")[0]
    return line.rpartition(". ")[0] if line.endswith(":") else line
