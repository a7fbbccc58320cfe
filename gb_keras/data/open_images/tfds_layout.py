"""Open Images as TensorFlow Datasets prepares it: `open_images_v4`."""

import functools
import io
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from gb_keras.data.open_images import rows
from gb_keras.data.open_images.layout import FLAGS, Box, Photograph
from gb_keras.data.source import SPLITS
from gb_keras.data.tfds_directory import open_directory

# The features that are read, see the builder `open_images_v4` of TFDS.
_FILE_NAME = "image/filename"
_BOXES = "bobjects"
_NAMES = "class-descriptions-boxable.csv"


class TfdsLayout:
    """A folder that TFDS has prepared from `open_images_v4`, of whichever configuration.

    It knows classes by their machine-readable names alone. Display names are taken from
    `class-descriptions-boxable.csv`, where that lies in the folder too.

    Args:
        folder: The one with `features.json`.

    Attributes:
        classes: Display names by machine-readable name, in the order of TFDS.
        splits: Those that were prepared.

    Raises:
        FileNotFoundError: The folder is not whole.
        ValueError: It holds another data set, or no training split.
    """

    def __init__(self, folder: Path) -> None:
        self._builder = open_directory(folder)
        features = self._builder.info.features
        if not isinstance(features, tfds.features.FeaturesDict) or not (
            {"image", _FILE_NAME, _BOXES} <= set(features)
        ):
            raise ValueError(
                f"Expected the TFDS data set open_images_v4 in {str(folder)!r}. Received: "
                f"{self._builder.name}, without the features 'image', {_FILE_NAME!r} and "
                f"{_BOXES!r}. Use tfds-dir:PATH for a data set of one label an image."
            )
        self.splits = tuple(split for split in SPLITS if split in self._builder.info.splits)
        if "train" not in self.splits:
            raise ValueError(
                f"Expected a split named 'train' in {str(folder)!r}. Received: "
                f"{sorted(self._builder.info.splits)}."
            )
        self._mids: list[str] = features[_BOXES]["label"].names
        names = folder / _NAMES
        shown = rows.class_names(names) if names.is_file() else {}
        self.classes: dict[str, str] = {mid: shown.get(mid, mid) for mid in self._mids}

    def boxes(self, split: str) -> Iterator[tuple[Box, Photograph | None]]:
        """Every box of a split, in the order of the files, numbered within their image."""
        dataset = self._builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                {"image": True, _FILE_NAME: True, _BOXES: True},
                decoders={"image": tfds.decode.SkipDecoding()},
            ),
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        for example in dataset.as_numpy_iterator():
            name = f"{split}/{example[_FILE_NAME].decode()}"
            photograph = Photograph(name, functools.partial(io.BytesIO, example["image"]), None)
            found = example[_BOXES]
            for number, (label, box) in enumerate(zip(found["label"], found["bbox"], strict=True)):
                # The files have six digits, of which float32 leaves the sixth uncertain.
                top, left, bottom, right = (round(float(edge), 6) for edge in box)
                flags = frozenset(flag for flag in FLAGS if found[f"is_{flag}"][number] == 1)
                yield Box(self._mids[label], (left, top, right, bottom), flags, number), photograph
