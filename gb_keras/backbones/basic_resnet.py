"""ResNets of basic blocks, 18 and 34 layers, which `keras.applications` has not."""

from collections.abc import Callable, Sequence

import keras
from keras import layers

from gb_keras.backbones.small_networks import convolution, normalized

Features = Callable[[keras.KerasTensor, str | None], keras.KerasTensor]


def basic_resnet(num_blocks: Sequence[int]) -> Features:
    """A ResNet of table 1 in He et al. 2016, arXiv 1512.03385.

    Args:
        num_blocks: Blocks in each stage: 2, 2, 2, 2 for 18 layers, 3, 4, 6, 3 for 34.
    """

    def features(x: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
        x = layers.ReLU()(normalized(convolution(x, 64, 7, strides=2)))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        for filters, strides in _blocks(num_blocks):
            residual = layers.ReLU()(normalized(convolution(x, filters, strides=strides)))
            residual = normalized(convolution(residual, filters))
            if x.shape[-1] != filters:
                # Option B: a projection where the shape changes.
                x = normalized(convolution(x, filters, 1, strides=strides))
            x = layers.ReLU()(layers.Add()([x, residual]))
        return layers.GlobalAveragePooling2D()(x)

    return features


def basic_resnet_v2(num_blocks: Sequence[int]) -> Features:
    """The same with normalisation and ReLU before each convolution: He et al. 2016, 1603.05027.

    Args:
        num_blocks: Blocks in each stage, as for `basic_resnet`.
    """

    def features(x: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
        x = layers.MaxPooling2D(3, strides=2, padding="same")(convolution(x, 64, 7, strides=2))
        for filters, strides in _blocks(num_blocks):
            before = layers.ReLU()(normalized(x))
            residual = convolution(before, filters, strides=strides)
            residual = convolution(layers.ReLU()(normalized(residual)), filters)
            if x.shape[-1] != filters:
                x = convolution(before, filters, 1, strides=strides)
            x = layers.Add()([x, residual])
        return layers.GlobalAveragePooling2D()(layers.ReLU()(normalized(x)))

    return features


def _blocks(num_blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Filters and strides of each block: each stage but the first halves height and width."""
    return [
        (64 * 2**stage, 2 if stage and not block else 1)
        for stage, number in enumerate(num_blocks)
        for block in range(number)
    ]
