"""The training images of a protocol: chosen once, checked, and kept as they are encoded."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from benchmarks.learning.published.protocols import Facts, Protocol, SplitFile
from gb_keras.stages.files import new_directory, read_json, write_json

_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """What a method is trained on.

    Attributes:
        records: `{"image": encoded, "label": int64}`, in an order that is always the same.
        counts: Images of each class by their training label, `(num_classes,)`.
    """

    records: tf.data.Dataset
    counts: list[int]


def load(
    protocol: Protocol,
    builder: tfds.core.DatasetBuilder,
    split_file: Path | None,
    seed: int,
    folder: Path,
) -> TrainingImages:
    """The training images of a protocol, as an earlier run has left them or made anew.

    Args:
        protocol: The protocol.
        builder: Its data set, prepared.
        split_file: The official list, for a protocol that has one.
        seed: Seed of what is drawn.
        folder: Where they are kept; for a data set that is taken whole, its counts alone.

    Raises:
        ValueError: No list where one is needed, or images that are not those of the papers.
    """
    if not (folder / "counts.json").exists():
        with new_directory(folder) as partial:
            counts = _make(protocol, builder, split_file, seed, partial)
            write_json(partial / "counts.json", counts)
    stored = folder / "records"
    records = tf.data.Dataset.load(str(stored)) if stored.exists() else encoded(builder, "train")
    return TrainingImages(records, read_json(folder / "counts.json"))


def encoded(builder: tfds.core.DatasetBuilder, split: str, *features: str) -> tf.data.Dataset:
    """Images of a split, not decoded, with their labels.

    Args:
        builder: A prepared data set.
        split: One of its splits.
        *features: Other features to read.
    """
    wanted = dict.fromkeys(("image", "label", *features), True)
    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding(
            wanted, decoders={"image": tfds.decode.SkipDecoding()}
        ),
        read_config=tfds.ReadConfig(try_autocache=False),
    )


def _make(
    protocol: Protocol,
    builder: tfds.core.DatasetBuilder,
    split_file: Path | None,
    seed: int,
    folder: Path,
) -> list[int]:
    """Choose the images and write them, unless it is all of them; count the classes."""
    num_classes = builder.info.features["label"].num_classes
    if protocol.split_file is not None:
        keys = read_split_file(protocol.split_file, split_file, protocol.facts)
        records = _listed(encoded(builder, "train", protocol.split_file.feature), protocol, keys)
    else:
        records = encoded(builder, "train")
    clean = _labels(records)
    chosen = clean if protocol.relabel is None else protocol.relabel(clean, num_classes, seed)
    kept = chosen >= 0
    check(protocol.facts, clean[kept], f"the training split of {protocol.data}")
    if protocol.split_file is not None or protocol.relabel is not None:
        _relabelled(records, chosen).save(str(folder / "records"))
    return np.bincount(chosen[kept], minlength=num_classes).tolist()


def read_split_file(split_file: SplitFile, path: Path | None, facts: Facts) -> tf.Tensor:
    """Keys of the images in a list.

    Args:
        split_file: Which list it is.
        path: Where it is.
        facts: What must be true of it.

    Raises:
        ValueError: No path, lines that are none of a list, or another list.
    """
    where = (
        f"Get {split_file.name} where github.com/facebookresearch/classifier-balancing has it, in "
        "its folder data, or by the link to ImageNet-LT and Places-LT of "
        "github.com/zhmiao/OpenLongTailRecognition-OLTR, and name it by --split-file."
    )
    if path is None:
        raise ValueError(f"Expected the list of training images. Received none. {where}")
    lines = [line.rpartition(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = [
        name + space + label for name, space, label in lines if not label.isdigit() or not name
    ]
    if wrong or not lines:
        received = f"the line {wrong[0]!r}" if wrong else "no line"
        raise ValueError(f"Expected lines of PATH LABEL. Received {received} in {path}. {where}")
    check(facts, [int(label) for *_, label in lines], str(path))
    return split_file.keys(tf.constant([name for name, *_ in lines]))


def check(facts: Facts, labels: Sequence[int] | np.ndarray, what: str) -> None:
    """Compare images with what is known of them.

    Args:
        facts: What must be true.
        labels: Labels of the images.
        what: What they are, for the error.

    Raises:
        ValueError: They are other images.

    Example:
        >>> check(Facts(images=3, largest=2, smallest=1), [0, 0, 1], "a list")
        >>> check(Facts(images=3, largest=2, smallest=1), [0, 1], "a list")
        Traceback (most recent call last):
        ...
        ValueError: Expected a list to hold 3 images, 2 in the largest class and 1 in the smallest.
        Received 2, 1 and 1. ...
    """
    counts = np.unique(labels, return_counts=True)[1]
    received = Facts(int(counts.sum()), max(counts, default=0), min(counts, default=0))
    if received != facts:
        raise ValueError(
            f"Expected {what} to hold {facts.images} images, {facts.largest} in the largest class "
            f"and {facts.smallest} in the smallest. Received {received.images}, {received.largest} "
            f"and {received.smallest}. Published results are of other images: take the official "
            "version of the data set and of the list."
        )


def _listed(records: tf.data.Dataset, protocol: Protocol, keys: tf.Tensor) -> tf.data.Dataset:
    """The records whose file is in the list."""
    listing = protocol.split_file
    assert listing is not None
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(keys, tf.ones_like(keys, tf.int64)), default_value=0
    )
    return records.filter(lambda record: table.lookup(listing.keys(record[listing.feature])) > 0)


def _relabelled(records: tf.data.Dataset, labels: np.ndarray) -> tf.data.Dataset:
    """The records with other labels, without those that are left out."""
    given = tf.constant(labels)
    relabelled = records.enumerate().map(
        lambda index, record: {"image": record["image"], "label": given[index]}
    )
    return relabelled.filter(lambda record: record["label"] >= 0)


def _labels(records: tf.data.Dataset) -> np.ndarray:
    labels = records.map(lambda record: record["label"]).batch(_BATCH)
    return np.concatenate([np.empty(0, np.int64), *labels.as_numpy_iterator()])
