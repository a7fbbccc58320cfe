"""The networks of the protocols: images with values 0..255 in, logits out."""

import keras
from keras import layers

from gb_keras import backbones
from gb_keras.names import require_name

# Blocks in each of the four stages of a network of basic blocks (two 3x3 convolutions each). On
# images of 224 pixels it begins with a 7x7 convolution and pooling (He et al. 2016, table 1), on
# those of 32 with a 3x3 convolution. `resnet10` is that of Liu et al. 2019
# (`models/ResNet10Feature.py` of github.com/zhmiao/OpenLongTailRecognition-OLTR), `resnet34` that
# of Zhang and Sabuncu 2018 on CIFAR.
BASIC_BLOCKS = {"resnet10": (1, 1, 1, 1), "resnet34": (3, 4, 6, 3)}
SMALL_IMAGE = 64
NAMES = ("resnet32", "resnet50", *BASIC_BLOCKS, "resnet152_imagenet")


def build(
    name: str, size: int, num_classes: int, logit_scale: float | None, pretrained: bool = True
) -> keras.Model:
    """A new classifier, not compiled.

    `resnet32` (He et al. 2016, section 4.2, shortcuts of option A) and `resnet50` are those of
    `gb_keras.backbones`; `resnet152_imagenet` is `keras.applications.ResNet152` with the weights
    learned on ImageNet.

    Args:
        name: One of `NAMES`.
        size: Height and width of the images.
        num_classes: Number of classes.
        logit_scale: None for a `Dense` classifier, or the scale of a `NormalizedDense` one.
        pretrained: Whether a network that comes with weights gets them; they are downloaded.

    Example:
        >>> build("resnet10", 64, 5, None).output_shape
        (None, 5)
    """
    require_name("network", name, NAMES)
    shape = (size, size, 3)
    if name in backbones.names():
        return backbones.build(name, shape, num_classes, logit_scale=logit_scale)
    inputs = keras.Input(shape, dtype="float32", name="image")
    if name == "resnet152_imagenet":
        features = keras.applications.ResNet152(
            include_top=False,
            weights="imagenet" if pretrained else None,
            input_shape=shape,
            pooling="avg",
        )(keras.applications.resnet.preprocess_input(inputs))
    else:
        features = _basic(inputs, BASIC_BLOCKS[name])
    return keras.Model(inputs, backbones.classifier(num_classes, logit_scale)(features), name=name)


def _basic(inputs: keras.KerasTensor, blocks: tuple[int, ...]) -> keras.KerasTensor:
    """Features `(batch, 512)` of a network of basic blocks."""
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    if inputs.shape[1] <= SMALL_IMAGE:
        x = layers.ReLU()(_convolution(x, 64))
    else:
        x = layers.ReLU()(_convolution(x, 64, strides=2, kernel=7))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for filters, count in zip((64, 128, 256, 512), blocks, strict=True):
        for block in range(count):
            strides = 2 if block == 0 and filters > 64 else 1
            residual = layers.ReLU()(_convolution(x, filters, strides))
            residual = _convolution(residual, filters)
            if strides == 2:
                x = _convolution(x, filters, strides, kernel=1)
            x = layers.ReLU()(layers.Add()([x, residual]))
    return layers.GlobalAveragePooling2D()(x)


def _convolution(
    x: keras.KerasTensor, filters: int, strides: int = 1, kernel: int = 3
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization(momentum=backbones.BATCH_NORMALIZATION_MOMENTUM)(x)
