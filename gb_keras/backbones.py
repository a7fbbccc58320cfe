"""Image classifiers by name: uint8-range images in, logits out, preprocessing inside."""

import dataclasses
from collections.abc import Callable

import keras
from keras import layers, ops

from gb_keras.names import require_name
from gb_keras.normalized_dense import NormalizedDense

# As in the original ResNet. Keras's default of 0.99 takes some hundred steps until a model knows
# the mean of its own features; a small data set has not so many.
BATCH_NORMALIZATION_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What there is to know of a backbone before it is built.

    Attributes:
        features: Makes features `(batch, num_features)` of preprocessed images.
        preprocess: Maps RGB or grey values 0..255 to what `features` was designed for.
        minimum_size: Smallest height and width; smaller images are enlarged inside the model.
        default_size: Height and width to use where the images have no common size.
        needs_rgb: Whether grey images are repeated to three channels inside the model.
    """

    features: Callable[[keras.KerasTensor], keras.KerasTensor]
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor]
    minimum_size: int
    default_size: int
    needs_rgb: bool


def names() -> list[str]:
    """Names that `build` knows.

    Example:
        >>> names()
        ['small_cnn', 'resnet32', 'vgg16', 'inception_v3', 'resnet50']
    """
    return list(_BACKBONES)


def get(name: str) -> Backbone:
    """The backbone of a name.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: There is none of this name.
    """
    require_name("backbone", name, _BACKBONES)
    return _BACKBONES[name]


def build(
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    seed: int | None = None,
    logit_scale: float | None = None,
) -> keras.Model:
    """A new classifier: float32 images with values 0..255 in, float32 logits out.

    Images are enlarged to the backbone's minimum size if needed (aspect ratio kept), grey ones
    repeated to RGB where the backbone takes nothing else, and scaled as the backbone expects, all
    by layers of the model itself. Logits are float32 under mixed precision, too.

    | name | what | least size | default size |
    |---|---|---|---|
    | `small_cnn` | three convolutions with batch normalisation, global average | 8 | 32 |
    | `resnet32` | He et al. 2016, section 4.2, n = 5, free shortcuts (option A) | 32 | 32 |
    | `vgg16` | `keras.applications.VGG16`, global average instead of the dense layers | 32 | 224 |
    | `inception_v3` | `keras.applications.InceptionV3` | 75 | 299 |
    | `resnet50` | `keras.applications.ResNet50` | 32 | 224 |

    Args:
        name: One of `names()`.
        input_shape: Height, width and channels of the images.
        num_classes: Number of classes, at least 2.
        seed: Seed of the initial weights, set for all of Keras, TensorFlow, NumPy and Python as
            `keras.utils.set_random_seed` does; None to leave the seed as it is.
        logit_scale: None for a `Dense` classifier; a number for a `NormalizedDense` one of this
            scale, as `LDAMLoss` expects it.

    Returns:
        A functional model, not compiled, with random weights.

    Raises:
        ValueError: Unknown name, or a shape or number of classes that makes no sense.

    Example:
        >>> model = build("small_cnn", (8, 8, 1), num_classes=10, seed=0)
        >>> model.output_shape
        (None, 10)
    """
    backbone = get(name)
    _check(backbone, name, input_shape, num_classes)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    height, width, channels = input_shape
    inputs = keras.Input((height, width, channels), dtype="float32", name="image")
    x = inputs
    enlarged = _at_least(height, width, backbone.minimum_size)
    if enlarged != (height, width):
        x = layers.Resizing(*enlarged, dtype="float32", name="resize")(x)
    if backbone.needs_rgb and channels == 1:
        x = layers.Concatenate(dtype="float32", name="grey_to_rgb")([x, x, x])
    x = backbone.features(backbone.preprocess(x))
    return keras.Model(inputs, classifier(num_classes, logit_scale)(x), name=name)


def classifier(num_classes: int, logit_scale: float | None) -> keras.layers.Layer:
    """The last layer of a network, named `logits`; float32 under mixed precision, too.

    Args:
        num_classes: Number of classes.
        logit_scale: None for a `Dense` layer, or the scale of a `NormalizedDense` one.

    Example:
        >>> classifier(3, logit_scale=30.0)(keras.ops.ones((2, 4))).shape
        TensorShape([2, 3])
    """
    if logit_scale is None:
        return layers.Dense(num_classes, dtype="float32", name="logits")
    return NormalizedDense(num_classes, logit_scale, dtype="float32", name="logits")


def _check(
    backbone: Backbone, name: str, input_shape: tuple[int, int, int], num_classes: int
) -> None:
    if len(input_shape) != 3 or not all(isinstance(size, int) and size > 0 for size in input_shape):
        raise ValueError(
            "Expected input_shape to be height, width and channels, each an integer of at least 1. "
            f"Received: input_shape={input_shape!r}. For images of several sizes choose one size."
        )
    if backbone.needs_rgb and input_shape[-1] not in (1, 3):
        raise ValueError(
            f"Expected grey or RGB images for {name!r}: 1 or 3 channels. Received: "
            f"input_shape={input_shape!r}. Use 'small_cnn' or 'resnet32' for other channels."
        )
    if num_classes < 2:
        raise ValueError(f"Expected at least 2 classes. Received: num_classes={num_classes!r}")


def _at_least(height: int, width: int, minimum: int) -> tuple[int, int]:
    """Height and width, enlarged by one factor so that both reach the minimum."""
    factor = max(1.0, minimum / min(height, width))
    return round(height * factor), round(width * factor)


def _to_minus_one_to_one(x: keras.KerasTensor) -> keras.KerasTensor:
    """Values in [-1, 1], the `"tf"` mode of `keras.applications`."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocess")(x)


