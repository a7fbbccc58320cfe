"""Write and open TFDS directories: the calls into TensorFlow Datasets, quiet and offline."""

import contextlib
import io
import logging
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

NAME = "gb_keras"
VERSION = "1.0.0"


def open_directory(directory: str | os.PathLike) -> tfds.core.DatasetBuilder:
    """Open a TFDS directory, as `tfds.builder_from_directory` does, with clear errors.

    Args:
        directory: The folder that holds `dataset_info.json` and `features.json`.

    Returns:
        A read-only builder.

    Raises:
        FileNotFoundError: The folder is missing or holds no TFDS data set.

    Example:
        >>> open_directory("/no/such/folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: Expected a TFDS data set ... Received: '/no/such/folder', ...
    """
    directory = Path(directory)
    for name in ("dataset_info.json", "features.json"):
        if not (directory / name).is_file():
            raise FileNotFoundError(
                "Expected a TFDS data set (a folder made by `gb-keras prepare` or by TensorFlow "
                f"Datasets). Received: {str(directory)!r}, which has no {name}."
            )
    with no_protobuf_warnings():
        return tfds.builder_from_directory(directory)


def write_directory(
    directory: str | os.PathLike,
    splits: Mapping[str, Iterable[tuple[str, dict[str, Any]]]],
    features: tfds.features.FeaturesDict,
    description: str,
) -> None:
    """Write examples as a TFDS directory: shards, features and `dataset_info.json`.

    The same examples give the same bytes, so that checksums can be compared.

    TFDS orders the examples of a split by a hash of their keys, through the disk when they do
    not fit in memory, so the order of the files is the same whatever the order of the source.

    Args:
        directory: An existing empty folder, which becomes the TFDS directory.
        splits: `(unique key, example)` pairs by split name; read once, one split after another.
        features: What an example holds.
        description: One sentence for `dataset_info.json`.
    """
    directory = Path(directory)
    # TFDS insists on ROOT/name/version; the data set moves up to where the user wants it.
    root = directory / "build"
    with _quiet(), no_protobuf_warnings():
        builder = tfds.dataset_builders.store_as_tfds_dataset(
            name=NAME,
            version=VERSION,
            features=features,
            split_datasets=splits,
            data_dir=root,
            description=description,
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    for path in sorted(Path(builder.data_dir).iterdir()):
        os.replace(path, directory / path.name)
    shutil.rmtree(root)
    for path in sorted(directory.glob("*.tfrecord-*")):
        _make_reproducible(path)


def _make_reproducible(shard: Path) -> None:
    """Rewrite a shard with the features of each record in sorted order.

    TFDS leaves the order to protobuf's hash maps, which differ from process to process.
    """
    sorted_shard = shard.with_name(f"{shard.name}.sorted")
    with tf.io.TFRecordWriter(str(sorted_shard)) as writer:
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            writer.write(example.SerializeToString(deterministic=True))
    os.replace(sorted_shard, shard)


@contextlib.contextmanager
def no_protobuf_warnings() -> Iterator[None]:
    """Silence one warning that TFDS 4.9 raises at protobuf 6 whenever it reads a data set's info.

    `FieldDescriptor.label()` is deprecated; only TFDS can replace the call.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"label\(\) is deprecated", DeprecationWarning)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, no note on a download that does not happen, no warning on a new folder."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
