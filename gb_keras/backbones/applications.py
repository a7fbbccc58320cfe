"""The classifiers of `keras.applications` by name, each with its own preprocessing."""

import functools
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from gb_keras.backbones.backbone import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    Backbone,
    as_it_is,
    to_centred_bgr,
    to_minus_one_to_one,
    to_standard_rgb,
)

# Name, function in keras.applications, preprocessing, least size, default size. Least and default
# sizes are those of the functions; they do not tell them.
_TABLE = (
    ("vgg16", "VGG16", to_centred_bgr, 32, 224),
    ("vgg19", "VGG19", to_centred_bgr, 32, 224),
    ("inception_v3", "InceptionV3", to_minus_one_to_one, 75, 299),
    ("inception_resnet_v2", "InceptionResNetV2", to_minus_one_to_one, 75, 299),
    ("xception", "Xception", to_minus_one_to_one, 71, 299),
    ("resnet50", "ResNet50", to_centred_bgr, 32, 224),
    ("resnet101", "ResNet101", to_centred_bgr, 32, 224),
    ("resnet152", "ResNet152", to_centred_bgr, 32, 224),
    ("resnet50_v2", "ResNet50V2", to_minus_one_to_one, 32, 224),
    ("resnet101_v2", "ResNet101V2", to_minus_one_to_one, 32, 224),
    ("resnet152_v2", "ResNet152V2", to_minus_one_to_one, 32, 224),
    ("densenet121", "DenseNet121", to_standard_rgb, 32, 224),
    ("densenet169", "DenseNet169", to_standard_rgb, 32, 224),
    ("densenet201", "DenseNet201", to_standard_rgb, 32, 224),
    ("mobilenet", "MobileNet", to_minus_one_to_one, 32, 224),
    ("mobilenet_v2", "MobileNetV2", to_minus_one_to_one, 32, 224),
    ("mobilenet_v3_small", "MobileNetV3Small", as_it_is, 32, 224),
    ("mobilenet_v3_large", "MobileNetV3Large", as_it_is, 32, 224),
    ("nasnet_mobile", "NASNetMobile", to_minus_one_to_one, 32, 224),
    ("nasnet_large", "NASNetLarge", to_minus_one_to_one, 32, 331),
    ("efficientnet_b0", "EfficientNetB0", as_it_is, 32, 224),
    ("efficientnet_b1", "EfficientNetB1", as_it_is, 32, 240),
    ("efficientnet_b2", "EfficientNetB2", as_it_is, 32, 260),
    ("efficientnet_b3", "EfficientNetB3", as_it_is, 32, 300),
    ("efficientnet_b4", "EfficientNetB4", as_it_is, 32, 380),
    ("efficientnet_b5", "EfficientNetB5", as_it_is, 32, 456),
    ("efficientnet_b6", "EfficientNetB6", as_it_is, 32, 528),
    ("efficientnet_b7", "EfficientNetB7", as_it_is, 32, 600),
    ("efficientnet_v2_b0", "EfficientNetV2B0", as_it_is, 32, 224),
    ("efficientnet_v2_b1", "EfficientNetV2B1", as_it_is, 32, 240),
    ("efficientnet_v2_b2", "EfficientNetV2B2", as_it_is, 32, 260),
    ("efficientnet_v2_b3", "EfficientNetV2B3", as_it_is, 32, 300),
    ("efficientnet_v2_s", "EfficientNetV2S", as_it_is, 32, 384),
    ("efficientnet_v2_m", "EfficientNetV2M", as_it_is, 32, 480),
    ("efficientnet_v2_l", "EfficientNetV2L", as_it_is, 32, 480),
    ("convnext_tiny", "ConvNeXtTiny", as_it_is, 32, 224),
    ("convnext_small", "ConvNeXtSmall", as_it_is, 32, 224),
    ("convnext_base", "ConvNeXtBase", as_it_is, 32, 224),
    ("convnext_large", "ConvNeXtLarge", as_it_is, 32, 224),
    ("convnext_xlarge", "ConvNeXtXLarge", as_it_is, 32, 224),
)


def applications() -> dict[str, Backbone]:
    """All of them, by name.

    Example:
        >>> applications()["inception_v3"].default_size
        299
    """
    return {
        name: Backbone(
            functools.partial(_features, name, getattr(keras.applications, function)),
            preprocess,
            minimum_size,
            default_size,
            channels=3,
            has_weights=True,
        )
        for name, function, preprocess, minimum_size, default_size in _TABLE
    }


def _features(
    name: str, make: Callable[..., keras.Model], x: keras.KerasTensor, weights: str | None = None
) -> keras.KerasTensor:
    """Features of a model of `keras.applications`: its convolutions and a global average."""
    make = functools.partial(make, include_top=False, input_shape=x.shape[1:], pooling="avg")
    if weights is None:
        return make(weights=None)(x)
    if weights == "imagenet":
        return _with_imagenet(name, make)(x)
    if re.fullmatch(r"efficientnet_b\d", name):
        x = _as_efficientnet_was_trained(x)
    return _with_file(name, make, Path(weights))(x)


def _with_imagenet(name: str, make: Callable[..., keras.Model]) -> keras.Model:
    """The network with the weights that Keras downloads, or finds where it keeps downloads."""
    try:
        return make(weights="imagenet")
    except Exception as error:  # Keras raises no kind of its own.
        found = re.search(r"URL fetch failure on (\S+?):? ", str(error))
        if found is None:
            raise
        raise ConnectionError(
            f"Expected to download the ImageNet weights of {name!r}. Received: {error}. On a "
            f"machine with a network download {found[1]}, bring the file here and give its path "
            "as weights (--weights FILE)."
        ) from error


def _with_file(name: str, make: Callable[..., keras.Model], file: Path) -> keras.Model:
    """The network with the weights of a file that Keras, or `save_weights`, has written."""
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected weights to be 'imagenet' or a file. Received: {str(file)!r}, which does not "
            "exist."
        )
    model = make(weights=None)
    try:
        # Keras only warns of layers that it finds no weights for.
        with warnings.catch_warnings(action="error", category=UserWarning):
            model.load_weights(file)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ValueError(
            f"Expected a file with the weights of {name!r} without its classifier, as Keras "
            f"publishes them under a name with notop, ending in .h5 or .weights.h5. Received: "
            f"{str(file)!r}, which does not fit: {error}"
        ) from error
    return model


def _as_efficientnet_was_trained(x: keras.KerasTensor) -> keras.KerasTensor:
    """Values that the network's own normalisation takes to `(v - mean) / deviation^1.5`.

    Keras divides by another root of the deviation where it downloads the weights itself, because
    they were trained so, and forgets it where they come from a file.
    """
    scale = [1 / math.sqrt(each) for each in IMAGENET_DEVIATION]
    offset = [255.0 * each * (1 - by) for each, by in zip(IMAGENET_MEAN, scale, strict=True)]
    return layers.Rescaling(scale, offset=offset, dtype="float32", name="rescale_as_trained")(x)