def _to_centred_bgr(x: keras.KerasTensor) -> keras.KerasTensor:
    """BGR values less ImageNet's mean, the `"caffe"` mode of `keras.applications`."""
    x = layers.Rescaling(
        1.0, offset=[-123.68, -116.779, -103.939], dtype="float32", name="preprocess"
    )(x)
    return ops.flip(x, axis=-1)


def _convolution(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
    """3x3 convolution and batch normalisation, which makes a bias pointless."""
    x = layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM)(x)


def _small_cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Three convolutions of 32, 64 and 128 filters; the image halves twice on the way."""
    for index, filters in enumerate((32, 64, 128)):
        if index:
            x = layers.MaxPooling2D(padding="same")(x)
        x = layers.ReLU()(_convolution(x, filters))
    return layers.GlobalAveragePooling2D()(x)


def _resnet32(x: keras.KerasTensor) -> keras.KerasTensor:
    """6n + 2 = 32 layers: three stages of n = 5 blocks with 16, 32 and 64 filters."""
    x = layers.ReLU()(_convolution(x, 16))
    for filters in (16, 32, 64):
        for block in range(5):
            strides = 2 if block == 0 and filters > 16 else 1
            residual = layers.ReLU()(_convolution(x, filters, strides))
            residual = _convolution(residual, filters)
            if strides == 2:
                # Option A: every second pixel, and zeros for the new channels. No parameters.
                x = layers.MaxPooling2D(pool_size=1, strides=2)(x)
                x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (filters // 4, filters // 4)))
            x = layers.ReLU()(layers.Add()([x, residual]))
    return layers.GlobalAveragePooling2D()(x)


def _application(
    make: Callable[..., keras.Model],
) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Features of a model of `keras.applications`, with random weights."""

    def features(x: keras.KerasTensor) -> keras.KerasTensor:
        model = make(include_top=False, weights=None, input_shape=x.shape[1:], pooling="avg")
        return model(x)

    return features


_BACKBONES = {
    "small_cnn": Backbone(_small_cnn, _to_minus_one_to_one, 8, 32, needs_rgb=False),
    "resnet32": Backbone(_resnet32, _to_minus_one_to_one, 32, 32, needs_rgb=False),
    "vgg16": Backbone(
        _application(keras.applications.VGG16), _to_centred_bgr, 32, 224, needs_rgb=True
    ),
    "inception_v3": Backbone(
        _application(keras.applications.InceptionV3), _to_minus_one_to_one, 75, 299, needs_rgb=True
    ),
    "resnet50": Backbone(
        _application(keras.applications.ResNet50), _to_centred_bgr, 32, 224, needs_rgb=True
    ),
}
