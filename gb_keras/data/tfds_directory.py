"""Write and open TFDS directories: the calls into TensorFlow Datasets, quiet and offline."""

import contextlib
import io
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing
from tensorflow_datasets.core.utils import shard_utils

NAME = "gb_keras"
VERSION = "1.0.0"


def open_directory(directory: str | os.PathLike) -> tfds.core.DatasetBuilder:
    """Open a TFDS directory, as `tfds.builder_from_directory` does, with clear errors.

    Args:
        directory: The folder that holds `dataset_info.json` and `features.json`, or its URL, of
            those that TensorFlow itself reads.

    Returns:
        A read-only builder.

    Raises:
        FileNotFoundError: The folder is missing or holds no TFDS data set.
        ValueError: TensorFlow reads no such URL.

    Example:
        >>> open_directory("/no/such/folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: Expected a TFDS data set ... Received: '/no/such/folder', ...
    """
    for name in ("dataset_info.json", "features.json"):
        try:
            found = tf.io.gfile.exists(os.path.join(directory, name))
        except tf.errors.UnimplementedError as error:
            raise ValueError(
                "Expected a TFDS data set on this machine, or in a file system that TensorFlow "
                f"reads. Received: {str(directory)!r}. {error.message}. Copy it to this machine."
            ) from error
        if not found:
            raise FileNotFoundError(
                "Expected a TFDS data set (a folder made by `gb-keras prepare` or by TensorFlow "
                f"Datasets). Received: {str(directory)!r}, which has no {name}."
            )
    with no_protobuf_warnings():
        return tfds.builder_from_directory(directory)


def check_class_names(names: Iterable[str]) -> None:
    """Refuse names that TFDS would change: it keeps them as lines, without the spaces around them.

    Raises:
        ValueError: One has several lines or spaces around it, or cannot be written in UTF-8.

    Example:
        >>> check_class_names(["cat", "dog "])
        Traceback (most recent call last):
        ...
        ValueError: Expected class names of one line ... Received: ['dog ']. Rename these classes.
    """
    bad = [
        name
        for name in names
        if name != name.strip() or len(name.splitlines()) != 1 or not _is_utf8(name)
    ]
    if bad:
        raise ValueError(
            "Expected class names of one line in UTF-8, without spaces around them. Received: "
            f"{bad}. Rename these classes."
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Shard:
    """A file with some of the examples of a split.

    Attributes:
        path: The file.
        start: Position of the first of its examples in the order of the split.
        stop: Position after the last.
    """

    path: Path
    start: int
    stop: int


Shards = dict[str, list[Shard]]


def order_of(split: str, keys: Iterable[str]) -> np.ndarray:
    """The order in which TFDS writes the examples of a split: that of a hash of their keys.

    So the order of the files is the same whatever the order of the source.

    Args:
        split: The split's name, which makes another order of the same keys.
        keys: Unique keys of the examples.

    Returns:
        Positions in `keys`, int64, `(num_examples,)`.

    Raises:
        ValueError: Two keys are the same.

    Example:
        >>> order_of("train", ["a", "b", "c"]).tolist()
        [1, 2, 0]
    """
    hasher = hashing.Hasher(split)
    hashes = bytearray()
    for key in keys:
        hashes += hasher.hash_key(key).to_bytes(16, "big")
    high, low = np.frombuffer(hashes, dtype=">u8").reshape(-1, 2).T
    order = np.lexsort((low, high))
    if ((np.diff(high[order]) == 0) & (np.diff(low[order]) == 0)).any():
        raise ValueError(f"Expected unique keys. Received one twice in the split {split!r}.")
    return order


class _Builder(tfds.dataset_builders.AdhocBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's generator-based builder for shards that others write.

    TFDS's own writers move the examples themselves: the one for generators through one process, and
    through its memory up to a gigabyte; the one for Beam groups them by shard, for which Beam's
    local runner holds all images of a data set in memory. Here only positions are moved.
    """

    # What it writes tells of its module, and is as if it were the one of TFDS.
    __module__ = tfds.dataset_builders.AdhocBuilder.__module__

    def __init__(
        self,
        sizes: Mapping[str, tuple[int, int]],
        write: Callable[[Shards], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(name=NAME, version=VERSION, split_datasets={}, **kwargs)
        self._sizes = sizes
        self._write = write

    def _generate_splits(
        self, dl_manager: Any, download_config: tfds.download.DownloadConfig
    ) -> list[tfds.core.SplitInfo]:
        config = download_config.get_shard_config()
        templates = {split: self._get_filename_template(split_name=split) for split in self._sizes}
        shards: Shards = {}
        for split, (number, size) in self._sizes.items():
            paths = templates[split].sharded_filepaths(config.get_number_shards(size, number))
            ends = shard_utils.get_shard_boundaries(number, len(paths))
            shards[split] = [
                Shard(Path(path), start, stop)
                for path, start, stop in zip(paths, [0, *ends], ends, strict=False)
            ]
        self._write(shards)
        return [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[shard.stop - shard.start for shard in of_split],
                num_bytes=sum(map(_num_bytes, of_split)),
                filename_template=templates[split],
            )
            for split, of_split in shards.items()
        ]


def _num_bytes(shard: Shard) -> int:
    """Bytes of the examples of a shard, without what a TFRecord has around each of them."""
    return shard.path.stat().st_size - (shard.stop - shard.start) * shard_utils.ShardConfig.overhead


def write_directory(
    directory: str | os.PathLike,
    sizes: Mapping[str, tuple[int, int]],
    features: tfds.features.FeaturesDict,
    description: str,
    write: Callable[[Shards], None],
) -> None:
    """Make a TFDS directory: shards as TFDS sizes them, features and `dataset_info.json`.

    Args:
        directory: An existing folder, which becomes the TFDS directory.
        sizes: By split, how many examples there are, and about how many bytes.
        features: What an example holds.
        description: One sentence for `dataset_info.json`.
        write: Writes these shards as TFRecord files.
    """
    directory = Path(directory)
    # TFDS insists on ROOT/name/version; the data set moves up to where the user wants it.
    root = directory / "build"
    with _quiet(), no_protobuf_warnings():
        builder = _Builder(sizes, write, features=features, description=description, data_dir=root)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    for path in sorted(Path(builder.data_dir).iterdir()):
        os.replace(path, directory / path.name)
    shutil.rmtree(root)


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
