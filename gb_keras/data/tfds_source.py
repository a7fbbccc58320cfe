"""Data sets of TensorFlow Datasets, by name or as a directory, as sources of images."""

import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from gb_keras.data.images import UnreadableImageError, decode_image
from gb_keras.data.label_set import ABSENT, PRESENT, LabelSet, shown
from gb_keras.data.locations import absolute
from gb_keras.data.source import SPLITS, Example
from gb_keras.data.tfds_directory import no_protobuf_warnings, open_directory
from gb_keras.data.tfds_url import TfdsUrl, is_read_by_tensorflow


class TfdsSource:
    """A TFDS data set with an image per example, and one class label or a sequence of them.

    The splits `train`, `validation` and `test` are taken where they exist; others are left.

    What `prepare` writes of multi-label data is read with its unknown labels; in other sequences of
    labels all that are not listed are absent.

    Args:
        name: The name that opens the source again.
        builder: A prepared TFDS builder, or what describes the data set of `url`.
        url: Where its records are, if TensorFlow cannot read them there.

    Attributes:
        multi_label: Whether an example has a sequence of labels.

    Raises:
        ValueError: The data set has no `train` split, or is no such image data set.
    """

    def __init__(
        self, name: str, builder: tfds.core.DatasetBuilder, url: TfdsUrl | None = None
    ) -> None:
        self.name = name
        self._builder = builder
        self._url = url
        self._image, self._labels = _image_and_labels(name, builder.info)
        feature = builder.info.features[self._labels[0]]
        self.multi_label = _is_list(feature)
        self.classes = tuple((feature.feature if self.multi_label else feature).names)
        self.splits = tuple(split for split in SPLITS if split in builder.info.splits)
        if "train" not in self.splits:
            raise ValueError(
                f"Expected {name!r} to have a split named 'train'. Received: "
                f"{sorted(builder.info.splits)}."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Every example of a split, in the order of its files."""
        for name, image, *labels in self._rows(split):
            label = _label_set(*labels) if self.multi_label else int(labels[0])
            load = functools.partial(_load, image, label, len(self.classes))
            yield Example(name.decode(), label, load)

    def _rows(self, split: str) -> Iterator[Sequence[Any]]:
        """Name, image and labels of each example."""
        keys = ("tfds_id", self._image, *self._labels)
        decoding = tfds.decode.PartialDecoding(
            dict.fromkeys((self._image, *self._labels), True),
            decoders={self._image: tfds.decode.SkipDecoding()},
        )
        if self._url is not None:
            for row in self._url.rows(split, decoding):
                yield [row[key] for key in keys]
            return
        dataset = self._builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=decoding,
            read_config=tfds.ReadConfig(add_tfds_id=True, try_autocache=False),
        )
        # A batch costs TensorFlow as much time as a single record does.
        for batch in dataset.ragged_batch(64).as_numpy_iterator():
            yield from zip(*(batch[key] for key in keys), strict=True)


def open_tfds(name: str) -> TfdsSource:
    """Open a data set by its TFDS name, downloading and preparing it first where that is needed.

    Data sets are kept where TFDS keeps them: in `TFDS_DATA_DIR`, or `~/tensorflow_datasets`.

    Args:
        name: `NAME`, `NAME/CONFIG` or `NAME/CONFIG:VERSION`, as `tfds.load` takes it.

    Raises:
        ValueError: TFDS knows no such data set.
        RuntimeError: It is not on this machine and could not be downloaded.
    """
    with no_protobuf_warnings():
        try:
            builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
        except tfds.core.DatasetNotFoundError as error:
            raise ValueError(
                f"Expected the name of a data set that TensorFlow Datasets knows, after 'tfds:'. "
                f"Received: {name!r}. {error}"
            ) from error
        if not builder.is_prepared():
            _download(name, builder)
    return TfdsSource(f"tfds:{name}", builder)


def open_tfds_directory(path: str | os.PathLike) -> TfdsSource:
    """Open a TFDS directory, for example one that `prepare` has made, or its URL."""
    path = absolute(path)
    if not is_read_by_tensorflow(path):
        url = TfdsUrl(path)
        return TfdsSource(f"tfds-dir:{path}", url.builder, url)
    return TfdsSource(f"tfds-dir:{path}", open_directory(path))


def _download(name: str, builder: tfds.core.DatasetBuilder) -> None:
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:
        # Whatever went wrong (network, disk, a manual download), the remedy is the same.
        raise RuntimeError(
            f"Expected {name!r} to be in {builder.data_dir!r}, or to be downloaded to it. "
            f"Received: {type(error).__name__}: {error}. Set TFDS_DATA_DIR to where it is, or "
            "prepare it with TensorFlow Datasets where there is a network."
        ) from error


def _image_and_labels(name: str, info: Any) -> tuple[str, list[str]]:
    """The keys of the image and of its label or labels; an error says what the data set is."""
    features = info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        features = {}
    images = [key for key in sorted(features) if isinstance(features[key], tfds.features.Image)]
    labels = [
        key for key in sorted(features) if isinstance(features[key], tfds.features.ClassLabel)
    ]
    # The author's own choice comes first: CIFAR-100, for example, has fine and coarse labels.
    keys = info.supervised_keys
    if keys is not None and len(keys) == 2 and keys[0] in images and keys[1] in labels:
        images, labels = [keys[0]], [keys[1]]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
    lists = [key for key in sorted(features) if _is_list(features[key])]
    if label is not None:
        keys_of_labels = [label]
    elif PRESENT in lists:
        keys_of_labels = [key for key in (PRESENT, ABSENT) if key in lists]
    else:
        keys_of_labels = lists if len(lists) == 1 else []
    if image is None or not keys_of_labels:
        raise ValueError(
            f"Expected {name!r} to have one image and one class label, or one sequence of class "
            "labels, per example. Received "
            f"{_kind(features, images, labels)}, with the features {sorted(features)}."
        )
    if features[image].np_dtype != np.uint8 or len(features[image].shape) != 3:
        raise ValueError(
            f"Expected {name!r} to have 8-bit images (height, width, channels). Received: "
            f"{np.dtype(features[image].np_dtype).name} of shape {features[image].shape}."
        )
    return image, keys_of_labels


def _is_list(feature: Any) -> bool:
    return isinstance(feature, tfds.features.Sequence) and isinstance(
        getattr(feature, "feature", None), tfds.features.ClassLabel
    )


def _label_set(present: np.ndarray, absent: np.ndarray | None = None) -> LabelSet:
    return LabelSet(
        present=tuple(np.unique(present).tolist()),
        absent=None if absent is None else tuple(np.unique(absent).tolist()),
    )


def _kind(features: Any, images: list[str], labels: list[str]) -> str:
    sequences = [
        value.feature
        for value in features.values()
        if isinstance(value, tfds.features.Sequence) and hasattr(value, "feature")
    ]
    if any(isinstance(feature, tfds.features.FeaturesDict) for feature in sequences):
        return "a data set of several objects per image (detection)"
    if any(isinstance(feature, tfds.features.ClassLabel) for feature in sequences):
        return "several sequences of labels per image"
    return f"{len(images)} images {images} and {len(labels)} class labels {labels}"


def _load(data: bytes, label: int | LabelSet, num_classes: int) -> np.ndarray:
    absent = label.absent if isinstance(label, LabelSet) else None
    for index in shown(label) + (absent or ()):
        if not 0 <= index < num_classes:
            raise UnreadableImageError(f"label {index} is none of the {num_classes} classes")
    return decode_image(data)
