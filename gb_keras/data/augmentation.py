"""Keras's augmentation layers by name, with random numbers that depend on a seed alone."""

from collections.abc import Callable, Iterable, Sequence

import keras
import tensorflow as tf
from keras import layers

from gb_keras.names import require_name

NAMES = ("crop", "flip", "rand_augment", "mixup", "cutmix")
MIXING = frozenset({"mixup", "cutmix"})

_VALUES = (0, 255)
# Without a seed a layer draws one, and moves on the program's own random numbers.
_LAYER = {"dtype": "float32", "seed": 0}
# He et al. 2016, section 4.2: 4 of 32 pixels.
_CROP_MARGIN = 1 / 8
# Cubuk et al. 2020 on ImageNet with ResNet-50: two operations, of magnitude 9 of 30.
_NUM_OPERATIONS = 2
_MAGNITUDE = 9 / 30


class Augmentation:
    """What is done to the images of a training stream, the same for the same seed.

    Keras's layers draw from a variable, so that what an image gets depends on how many were drawn
    before it, and a resumed training would draw others. Here they draw from a seed that comes with
    each image or batch.

    Args:
        names: Some of `NAMES`, in any order; they are applied in the order of `NAMES`.
        image_shape: Height, width and channels (1 or 3) of the images.

    Raises:
        ValueError: An unknown name, or one that is given twice.

    Example:
        >>> augmentation = Augmentation(["crop", "mixup"], (8, 8, 1))
        >>> images = tf.random.uniform((2, 8, 8, 1))
        >>> first = augmentation.of_image(images[0], tf.constant([1, 2]))
        >>> again = augmentation.of_image(images[0], tf.constant([1, 2]))
        >>> bool(tf.reduce_all(first == again))
        True
        >>> images, labels = augmentation.of_batch(images, tf.eye(2), tf.constant([1, 2]))
        >>> labels.numpy().sum(axis=1)
        array([1., 1.], dtype=float32)
    """

    def __init__(self, names: Sequence[str], image_shape: tuple[int, int, int]):
        check_names(names)
        self._seeds = _GivenSeed()
        of_image = {"crop": _crop, "rand_augment": _rand_augment}
        self._of_image = [
            make(self._seeds, image_shape) for name, make in of_image.items() if name in names
        ]
        self._flip = None
        if "flip" in names:
            self._flip = self._seeds.given_to(layers.RandomFlip("horizontal", **_LAYER))
        mixing = {
            "mixup": lambda: layers.MixUp(alpha=0.2, **_LAYER),
            "cutmix": lambda: layers.CutMix(factor=(1.0, 1.0), **_LAYER),
        }
        self._mixing = [
            self._seeds.given_to(make()) for name, make in mixing.items() if name in names
        ]

    def of_image(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One image as it is seen this time.

        Args:
            image: Values in [0, 255], float32 `(height, width, channels)`.
            seed: Of this image in this epoch, int32 `(2,)`.

        Returns:
            An image of the same shape.
        """
        self._seeds.start(seed)
        for function in self._of_image:
            image = function(image)
        return image

    def of_batch(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch as it is seen this time: flipped, and mixed with itself in another order.

        Of `mixup` and `cutmix` together each batch gets one, either as likely.

        Args:
            images: Values in [0, 255], float32 `(batch, height, width, channels)`.
            labels: What is mixed like the images, float32 `(batch, num_values)`; anything, where
                nothing mixes.
            seed: Of this batch in this epoch, int32 `(2,)`.

        Returns:
            Images and labels of the same shapes.
        """
        self._seeds.start(seed)
        if self._flip is not None:
            images = self._flip(images, training=True)
        if not self._mixing:
            return images, labels

        def mixed(layer: layers.Layer) -> Callable[[], tuple[tf.Tensor, tf.Tensor]]:
            def by_layer() -> tuple[tf.Tensor, tf.Tensor]:
                result = layer({"images": images, "labels": labels}, training=True)
                return result["images"], result["labels"]

            return by_layer

        return _one_of([mixed(layer) for layer in self._mixing], self._seeds)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that are not known, or given twice.

    Args:
        names: Names of augmentations.

    Raises:
        ValueError: An unknown name, or one that is given twice.

    Example:
        >>> check_names(["flip", "flop"])
        Traceback (most recent call last):
        ...
        ValueError: Expected augmentation to be one of crop, flip, ... Did you mean 'flip'?
    """
    names = list(names)
    for name in names:
        require_name("augmentation", name, NAMES)
    if len(set(names)) != len(names):
        raise ValueError(f"Expected each augmentation once. Received: {names}.")


class _GivenSeed(keras.random.SeedGenerator):
    """Where Keras's layers take their seeds from: a given one and how many were taken from it."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self._given: tf.Tensor = tf.zeros([2], tf.int32)
        self._num_taken = 0

    def given_to(self, layer: layers.Layer) -> layers.Layer:
        """The layer, which will draw from here."""
        if hasattr(layer, "generator"):
            layer.generator = self
        return layer

    def start(self, seed: tf.Tensor) -> None:
        """Go on from this seed, int32 `(2,)`."""
        self._given, self._num_taken = seed, 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        self._num_taken += 1
        return tf.random.experimental.stateless_fold_in(self._given, self._num_taken)


_OfImage = Callable[[tf.Tensor], tf.Tensor]


def _crop(seeds: _GivenSeed, image_shape: tuple[int, int, int]) -> _OfImage:
    """A piece of the size of the image, out of the image with a margin that mirrors it."""
    height, width, _ = image_shape
    margins = [max(1, round(side * _CROP_MARGIN)) for side in (height, width)]
    crop = seeds.given_to(layers.RandomCrop(height, width, **_LAYER))
    paddings = [[margin, margin] for margin in margins] + [[0, 0]]
    return lambda image: crop(tf.pad(image, paddings, "SYMMETRIC"), training=True)


def _rand_augment(seeds: _GivenSeed, image_shape: tuple[int, int, int]) -> _OfImage:
    """Two of many layers, drawn for each image.

    Keras's own `RandAugment` draws them once for a batch, and calls all of its layers to keep two.
    Of its layers solarisation is missing: Keras 3.15 takes the lower end of its range of thresholds
    for a value of the image, so that it cannot be kept to the brightest.
    """
    strong = 0.9 * _MAGNITUDE
    bits = round(8 - 4 * _MAGNITUDE)
    of_values = {"value_range": _VALUES, **_LAYER}
    choice = [
        seeds.given_to(layer)
        for layer in (
            layers.RandomShear(0.3 * _MAGNITUDE, 0.3 * _MAGNITUDE, **_LAYER),
            layers.RandomTranslation(0.45 * _MAGNITUDE, 0.45 * _MAGNITUDE, **_LAYER),
            layers.RandomRotation(30 / 360 * _MAGNITUDE, **_LAYER),
            layers.RandomBrightness(strong, **of_values),
            layers.RandomColorDegeneration(strong, **of_values),
            layers.RandomContrast(strong, **of_values),
            layers.RandomSharpness(strong, **of_values),
            layers.RandomPosterization((bits, bits), **of_values),
            layers.AutoContrast(value_range=_VALUES, dtype="float32"),
            layers.Equalization(value_range=_VALUES, dtype="float32"),
        )
    ]
    grey = image_shape[-1] == 1

    def augmented(image: tf.Tensor) -> tf.Tensor:
        image = tf.image.grayscale_to_rgb(image) if grey else image
        for _ in range(_NUM_OPERATIONS):
            image = _one_of([_call(layer, image) for layer in choice], seeds)
        return image[..., :1] if grey else image

    return augmented


def _call(layer: layers.Layer, image: tf.Tensor) -> Callable[[], tf.Tensor]:
    return lambda: tf.clip_by_value(layer(image, training=True), *_VALUES)


def _one_of(functions: Sequence[Callable], seeds: _GivenSeed) -> tf.Tensor | tuple:
    """The result of one of several functions, each as likely; only that one is called."""
    if len(functions) == 1:
        return functions[0]()
    index = tf.random.stateless_uniform([], seeds.next(), 0, len(functions), tf.int32)
    return tf.switch_case(index, list(functions))
