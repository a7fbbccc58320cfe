"""TFDS directories at URLs that TensorFlow itself does not read: its file systems are few."""

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from gb_keras.data.locations import Location, entries, location, reaching, read_bytes
from gb_keras.data.tfds_directory import open_directory

# Of a record: its length and a checksum before it, another checksum behind it. What a network
# brings is checked on the way.
_HEADER = struct.Struct("<QI")
_FOOTER = 4


def is_read_by_tensorflow(url: str) -> bool:
    """Whether TensorFlow has a file system for a URL.

    Example:
        >>> is_read_by_tensorflow("/data/digits"), is_read_by_tensorflow("s3://bucket/digits")
        (True, False)
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    return scheme in tf.io.gfile.get_registered_schemes()


class TfdsUrl:
    """A TFDS directory that is read record by record, from whatever fsspec reads.

    Args:
        url: The folder with `dataset_info.json`, `features.json` and TFRecord files.

    Attributes:
        builder: The builder of what describes the data set; its records are not here.

    Raises:
        FileNotFoundError: The folder is missing or holds no TFDS data set.
        ValueError: Nothing reads such a URL, or the records are stored in another way.
    """

    def __init__(self, url: str) -> None:
        self._folder = location(url)
        with tempfile.TemporaryDirectory() as folder:
            for entry in _entries(self._folder):
                # Features, counts and lists of labels, but no records.
                if not entry.is_folder and entry.name.endswith((".json", ".txt")):
                    Path(folder, entry.name).write_bytes(read_bytes(entry.location))
            try:
                self.builder = open_directory(folder)
            except FileNotFoundError as error:
                raise FileNotFoundError(str(error).replace(folder, url)) from error
        stored = self.builder.info.file_format
        if stored != tfds.core.FileFormat.TFRECORD:
            raise ValueError(
                f"Expected TFRecord files in {url!r}. Received: {stored.value}. Copy the data set "
                "to this machine."
            )

    def rows(
        self, split: str, decoding: tfds.decode.PartialDecoding
    ) -> Iterator[dict[str, bytes | np.ndarray]]:
        """The features of each example of a split, and its `tfds_id`, in the order of the files.

        Args:
            split: The split.
            decoding: Which features to decode, and how.

        Raises:
            ValueError: A file ends within a record.
            ConnectionError: A file cannot be reached.
        """
        features = decoding.extract_features(self.builder.info.features)

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
        def decoded(record: tf.Tensor) -> Any:
            return features.deserialize_example(record, decoders=decoding.decoders)

        for name in sorted(self.builder.info.splits[split].filenames):
            for number, record in enumerate(_records(self._folder / name)):
                row = {key: value.numpy() for key, value in decoded(record).items()}
                yield {**row, "tfds_id": f"{name}__{number}".encode()}


def _entries(folder: Location) -> Any:
    try:
        return entries(folder)
    except FileNotFoundError:
        return []


def _records(file: Location) -> Iterator[bytes]:
    """The records of a TFRecord file."""
    with reaching(file), file.open("rb") as stream:
        while header := stream.read(_HEADER.size):
            yield _record(header, stream, file)


def _record(header: bytes, stream: BinaryIO, file: Location) -> bytes:
    if len(header) == _HEADER.size:
        length, _ = _HEADER.unpack(header)
        data = stream.read(length + _FOOTER)
        if len(data) == length + _FOOTER:
            return data[:length]
    raise ValueError(
        f"Expected whole records in {str(file)!r}. Received: a file that ends within one. Copy the "
        "data set there again."
    )
