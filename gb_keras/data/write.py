"""The second pass over a source: write the planned splits as a TFDS directory."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import tensorflow_datasets as tfds

from gb_keras.data.images import encode_png, fingerprint
from gb_keras.data.label_set import ABSENT, PRESENT, LabelSet
from gb_keras.data.plan import Plan
from gb_keras.data.scan import Record, Scan, load
from gb_keras.data.source import Source, is_multi_label
from gb_keras.data.tfds_directory import write_directory


def write_splits(
    folder: Path, source: Source, found: Scan, plan: Plan, image_size: int | None
) -> None:
    """Write what was planned, reading each image again when its turn comes.

    Args:
        folder: An existing empty folder, which becomes the TFDS directory.
        source: The data set.
        found: What the first pass found.
        plan: Which example goes where.
        image_size: As in the first pass.

    Raises:
        RuntimeError: An image is no longer what it was in the first pass.
    """
    records = {record.id: record for record in found.records}
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=found.image_shape, encoding_format="png"),
            **_label_features(source, found),
            "id": tfds.features.Text(doc="The example's name in its source."),
        }
    )
    channels = found.image_shape[-1]
    splits = {
        split: _examples(source, labels, records, image_size, channels)
        for split, labels in plan.labels.items()
    }
    write_directory(folder, splits, features, f"Prepared by gb_keras from {source.name}.")


def _label_features(source: Source, found: Scan) -> dict[str, Any]:
    """`label`; or `labels`, and where some are unknown `absent_labels`."""
    label = tfds.features.ClassLabel(names=source.classes)
    if not is_multi_label(source):
        return {"label": label}
    labels = {PRESENT: tfds.features.Sequence(label)}
    unknown = any(cast(LabelSet, record.label).absent is not None for record in found.records)
    return labels | ({ABSENT: tfds.features.Sequence(label)} if unknown else {})


def _values(label: int | LabelSet) -> dict[str, Any]:
    if not isinstance(label, LabelSet):
        return {"label": label}
    labels = {PRESENT: list(label.present)}
    return labels | ({} if label.absent is None else {ABSENT: list(label.absent)})


def _examples(
    source: Source,
    labels: dict[str, int | LabelSet],
    records: dict[str, Record],
    image_size: int | None,
    channels: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    origins = {records[name].split for name in labels}
    for split in sorted(origins):
        for example in source.examples(split):
            if example.id not in labels:
                continue
            image = load(example, image_size)
            if fingerprint(image) != records[example.id].fingerprint:
                raise RuntimeError(
                    "Expected the source to stay as it is while it is prepared. Received: "
                    f"{example.id!r} has changed. Run again when nothing writes to {source.name!r}."
                )
            png = io.BytesIO(encode_png(image[..., :channels]))
            yield example.id, {"image": png, **_values(labels[example.id]), "id": example.id}
