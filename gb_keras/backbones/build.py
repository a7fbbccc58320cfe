"""A new classifier from a backbone."""

import os
from pathlib import Path

import keras
from keras import layers

from gb_keras.backbones.backbone import PRESET, Backbone
from gb_keras.backbones.catalogue import get
from gb_keras.backbones.classifier import classifier


def build(
    name: str | os.PathLike,
    input_shape: tuple[int, int, int],
    num_classes: int,
    seed: int | None = None,
    logit_scale: float | None = None,
    weights: str | os.PathLike | None = None,
) -> keras.Model:
    """A new classifier: float32 images with values 0..255 in, float32 logits out.

    Images are enlarged to the backbone's minimum size if needed (aspect ratio kept), grey ones
    repeated to RGB where the backbone takes nothing else, and scaled as the backbone expects, all
    by layers of the model itself. Logits are float32 under mixed precision, too.

    | name | what | least size | default size |
    |---|---|---|---|
    | `small_cnn` | three convolutions with batch normalisation, global average | 8 | 32 |
    | `resnet32` | He et al. 2016, section 4.2, n = 5, free shortcuts (option A) | 32 | 32 |
    | `resnet18`, `resnet34`, and `_v2` | He et al. 2016, and with pre-activation | 32 | 224 |
    | `vgg16`, `resnet50`, ... | those of `keras.applications`, global average | 32 | 224 |
    | `inception_v3`, `inception_resnet_v2` | the same | 75 | 299 |
    | `xception` | the same | 71 | 299 |
    | `hub:PRESET` | a network of keras-hub with its own preprocessing | 1 | its own |
    | a `.keras` file or a run folder | that model without its last layer | its own | its own |

    `names()` has them all.

    Args:
        name: One of `names()`, `hub:` with a preset of keras-hub (`hub:resnet_18_imagenet`, or
            the folder of one), a saved model or the folder of a finished training. A saved model
            must take values 0..255, as those of this project, or begin with its own preprocessing.
        input_shape: Height, width and channels of the images.
        num_classes: Number of classes, at least 2.
        seed: Seed of the initial weights, set for all of Keras, TensorFlow, NumPy and Python as
            `keras.utils.set_random_seed` does; None to leave the seed as it is.
        logit_scale: None for a `Dense` classifier; a number for a `NormalizedDense` one of this
            scale, as `LDAMLoss` expects it.
        weights: None for random weights (or those of the saved model), `"imagenet"` for what Keras
            publishes and downloads, or a file of them, without the classifier; of a preset
            `"preset"`.

    Returns:
        A functional model, not compiled. Its classifier has random weights.

    Raises:
        ValueError: Unknown name, a shape or number of classes that makes no sense, or weights that
            the backbone does not take.
        FileNotFoundError: There is no saved model or file of weights of this path.
        ConnectionError: The weights or the preset could not be downloaded.

    Example:
        >>> model = build("small_cnn", (8, 8, 1), num_classes=10, seed=0)
        >>> model.output_shape
        (None, 10)
    """
    backbone = get(name)
    _check(backbone, name, input_shape, num_classes, weights)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    height, width, channels = input_shape
    inputs = keras.Input((height, width, channels), dtype="float32", name="image")
    x = inputs
    size = backbone.fixed_size or _at_least(height, width, backbone.minimum_size)
    if size != (height, width):
        # Keras's augmentation layers, of which this is one, take themselves to be in training where
        # nobody says, and all layers behind them with it.
        x = layers.Resizing(*size, dtype="float32", name="resize")(x, training=False)
    if backbone.channels == 3 and channels == 1:
        x = layers.Concatenate(dtype="float32", name="grey_to_rgb")([x, x, x])
    x = backbone.features(backbone.preprocess(x), None if weights is None else os.fspath(weights))
    return keras.Model(inputs, classifier(num_classes, logit_scale)(x), name=_called(name))


def _called(name: str | os.PathLike) -> str:
    """A short name of a backbone for its model."""
    return Path(os.fspath(name).removeprefix(PRESET)).stem


def _check(
    backbone: Backbone,
    name: str | os.PathLike,
    input_shape: tuple[int, int, int],
    num_classes: int,
    weights: str | os.PathLike | None,
) -> None:
    if len(input_shape) != 3 or not all(isinstance(size, int) and size > 0 for size in input_shape):
        raise ValueError(
            "Expected input_shape to be height, width and channels, each an integer of at least 1. "
            f"Received: input_shape={input_shape!r}. For images of several sizes choose one size."
        )
    expected = (1, 3) if backbone.channels == 3 else (backbone.channels or input_shape[-1],)
    if input_shape[-1] not in expected:
        raise ValueError(
            f"Expected images for {os.fspath(name)!r} to have {' or '.join(map(str, expected))} "
            f"channels. Received: input_shape={input_shape!r}. 'small_cnn' and ResNets of up to "
            "34 layers take any."
        )
    if num_classes < 2:
        raise ValueError(f"Expected at least 2 classes. Received: num_classes={num_classes!r}")
    if weights is not None and not backbone.has_weights:
        raise ValueError(
            f"Expected no weights for {os.fspath(name)!r}, for which none are published. Received: "
            f"weights={os.fspath(weights)!r}."
        )


def _at_least(height: int, width: int, minimum: int) -> tuple[int, int]:
    """Height and width, enlarged by one factor so that both reach the minimum."""
    factor = max(1.0, minimum / min(height, width))
    return round(height * factor), round(width * factor)
