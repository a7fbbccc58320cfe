"""A small Open Images download in the official layout, with what goes wrong in real ones."""

import csv
import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

MIDS = {
    "Tortoise": "/m/011k07",
    "Container": "/m/011q46kg",
    "Magpie": "/m/012074",
    "Sea turtle": "/m/0120dh",
    "Football": "/m/01226z",
    "Cat": "/m/01yrx",
    "Dog": "/m/0bt9lr",
}
FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
BOX_COLUMNS = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax")
# As published with the boxable images, since 2018-05.
ID_COLUMNS = (
    *("ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL"),
    *("Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation"),
)
HEIGHT, WIDTH = 40, 60


def pixels(image, height=HEIGHT, width=WIDTH):
    """Four areas of one grey value each, different for each image."""
    values = np.random.default_rng(zlib.crc32(image.encode())).integers(20, 236, 4)
    areas = values.reshape(2, 2, 1).repeat(height // 2, 0).repeat(width // 2, 1)
    return np.tile(areas, (1, 1, 3)).astype(np.uint8)


def box(image, name, edges=(0.0, 0.0, 0.5, 0.5), **flags):
    """One row of a file of boxes; edges are left, top, right, bottom."""
    left, top, right, bottom = edges
    values = [image, "xclick", MIDS.get(name, name), "1", left, right, top, bottom]
    return [*values, *(flags.get(flag, 0) for flag in FLAGS)]


def put_image(root, image, split="train", **save):
    path = Path(root, split, f"{image}.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(image)).save(path, quality=100, subsampling=0, **save)
    return path


def put_csv(path, rows, columns=(), newline="\n", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=newline)
    writer.writerows([columns, *rows] if columns else rows)
    path.write_bytes(file.getvalue().encode(encoding))
    return path


def put_boxes(root, rows, split="train", name="{split}-annotations-bbox.csv", **options):
    path = Path(root, name.format(split=split))
    return put_csv(path, rows, (*BOX_COLUMNS, *FLAGS), **options)


def put_labels(
    root, rows, split="train", name="{split}-annotations-human-imagelabels.csv", **options
):
    """Rows are image, class, confidence and perhaps who says so."""
    full = [
        [image, source[0] if source else "verification", MIDS.get(shown, shown), confidence]
        for image, shown, confidence, *source in rows
    ]
    path = Path(root, name.format(split=split))
    return put_csv(path, full, ("ImageID", "Source", "LabelName", "Confidence"), **options)


def put_classes(root, name="class-descriptions-boxable.csv", **options):
    return put_csv(Path(root, name), [(mid, shown) for shown, mid in MIDS.items()], **options)


def put_rotations(root, turns, split="train"):
    """A file of image ids; `turns` are degrees by image, None where it is not known."""
    rows = [
        [image, split, *[""] * 9, "nan" if turn is None else f"{turn:.1f}"]
        for image, turn in turns.items()
    ]
    name = {"train": "train-images-boxable-with-rotation.csv"}
    return put_csv(
        Path(root, name.get(split, f"{split}-images-with-rotation.csv")), rows, ID_COLUMNS
    )


def put_tree(root, images_per_class=6, classes=("Cat", "Dog", "Football")):
    """Every image has a box of its own class, and one of the next class in its lower right."""
    rows = []
    for number, name in enumerate(classes):
        for index in range(images_per_class):
            image = f"{number}{index:015x}"
            put_image(root, image)
            rows.append(box(image, name))
            after = classes[(number + 1) % len(classes)]
            rows.append(box(image, after, (0.5, 0.5, 1.0, 1.0)))
    put_classes(root)
    put_boxes(root, rows)
    return rows
