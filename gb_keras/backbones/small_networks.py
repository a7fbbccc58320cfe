"""Networks for small images."""

import keras
from keras import layers, ops

# As in the original ResNet. Keras's default of 0.99 takes some hundred steps until a model knows
# the mean of its own features; a small data set has not so many.
BATCH_NORMALIZATION_MOMENTUM = 0.9


def convolution(
    x: keras.KerasTensor, filters: int, kernel_size: int = 3, strides: int = 1
) -> keras.KerasTensor:
    """Convolution without a bias, which the batch normalisation after it makes pointless."""
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)


def normalized(x: keras.KerasTensor) -> keras.KerasTensor:
    """Batch normalisation that follows the features of the last ten batches or so."""
    return layers.BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM)(x)


def small_cnn(x: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """Three convolutions of 32, 64 and 128 filters; the image halves twice on the way."""
    for index, filters in enumerate((32, 64, 128)):
        if index:
            x = layers.MaxPooling2D(padding="same")(x)
        x = layers.ReLU()(normalized(convolution(x, filters)))
    return layers.GlobalAveragePooling2D()(x)


def resnet32(x: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """6n + 2 = 32 layers: three stages of n = 5 blocks with 16, 32 and 64 filters."""
    x = layers.ReLU()(normalized(convolution(x, 16)))
    for filters in (16, 32, 64):
        for block in range(5):
            strides = 2 if block == 0 and filters > 16 else 1
            residual = layers.ReLU()(normalized(convolution(x, filters, strides=strides)))
            residual = normalized(convolution(residual, filters))
            if strides == 2:
                # Option A: every second pixel, and zeros for the new channels. No parameters.
                x = layers.MaxPooling2D(pool_size=1, strides=2)(x)
                x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (filters // 4, filters // 4)))
            x = layers.ReLU()(layers.Add()([x, residual]))
    return layers.GlobalAveragePooling2D()(x)
