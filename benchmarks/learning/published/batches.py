"""Batches of a protocol: decoded and augmented on the way, in an order fixed by seed and epoch."""

from collections.abc import Sequence

import tensorflow as tf

from benchmarks.learning.published.protocols import Protocol
from benchmarks.learning.published.training_images import TrainingImages
from gb_keras.data.resampling import class_quotas, resampled

# Encoded images that shuffling draws from: all of CIFAR; the files of the large data sets are in a
# random order already.
_BUFFER = 50_000
_LARGE_BUFFER = 10_000


def training(
    images: TrainingImages,
    protocol: Protocol,
    class_sampling: Sequence[float] | None,
    seed: int,
    start_epoch: int,
) -> tf.data.Dataset:
    """An endless stream of epochs; what is in epoch `e` depends on `(seed, e)` alone.

    Args:
        images: The training images.
        protocol: The protocol.
        class_sampling: Share of each class in an epoch, or None for the share that it has.
        seed: Seed of the order and of the augmentation.
        start_epoch: Number of the first epoch.

    Returns:
        Pairs of images, float32 `(batch, size, size, 3)` with values 0..255, and int64 labels.
    """
    total = sum(images.counts)
    buffer = total if total <= _BUFFER else _LARGE_BUFFER
    quotas = None if class_sampling is None else class_quotas(class_sampling, images.counts)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # Sets the seed of this function's graph only, and must not be 0 ("not seeded").
        tf.random.set_seed(1 + seed % (2**31 - 2))
        records = images.records
        if quotas is not None:
            records = resampled(records, quotas, images.counts, epoch)
        of_epoch = tf.random.fold_in(tf.constant([seed, 0]), epoch)

        def example(index: tf.Tensor, record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            chance = tf.random.fold_in(of_epoch, index)
            return protocol.augment(_decoded(record), protocol.size, chance), record["label"]

        order = records.shuffle(buffer, seed=epoch, reshuffle_each_iteration=False)
        examples = order.enumerate().map(example, tf.data.AUTOTUNE, deterministic=True)
        return examples.batch(protocol.batch_size)

    epochs = tf.data.Dataset.range(start_epoch, tf.int64.max).flat_map(one_epoch)
    return epochs.prefetch(tf.data.AUTOTUNE)


def testing(records: tf.data.Dataset, protocol: Protocol) -> tf.data.Dataset:
    """Batches of the test images, in the order of their files.

    Args:
        records: `{"image": encoded, "label": int64}`.
        protocol: The protocol.
    """

    def example(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return protocol.view(_decoded(record), protocol.size), record["label"]

    examples = records.map(example, tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(protocol.batch_size).prefetch(tf.data.AUTOTUNE)


def _decoded(record: dict[str, tf.Tensor]) -> tf.Tensor:
    image = tf.io.decode_image(record["image"], channels=3, expand_animations=False)
    return tf.cast(image, tf.float32)
