"""Open Images as TFDS prepares it, with the features of TFDS's own builder."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gb_keras.data.open_images.boxes import OpenImagesBoxes
from gb_keras.data.tfds_directory import no_protobuf_warnings
from tests.data.open_images import MIDS, pixels, put_boxes, put_classes, put_image
from tests.data.open_images import box as row
from tests.data.tfds_folder import write_directory

FLAGS = ("is_occluded", "is_truncated", "is_group_of", "is_depiction", "is_inside")


@pytest.fixture(scope="module")
def features():
    with no_protobuf_warnings():
        return tfds.builder("open_images_v4/300k").info.features


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(pixels(image)).save(file, "JPEG", quality=100, subsampling=0)
    file.seek(0)
    return file


def box(name, edges, **flags):
    """As `tests.data.open_images.box`."""
    left, top, right, bottom = edges
    return {
        "label": MIDS[name],
        "source": "xclick",
        "bbox": tfds.features.BBox(ymin=top, xmin=left, ymax=bottom, xmax=right),
        **{flag: flags.get(flag, 0) for flag in FLAGS},
    }


def prepared(folder, features, examples):
    """A directory as TFDS leaves it; `examples` are boxes by image, by split."""
    folder.mkdir()
    splits = {
        split: [
            (
                image,
                {
                    "image": jpeg(image),
                    "image/filename": f"{image}.jpg",
                    "objects": [{"label": "/m/01yrx", "confidence": 10, "source": "verification"}],
                    "objects_trainable": [],
                    "bobjects": boxes,
                },
            )
            for image, boxes in images.items()
        ]
        for split, images in examples.items()
    }
    write_directory(folder, splits, features, "A few photographs.")
    return folder


EDGES = (0.1, 0.3, 0.55, 0.925), (0.5, 0.0, 1.0, 0.7), (0.0, 0.0, 0.3, 1.0)


def test_the_same_crops_as_from_the_official_files(tmp_path, features):
    examples = {
        "train": {
            "a": [box("Cat", EDGES[0], is_group_of=1), box("Dog", EDGES[1], is_truncated=-1)],
            "b": [box("Dog", EDGES[2]), box("Dog", EDGES[2])],
            "c": [],
        },
        "validation": {"d": [box("Cat", EDGES[1]), box("Magpie", EDGES[2])]},
    }
    folder = prepared(tmp_path / "tfds", features, examples)
    put_classes(folder)
    official = tmp_path / "official"
    put_classes(official)
    for image in "abc":
        put_image(official, image)
    put_image(official, "d", "validation")
    put_boxes(
        official,
        [
            row("a", "Cat", EDGES[0], IsGroupOf=1),
            row("a", "Dog", EDGES[1], IsTruncated=-1),
            row("b", "Dog", EDGES[2]),
            row("b", "Dog", EDGES[2]),
        ],
    )
    put_boxes(official, [row("d", "Cat", EDGES[1]), row("d", "Magpie", EDGES[2])], "validation")
    for options in ("", "?min_size=25", "?classes=Dog,Cat"):
        ours, theirs = (OpenImagesBoxes(f"{root}{options}") for root in (folder, official))
        assert ours.classes == theirs.classes
        assert ours.splits == theirs.splits == ("train", "validation")
        for split in ours.splits:
            # TFDS has an order of its own.
            found, expected = (
                sorted(source.examples(split), key=lambda example: example.group)
                for source in (ours, theirs)
            )
            assert [(e.group, e.label) for e in found] == [(e.group, e.label) for e in expected]
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one.load(), other.load())
        assert ours.left_out == theirs.left_out
    for root in (folder, official):
        with pytest.raises(ValueError, match="'dropped: group_of': 1"):
            OpenImagesBoxes(f"{root}?drop=group_of")


def test_without_display_names_classes_have_their_own(tmp_path, features):
    examples = {"train": {"a": [box("Cat", EDGES[0]), box("Dog", EDGES[1])]}}
    source = OpenImagesBoxes(str(prepared(tmp_path / "tfds", features, examples)))
    # TFDS's order.
    assert source.classes == ("/m/01yrx", "/m/0bt9lr")
    assert [e.id for e in source.examples("train")] == ["train/a.jpg:0", "train/a.jpg:1"]


def test_another_data_set_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    image = {"image": np.zeros((4, 4, 3), np.uint8)}
    features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
    write_directory(tmp_path / "other", {"train": [("a", image)]}, features, "No boxes.")
    with pytest.raises(ValueError, match=r"open_images_v4 .* without the features .*'bobjects'"):
        OpenImagesBoxes(str(tmp_path / "other"))


def test_no_training_split_is_refused(tmp_path, features):
    folder = prepared(tmp_path / "tfds", features, {"test": {"a": [box("Cat", EDGES[0])]}})
    with pytest.raises(ValueError, match=r"split named 'train' .* \['test'\]"):
        OpenImagesBoxes(str(folder))
