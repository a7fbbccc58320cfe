"""Write the planned splits as a TFDS directory, shard by shard, from the images of the scan."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_datasets as tfds

from gb_keras.data.images import decode_image, encode_png
from gb_keras.data.label_set import ABSENT, PRESENT
from gb_keras.data.label_sets import LabelSets
from gb_keras.data.plan import Labels, Plan
from gb_keras.data.records import Records
from gb_keras.data.scan import Scan, stored_file
from gb_keras.data.source import Source
from gb_keras.data.tfds_directory import Shard, no_protobuf_warnings, order_of, write_directory
from gb_keras.data.whole_file import whole_file
from gb_keras.data.workers import Each


@dataclass(frozen=True)
class _Work:
    """One shard to be written.

    Attributes:
        path: The shard's file.
        rows: File with what goes into it, in order.
        folder: Where the images of the scan are, and the features.
        channels: 1 or 3, of the images as they are to be.
    """

    path: Path
    rows: Path
    folder: Path
    channels: int


def write_splits(
    directory: Path, folder: Path, source: Source, scan: Scan, plan: Plan, each: Each
) -> None:
    """Write what was planned.

    Args:
        directory: An existing folder, which becomes the TFDS directory.
        folder: Where the images of the scan are; what is needed meanwhile comes there, too.
        source: The data set.
        scan: What was found in it.
        plan: Which example goes where.
        each: What the shards are written by.
    """
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=scan.image_shape, encoding_format="png"),
            **_label_features(plan.classes, scan.records.labels),
            "id": tfds.features.Text(doc="The example's name in its source."),
        }
    )
    features.save_config(str(folder))
    lengths = scan.records.stored.column("length").to_numpy()
    sizes = {
        split: (len(positions), int(lengths[positions].sum()))
        for split, positions in plan.positions.items()
    }

    def write(shards: dict[str, list[Shard]]) -> None:
        work = [
            _Work(shard.path, rows, folder, scan.image_shape[-1])
            for split, of_split in shards.items()
            for shard, rows in zip(
                of_split, _lists(folder, split, of_split, scan.records, plan), strict=True
            )
        ]
        each(_write_shard, work)

    write_directory(directory, sizes, features, f"Prepared by gb_keras from {source.name}.", write)


def _label_features(classes: Sequence[str], labels: Labels) -> dict[str, Any]:
    """`label`; or `labels`, and where some are unknown `absent_labels`."""
    label = tfds.features.ClassLabel(names=classes)
    if not isinstance(labels, LabelSets):
        return {"label": label}
    features = {PRESENT: tfds.features.Sequence(label)}
    unknown = labels.absent.null_count < len(labels)
    return features | ({ABSENT: tfds.features.Sequence(label)} if unknown else {})


def _lists(
    folder: Path, split: str, shards: Sequence[Shard], records: Records, plan: Plan
) -> Iterator[Path]:
    """Files that list what goes into each shard."""
    positions, labels = plan.positions[split], plan.labels[split]
    order = order_of(split, records.ids(positions))
    for index, shard in enumerate(shards):
        members = order[shard.start : shard.stop]
        table = records.stored.take(pa.array(positions[members]))
        for name, column in _columns(labels, members).items():
            table = table.append_column(name, column)
        path = folder / f"{split}-{index:05d}.list"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=1024)
        yield path


def _columns(labels: Labels, members: np.ndarray) -> dict[str, pa.Array]:
    """The features that hold the labels of these examples."""
    if not isinstance(labels, LabelSets):
        return {"label": pa.array(labels[members])}
    taken = labels.take(members)
    unknown = len(taken) - taken.absent.null_count
    return {PRESENT: taken.present} | ({ABSENT: taken.absent} if unknown else {})


def _write_shard(work: _Work) -> None:
    """Write one shard. Doing it again does the same."""
    with no_protobuf_warnings():
        features = tfds.features.FeaturesDict.from_config(str(work.folder))
    with (
        contextlib.ExitStack() as files,
        pa.OSFile(str(work.rows), "rb") as list_file,
        whole_file(work.path) as partial,
        tf.io.TFRecordWriter(str(partial)) as writer,
    ):

        @functools.cache
        def images(part: int) -> Any:
            return files.enter_context(open(stored_file(work.folder, part), "rb"))

        reader = pa.ipc.open_file(list_file)
        for batch in range(reader.num_record_batches):
            for row in reader.get_batch(batch).to_pylist():
                file = images(row.pop("part"))
                file.seek(row.pop("offset"))
                png = file.read(row.pop("length"))
                if row.pop("grey") and work.channels == 3:
                    png = encode_png(decode_image(png))
                serialized = features.serialize_example({"image": png, **row})
                example = tf.train.Example.FromString(serialized)
                # The order of features is otherwise that of protobuf's hash maps, which differ
                # from process to process.
                writer.write(example.SerializeToString(deterministic=True))
