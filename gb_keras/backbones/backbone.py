"""What there is to know of a backbone before it is built."""

import dataclasses
from collections.abc import Callable

import keras
from keras import layers, ops

# What names of presets of keras-hub begin with.
PRESET = "hub:"
# Of the RGB values in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network without its classifier.

    Attributes:
        features: Makes features `(batch, num_features)` of preprocessed images. Its second
            argument says where weights come from: None, `"imagenet"` or a file, or `"preset"`.
        preprocess: Maps RGB or grey values 0..255 to what `features` was designed for.
        minimum_size: Smallest height and width; smaller images are enlarged inside the model.
        default_size: Height and width to use where the images have no common size.
        channels: Number of channels that it takes, or None for any. Where it is 3, grey images are
            repeated to RGB inside the model.
        has_weights: Whether `features` takes anything but None.
        fixed_size: Height and width that images are resized to inside the model whatever their
            own, or None where the network takes any.
    """

    features: Callable[[keras.KerasTensor, str | None], keras.KerasTensor]
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor]
    minimum_size: int
    default_size: int
    channels: int | None = None
    has_weights: bool = False
    fixed_size: tuple[int, int] | None = None


def as_it_is(x: keras.KerasTensor) -> keras.KerasTensor:
    """Values 0..255, for a network that begins with its own preprocessing."""
    return x


def to_minus_one_to_one(x: keras.KerasTensor) -> keras.KerasTensor:
    """Values in [-1, 1], the `"tf"` mode of `keras.applications`."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocess")(x)


def to_standard_rgb(x: keras.KerasTensor) -> keras.KerasTensor:
    """RGB values of ImageNet's mean and deviation, the `"torch"` mode of `keras.applications`."""
    return layers.Rescaling(
        [1 / (255.0 * each) for each in IMAGENET_DEVIATION],
        offset=[-each / by for each, by in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
        dtype="float32",
        name="preprocess",
    )(x)


def to_centred_bgr(x: keras.KerasTensor) -> keras.KerasTensor:
    """BGR values less ImageNet's mean, the `"caffe"` mode of `keras.applications`."""
    x = layers.Rescaling(
        1.0, offset=[-123.68, -116.779, -103.939], dtype="float32", name="preprocess"
    )(x)
    return ops.flip(x, axis=-1)
