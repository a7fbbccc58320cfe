"""Stored records as batches of images and labels, augmented where asked for."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from gb_keras.data.augmentation import MIXING, Augmentation
from gb_keras.data.label_set import ABSENT, PRESENT

_LABEL_LISTS = (PRESENT, ABSENT)
_PARALLEL = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
# What the shares of a blended label may lack of 1.
_ROUNDING = 1e-3


class Batches:
    """Makes batches of the records of a TFDS directory; arguments are those of `load_split`.

    Args:
        features: What a record holds: `image`, and `label` or `labels` (and `absent_labels`).
        batch_size: Images in a batch.
        image_size: Height and width in pixels, or None for those stored.
        channels: 1, 3 or None for those stored.
        drop_remainder: Whether a last batch that is not full is left out.
        augmentation: Names of what `augmented` does.
        one_hot: Whether integer labels become `(batch, num_classes)`.
    """

    def __init__(
        self,
        features: tfds.features.FeaturesDict,
        *,
        batch_size: int,
        image_size: tuple[int, int] | None,
        channels: int | None,
        drop_remainder: bool,
        augmentation: Sequence[str],
        one_hot: bool,
    ):
        self.batch_size = batch_size
        self._image = features["image"]
        self._image_size = None if image_size is None else tuple(image_size)
        self._channels = channels
        self._drop_remainder = drop_remainder
        self._label_lists = [name for name in _LABEL_LISTS if name in features]
        label = features[PRESENT].feature if self._label_lists else features["label"]
        self._num_classes = label.num_classes
        self._mixes = not MIXING.isdisjoint(augmentation)
        self._one_hot = (one_hot or self._mixes) and not self._label_lists
        height, width, stored_channels = self._image.shape
        height, width = image_size or (height, width)
        self._augmentation = Augmentation(
            augmentation, (height, width, channels or stored_channels)
        )

    def plain(self, records: tf.data.Dataset) -> tf.data.Dataset:
        """Batches of images as they are."""
        batches = self._batch(records.map(self._decode, **_PARALLEL))
        return batches.map(self._finish, **_PARALLEL)

    def augmented(
        self, records: tf.data.Dataset, seed: tf.Tensor, first_step: tf.Tensor
    ) -> tf.data.Dataset:
        """Batches of images as they are seen in one epoch.

        Args:
            records: What is left of the epoch.
            seed: Of this epoch, int32 `(2,)`.
            first_step: How many batches of the epoch were before.
        """

        def of_image(position: tf.Tensor, record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            image, *labels = self._decode(record)
            image = tf.cast(image, tf.float32)
            return self._augmentation.of_image(image, fold_in(seed, position)), *labels

        def of_batch(step: tf.Tensor, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            images, labels, *known = self._finish(*batch)
            # Steps are counted from the other side of 0, so that no batch has an image's seed.
            seed_of_batch = fold_in(seed, -1 - step)
            if not (known and self._mixes):
                return *self._augmentation.of_batch(images, labels, seed_of_batch), *known
            both = tf.concat([labels, *known], axis=1)
            images, both = self._augmentation.of_batch(images, both, seed_of_batch)
            labels, shares = tf.split(both, 2, axis=1)
            certain = tf.cast(shares > 1 - _ROUNDING, tf.float32)
            return images, labels * certain, certain

        numbered = tf.data.Dataset.zip(_count_from(first_step * self.batch_size), records)
        batches = self._batch(numbered.map(of_image, **_PARALLEL))
        return tf.data.Dataset.zip(_count_from(first_step), batches).map(of_batch, **_PARALLEL)

    def _batch(self, examples: tf.data.Dataset) -> tf.data.Dataset:
        return examples.batch(self.batch_size, drop_remainder=self._drop_remainder)

    def _decode(self, record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        image = self._image.decode_example(record["image"])
        # TensorFlow takes as long to resize an image to its own size.
        if self._image_size not in (None, image.shape[:2]):
            image = tf.image.resize(image, self._image_size, antialias=True)
        image = _with_channels(image, self._channels)
        if not self._label_lists:
            return image, record["label"]
        flags = [_flags(record[name], self._num_classes) for name in self._label_lists]
        return image, *flags[:1], *(flags[0] + absent for absent in flags[1:])

    def _finish(
        self, images: tf.Tensor, labels: tf.Tensor, *known: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        labels = tf.one_hot(labels, self._num_classes) if self._one_hot else labels
        # Not before: bytes are put together faster than floats.
        return tf.cast(images, tf.float32), labels, *known


def fold_in(seed: Any, number: tf.Tensor) -> tf.Tensor:
    """A seed of its own for each number, int32 `(2,)`.

    Args:
        seed: int32 `(2,)`.
        number: An integer.
    """
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), number)


def _count_from(start: tf.Tensor) -> tf.data.Dataset:
    return tf.data.Dataset.range(start, tf.int64.max)


def _with_channels(image: tf.Tensor, channels: int | None) -> tf.Tensor:
    """The image with 1 or 3 channels, as asked for."""
    if channels is None or image.shape[-1] == channels:
        return image
    if channels == 3:
        return tf.image.grayscale_to_rgb(image)
    return tf.image.rgb_to_grayscale(tf.cast(image, tf.float32))


def _flags(indices: tf.Tensor, num_classes: int) -> tf.Tensor:
    """1.0 at these classes and 0.0 at the others, `(num_classes,)`."""
    ones = tf.ones(tf.shape(indices), tf.float32)
    return tf.tensor_scatter_nd_update(tf.zeros([num_classes]), indices[:, tf.newaxis], ones)
