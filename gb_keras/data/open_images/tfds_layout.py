"""Open Images as TensorFlow Datasets prepares it: `open_images_v4`."""

import functools
import io
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from gb_keras.data.locations import Location
from gb_keras.data.open_images import rows
from gb_keras.data.open_images.layout import CLASS_FILES, FLAGS, Answers, Box, Photograph
from gb_keras.data.source import SPLITS
from gb_keras.data.tfds_directory import open_directory

# The features that are read, see the builder `open_images_v4` of TFDS.
_FILE_NAME = "image/filename"
_BOXES = "bobjects"
_LABELS = "objects"
_TRAINABLE = "objects_trainable"
_CERTAIN = 10


class TfdsLayout:
    """A folder that TFDS has prepared from `open_images_v4`, of whichever configuration.

    It knows classes by their machine-readable names alone. Display names are taken from
    `class-descriptions.csv` or `class-descriptions-boxable.csv`, where that lies in the folder too.

    Args:
        folder: The one with `features.json`.
        kind: `"boxes"` or `"labels"`, whichever will be read.

    Attributes:
        classes: Display names by machine-readable name, in the order of TFDS.
        splits: Those that were prepared.

    Raises:
        FileNotFoundError: The folder is not whole.
        ValueError: It holds another data set, or no training split.
    """

    is_listed = False

    def __init__(self, folder: Location, kind: str) -> None:
        self._builder = open_directory(str(folder))
        features = self._builder.info.features
        if not isinstance(features, tfds.features.FeaturesDict) or not (
            {"image", _FILE_NAME, _BOXES, _LABELS} <= set(features)
        ):
            raise ValueError(
                f"Expected the TFDS data set open_images_v4 in {str(folder)!r}. Received: "
                f"{self._builder.name}, without the features 'image', {_FILE_NAME!r}, {_BOXES!r} "
                f"and {_LABELS!r}. Use tfds-dir:PATH for a data set of one label an image."
            )
        self.splits = tuple(split for split in SPLITS if split in self._builder.info.splits)
        if "train" not in self.splits:
            raise ValueError(
                f"Expected a split named 'train' in {str(folder)!r}. Received: "
                f"{sorted(self._builder.info.splits)}."
            )
        self._features = features
        self._of_boxes: list[str] = features[_BOXES]["label"].names
        mids = self._of_boxes if kind == "boxes" else features[_LABELS]["label"].names
        files = (folder / name for name in CLASS_FILES[kind])
        named = next((path for path in files if path.is_file()), None)
        shown = rows.class_names(named) if named else {}
        self.classes: dict[str, str] = {mid: shown.get(mid, mid) for mid in mids}

    def boxes(self, split: str) -> Iterator[tuple[Box, Photograph | None]]:
        """Every box of a split, in the order of the files, numbered within their image."""
        for photograph, found in self._examples(split, _BOXES):
            for number, (label, box) in enumerate(zip(found["label"], found["bbox"], strict=True)):
                # The files have six digits, of which float32 leaves the sixth uncertain.
                top, left, bottom, right = (round(float(edge), 6) for edge in box)
                flags = frozenset(flag for flag in FLAGS if found[f"is_{flag}"][number] == 1)
                edges = (left, top, right, bottom)
                yield Box(self._of_boxes[label], edges, flags, number), photograph

    def labels(self, split: str) -> Iterator[tuple[Photograph | None, Answers]]:
        """Every photograph of a split with the labels of all of it, in the order of the files."""
        feature = self._features[_LABELS]
        for photograph, found in self._examples(split, _LABELS):
            answers: Answers = []
            for label, source, confidence in zip(
                found["label"], found["source"], found["confidence"], strict=True
            ):
                # TFDS has tenths; what people have said is all or nothing.
                machine = feature["source"].int2str(source) == "machine"
                mid = feature["label"].int2str(label)
                answers.append((mid, None if machine else bool(confidence == _CERTAIN)))
            yield photograph, answers

    def trainable(self) -> list[str]:
        """Machine-readable names of the classes that Open Images calls trainable."""
        return self._features[_TRAINABLE]["label"].names

    def _examples(self, split: str, objects: str) -> Iterator[tuple[Photograph, Any]]:
        dataset = self._builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                {"image": True, _FILE_NAME: True, objects: True},
                decoders={"image": tfds.decode.SkipDecoding()},
            ),
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        for example in dataset.as_numpy_iterator():
            name = f"{split}/{example[_FILE_NAME].decode()}"
            photograph = Photograph(name, functools.partial(io.BytesIO, example["image"]), None)
            yield photograph, example[objects]
