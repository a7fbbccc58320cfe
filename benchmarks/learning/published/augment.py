"""Images as the protocols train on and test with: crops, flips and colours, one image at a time.

Images are float32 with values 0..255, `(height, width, 3)`. `chance` is a seed of two integers,
which alone determines what is drawn.
"""

import tensorflow as tf

# As `ColorJitter` in the programs for ImageNet-LT and Places-LT (Liu et al. 2019 and Kang et al.
# 2020, `data/dataloader.py` of both): brightness, contrast and saturation by up to 40%.
JITTER = 0.4
# As `RandomResizedCrop` of torchvision: share of the area, and width over height.
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
# The shorter side before the central crop, for a crop of 224.
RESIZED, CROPPED = 256, 224
PADDING = 4
# Luma of ITU-R 601, by which torchvision makes images grey.
LUMA = (0.299, 0.587, 0.114)


def shifted(image: tf.Tensor, size: int, chance: tf.Tensor) -> tf.Tensor:
    """A crop of the image padded by 4 black pixels, mirrored or not (He et al. 2016, section 4.2).

    Args:
        image: An image of the size.
        size: Height and width of the result.
        chance: Seed of the draw.

    Example:
        >>> shifted(tf.ones([32, 32, 3]), 32, tf.constant([0, 1])).shape
        TensorShape([32, 32, 3])
    """
    place, mirror = tf.unstack(tf.random.split(chance, 2))
    padded = tf.pad(image, [[PADDING, PADDING], [PADDING, PADDING], [0, 0]])
    crop = tf.image.stateless_random_crop(padded, [size, size, 3], place)
    return tf.image.stateless_random_flip_left_right(crop, mirror)


def zoomed(image: tf.Tensor, size: int, chance: tf.Tensor) -> tf.Tensor:
    """A crop of any part and shape, resized and mirrored or not (Szegedy et al. 2015).

    Args:
        image: An image of any size.
        size: Height and width of the result.
        chance: Seed of the draw.

    Example:
        >>> zoomed(tf.ones([50, 70, 3]), 32, tf.constant([0, 1])).shape
        TensorShape([32, 32, 3])
    """
    place, mirror = tf.unstack(tf.random.split(chance, 2))
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=place,
        min_object_covered=0.0,
        aspect_ratio_range=ASPECT,
        area_range=AREA,
        max_attempts=10,
    )
    crop = tf.slice(image, begin, extent)
    crop = tf.image.resize(tf.ensure_shape(crop, [None, None, 3]), [size, size], antialias=True)
    return tf.image.stateless_random_flip_left_right(crop, mirror)


def zoomed_and_coloured(image: tf.Tensor, size: int, chance: tf.Tensor) -> tf.Tensor:
    """As `zoomed`, with another brightness, contrast and saturation.

    Args:
        image: An image of any size.
        size: Height and width of the result.
        chance: Seed of the draw.

    Example:
        >>> coloured = zoomed_and_coloured(tf.fill([50, 70, 3], 200.0), 32, tf.constant([0, 1]))
        >>> coloured.shape, bool(tf.reduce_max(coloured) <= 255)
        (TensorShape([32, 32, 3]), True)
    """
    crop_chance, colour_chance = tf.unstack(tf.random.split(chance, 2))
    image = zoomed(image, size, crop_chance)
    factors = tf.random.stateless_uniform([3], colour_chance, 1 - JITTER, 1 + JITTER)
    image = _blended(image, tf.zeros_like(image), factors[0])
    image = _blended(image, tf.reduce_mean(_grey(image)), factors[1])
    return _blended(image, _grey(image), factors[2])


def central(image: tf.Tensor, size: int) -> tf.Tensor:
    """The middle of an image whose shorter side is resized to 256 for a size of 224.

    Args:
        image: An image of any size.
        size: Height and width of the result.

    Example:
        >>> central(tf.ones([50, 70, 3]), 32).shape
        TensorShape([32, 32, 3])
    """
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.round(shape * (size * RESIZED / CROPPED) / tf.reduce_min(shape))
    image = tf.image.resize(image, tf.cast(scaled, tf.int32), antialias=True)
    return tf.image.resize_with_crop_or_pad(image, size, size)


def whole(image: tf.Tensor, size: int) -> tf.Tensor:
    """The image as it is.

    Args:
        image: An image of the size.
        size: Its height and width.
    """
    return tf.ensure_shape(image, [size, size, 3])


def _grey(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(image * LUMA, axis=-1, keepdims=True)


def _blended(image: tf.Tensor, other: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The image moved away from another one (factor above 1) or towards it."""
    return tf.clip_by_value(other + factor * (image - other), 0.0, 255.0)
