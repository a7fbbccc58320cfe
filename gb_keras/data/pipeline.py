"""The input pipeline: a prepared split as batches, in an order fixed by seed and epoch."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from gb_keras.data.batches import Batches, fold_in
from gb_keras.data.label_set import ABSENT, PRESENT
from gb_keras.data.manifest import read_manifest
from gb_keras.data.resampling import class_quotas, resampled
from gb_keras.data.tfds_directory import open_directory

__all__ = ["load_split", "read_manifest"]

# The shuffle buffer holds encoded images; whole small and middle-sized sets fit in it.
_SHUFFLE_BYTES = 256 * 2**20
_MIN_SHUFFLE_EXAMPLES = 1024
# Not TensorFlow's choice, which may be hundreds of batches, and so gigabytes.
_PREFETCHED_BATCHES = 2
_LABEL_LISTS = (PRESENT, ABSENT)


def load_split(
    data_dir: str | os.PathLike,
    split: str,
    *,
    batch_size: int,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
    repeat: bool = False,
    drop_remainder: bool = False,
    start_epoch: int = 0,
    start_step: int = 0,
    class_sampling: Sequence[float] | None = None,
    augmentation: Sequence[str] = (),
    one_hot: bool = False,
) -> tf.data.Dataset:
    """Batches of one split, ready for `model.fit`, `evaluate` or `predict`.

    For training that can be resumed exactly use `shuffle=True, repeat=True`: an endless stream
    of epochs, where the order within epoch `e` depends on `(seed, e)` and on nothing else. Give
    `fit` its `steps_per_epoch = ceil(num_examples / batch_size)` (`num_examples // batch_size`
    with `drop_remainder`); a run resumed at epoch `k` passes `start_epoch=k` here and
    `initial_epoch=k` to `fit`, and sees the very batches that an uninterrupted run would see; one
    resumed within an epoch, after `n` of its steps, also passes `start_step=n`.
    No batch spans two epochs. All this holds with `class_sampling`, too: an epoch is as long, but
    examples of some classes come several times in it, of others not all. And it holds with
    `augmentation`: what is done to an image depends on the seed, the epoch and its place in it.

    | augmentation | what | labels |
    |---|---|---|
    | `crop` | mirrored margins of an eighth, a random piece of the old size (He 2016) | kept |
    | `flip` | left and right exchanged in half of the images | kept |
    | `rand_augment` | two of ten operations, magnitude 9 of 30 (Cubuk et al. 2020) | kept |
    | `mixup` | two images blended, share from Beta(0.2, 0.2) (Zhang et al. 2018) | blended |
    | `cutmix` | a rectangle of another image, of a random area (Yun et al. 2019) | blended |

    With `shuffle=True, repeat=False` the split is one pass long, and every new pass over the
    same object has another order, as usual in tf.data; such a pass cannot be resumed.

    The buffer of encoded images that shuffling draws from covers the whole split up to 256 MiB
    (and never fewer than 1,024 examples); the files themselves are already in a random order.

    Args:
        data_dir: A data set made by `prepare`, or any TFDS directory with the features `image`
            and `label`, or `image` and `labels`.
        split: `"train"`, `"validation"` or `"test"`.
        batch_size: Examples a batch (over all replicas), at least 1.
        image_size: `(height, width)` in pixels to resize to (bilinear, antialiased, the aspect
            is not kept), or `None` for the stored size.
        channels: 1 (luma of the colours), 3 (grey repeated), or `None` for what is stored.
        shuffle: Whether the order is shuffled; otherwise it is the order of the files.
        seed: Seed of the order, at least 0.
        repeat: Whether the stream goes on for ever, epoch after epoch.
        drop_remainder: Whether a last batch that is not full is left out.
        start_epoch: The first epoch of a shuffled, repeating stream.
        start_step: Batches that are left out at the start of that epoch.
        class_sampling: Share of each class in an epoch of a shuffled, repeating stream,
            `(num_classes,)`, 1 in sum; `None` for the share that it has in the split. For data
            sets made by `prepare`.
        augmentation: What is done to the images of a shuffled, repeating stream: any of `"crop"`,
            `"flip"`, `"rand_augment"`, `"mixup"` and `"cutmix"`, done in this order. Of the last
            two together each batch gets one, either as likely.
        one_hot: Whether integer labels become float32 `(batch, num_classes)`, as they always do
            with `mixup` and `cutmix`.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`: float32 `(batch, height, width, channels)` in
        [0, 255], and int64 `(batch,)`; with `one_hot` or labels that are blended float32
        `(batch, num_classes)`, 1 in sum. Labels of a multi-label data set are float32 0 or 1,
        `(batch, num_classes)`; where some of them are unknown, batches are `(images, labels,
        weights)`, with a weight of 1 for each label that is known and 0 for the others; a blended
        label is known where both of its parts are.

    Raises:
        FileNotFoundError: `data_dir` holds no data set.
        ValueError: An argument is out of range, the split does not exist, or images of several
            sizes are asked for without `image_size`.

    Example:
        >>> import tempfile
        >>> from gb_keras.stages.prepare import prepare
        >>> folder = tempfile.mkdtemp()
        >>> _ = prepare("digits", folder)
        >>> batches = load_split(folder, "test", batch_size=100, channels=3)
        >>> images, labels = next(iter(batches))
        >>> images.shape, images.dtype.name, labels.shape
        (TensorShape([100, 8, 8, 3]), 'float32', TensorShape([100]))
    """
    _check_arguments(batch_size, image_size, channels, seed, start_epoch, start_step)
    if not (shuffle and repeat):
        _refuse(shuffle, repeat, class_sampling, augmentation, start_step)
    builder = open_directory(data_dir)
    features = builder.info.features
    kept = {name for name in ("image", "label", *_LABEL_LISTS) if name in features}
    if "image" not in kept or not {"label", PRESENT} & kept:
        raise ValueError(
            "Expected a data set with the features 'image' and 'label' or 'labels'. Received: "
            f"{sorted(features)} in {str(data_dir)!r}. Prepare it with `gb-keras prepare` first."
        )
    if split not in builder.info.splits:
        raise ValueError(
            f"Expected `split` to be one of {sorted(builder.info.splits)}. Received: {split!r}."
        )
    if image_size is None and None in features["image"].shape[:2]:
        raise ValueError(
            f"Expected images of one size, or `image_size`. Received: {str(data_dir)!r}, which "
            "holds images of several sizes. Pass image_size=(height, width)."
        )

    batches = Batches(
        features,
        batch_size=batch_size,
        image_size=image_size,
        channels=channels,
        drop_remainder=drop_remainder,
        augmentation=augmentation,
        one_hot=one_hot,
    )
    records = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding(
            dict.fromkeys(kept, True), decoders={"image": tfds.decode.SkipDecoding()}
        ),
        # A cache would end up inside the per-epoch function below and be filled in vain.
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    buffer = _buffer_size(builder.info.splits[split])
    if shuffle and repeat:
        of_epoch = _records_of_epoch(records, data_dir, split, class_sampling)

        def batches_of_epoch(
            examples: tf.data.Dataset, epoch: tf.Tensor, first_step: tf.Tensor
        ) -> tf.data.Dataset:
            examples = examples.skip(first_step * batch_size)
            if not augmentation:
                return batches.plain(examples)
            return batches.augmented(examples, fold_in([seed % 2**31, 0], epoch), first_step)

        dataset = _endless_shuffled(
            of_epoch, batches_of_epoch, buffer, seed, start_epoch, start_step
        )
    else:
        if shuffle:
            records = records.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
        dataset = batches.plain(records)
        dataset = dataset.repeat() if repeat else dataset
    options = tf.data.Options()
    # Every worker reads the same files and takes its share of each batch, so N workers see the
    # global batches that one would see. (Sharding by file would leave workers without any.)
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options).prefetch(_PREFETCHED_BATCHES)


def _records_of_epoch(
    records: tf.data.Dataset,
    data_dir: str | os.PathLike,
    split: str,
    class_sampling: Sequence[float] | None,
) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """What an epoch holds before it is shuffled: all of the split, or classes by their shares."""
    if class_sampling is None:
        return lambda epoch: records
    counts = read_manifest(data_dir)["splits"][split]["class_counts"]
    quotas = class_quotas(class_sampling, counts)
    return lambda epoch: resampled(records, quotas, counts, epoch)


def _endless_shuffled(
    records_of_epoch: Callable[[tf.Tensor], tf.data.Dataset],
    batches: Callable[[tf.data.Dataset, tf.Tensor, tf.Tensor], tf.data.Dataset],
    buffer: int,
    seed: int,
    start_epoch: int,
    start_step: int,
) -> tf.data.Dataset:
    """Epochs one after another, each in the order that `(seed, epoch)` gives."""

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # tf.data traces this function into a graph of its own, and `set_seed` sets the seed of
        # that graph only; so the order does not depend on the program's global seed. It must
        # not be 0, which TensorFlow takes, with operation seed 0, as "not seeded".
        tf.random.set_seed(1 + seed % (2**31 - 2))
        records = records_of_epoch(epoch)
        first_step = tf.where(epoch == start_epoch, tf.constant(start_step, tf.int64), 0)
        shuffled = records.shuffle(buffer, seed=epoch, reshuffle_each_iteration=False)
        return batches(shuffled, epoch, first_step)

    epochs = tf.data.Dataset.range(start_epoch, tf.int64.max).flat_map(one_epoch)
    return epochs.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _buffer_size(split_info: Any) -> int:
    """How many encoded examples the shuffle buffer may hold."""
    num_examples = split_info.num_examples
    bytes_per_example = max(1, split_info.num_bytes // max(1, num_examples))
    return max(
        1, min(num_examples, max(_MIN_SHUFFLE_EXAMPLES, _SHUFFLE_BYTES // bytes_per_example))
    )


def _check_arguments(
    batch_size: int,
    image_size: tuple[int, int] | None,
    channels: int | None,
    seed: int,
    start_epoch: int,
    start_step: int,
) -> None:
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` of at least 1. Received: {batch_size}.")
    if image_size is not None and (len(tuple(image_size)) != 2 or min(image_size) < 1):
        raise ValueError(
            "Expected `image_size` to be (height, width) in pixels or None. "
            f"Received: {image_size}."
        )
    if channels not in (None, 1, 3):
        raise ValueError(f"Expected `channels` to be 1, 3 or None. Received: {channels!r}.")
    if min(seed, start_epoch, start_step) < 0:
        raise ValueError(
            "Expected `seed`, `start_epoch` and `start_step` of at least 0. Received: "
            f"seed={seed}, start_epoch={start_epoch}, start_step={start_step}."
        )


def _refuse(shuffle: bool, repeat: bool, class_sampling: Any, augmentation: Any, step: int) -> None:
    """Refuse what belongs to a training stream, of which this is none."""
    given = {
        "class_sampling": class_sampling is not None,
        "augmentation": bool(augmentation),
        "start_step": step > 0,
    }
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise ValueError(
            f"Expected shuffle=True and repeat=True where {' and '.join(names)} is given. "
            f"Received: shuffle={shuffle}, repeat={repeat}."
        )
