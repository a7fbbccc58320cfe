import numpy as np
import pytest
from PIL import Image

from gb_keras.data.catalogue import folder_of, full_name, open_source
from gb_keras.data.images import UnreadableImageError
from gb_keras.data.open_images.boxes import OpenImagesBoxes
from tests.data.open_images import (
    HEIGHT,
    MIDS,
    WIDTH,
    box,
    pixels,
    put_boxes,
    put_classes,
    put_csv,
    put_image,
    put_rotations,
    put_tree,
)

EXIF_ORIENTATION = 0x0112


def loaded(source, split="train"):
    return {example.id: example.load() for example in source.examples(split)}


def names(source, split="train"):
    return [source.classes[example.label] for example in source.examples(split)]


def tree(root, *rows):
    """Images a and b, with boxes of a cat and a dog before the given ones."""
    for image in "ab":
        put_image(root, image)
    put_classes(root)
    put_boxes(root, [box("a", "Cat"), box("b", "Dog"), *rows])
    return root


def left_out(root, options="", split="train"):
    source = OpenImagesBoxes(f"{root}{options}")
    examples = list(source.examples(split))
    return source.left_out[split], len(examples)


def close(image, expected):
    """Equal up to what JPEG loses at its best quality."""
    return image.shape == expected.shape and np.abs(image.astype(int) - expected).max() <= 3


def test_crops_with_their_classes_and_groups(tmp_path):
    tree(tmp_path, box("a", "Dog", (0.5, 0.5, 1.0, 1.0)))
    source = OpenImagesBoxes(str(tmp_path))
    # In the order of the file of classes, those without a box left out.
    assert source.classes == ("Cat", "Dog")
    assert source.splits == ("train",)
    examples = list(source.examples("train"))
    assert [(e.id, e.label, e.group) for e in examples] == [
        ("train/a.jpg:2", 0, "train/a.jpg"),
        ("train/b.jpg:3", 1, "train/b.jpg"),
        ("train/a.jpg:4", 1, "train/a.jpg"),
    ]
    upper_left, lower_right = slice(None, HEIGHT // 2), slice(HEIGHT // 2, None)
    crops = loaded(source)
    assert close(crops["train/a.jpg:2"], pixels("a")[upper_left, : WIDTH // 2])
    assert close(crops["train/a.jpg:4"], pixels("a")[lower_right, WIDTH // 2 :])
    assert source.left_out == {"train": {}}


def test_a_box_keeps_each_pixel_that_it_touches(tmp_path):
    # From 0.1 * 60 = 6 to 0.27 * 60 = 16.2 and from 0.31 * 40 = 12.4 to 0.5 * 40 = 20.
    tree(tmp_path, box("a", "Dog", (0.1, 0.31, 0.27, 0.5)), box("a", "Dog", (0.2, 0.2, 0.2001, 1)))
    crops = loaded(OpenImagesBoxes(str(tmp_path)))
    assert close(crops["train/a.jpg:4"], pixels("a")[12:20, 6:17])
    assert crops["train/a.jpg:5"].shape == (32, 1, 3)


@pytest.mark.parametrize("version", ["", "oidv5-", "oidv6-", "oidv7-"])
@pytest.mark.parametrize("place", ["", "annotations/"])
def test_names_of_every_version(tmp_path, version, place):
    for split in ("train", "validation", "test"):
        for image in "ab":
            put_image(tmp_path, f"{split}_{image}", split)
        rows = [box(f"{split}_a", "Cat"), box(f"{split}_b", "Dog")]
        put_boxes(tmp_path, rows, split, f"{place}{version}{{split}}-annotations-bbox.csv")
    put_classes(tmp_path, f"{place}{version}class-descriptions-boxable.csv")
    source = OpenImagesBoxes(str(tmp_path))
    assert source.splits == ("train", "validation", "test")
    for split in source.splits:
        assert names(source, split) == ["Cat", "Dog"]
        assert list(loaded(source, split)) == [
            f"{split}/{split}_{c}" for c in ("a.jpg:2", "b.jpg:3")
        ]


def test_images_in_the_folders_of_the_archives(tmp_path):
    tree(tmp_path)
    (tmp_path / "train_a").mkdir()
    (tmp_path / "train/a.jpg").rename(tmp_path / "train_a/a.jpg")
    assert list(loaded(OpenImagesBoxes(str(tmp_path)))) == ["train_a/a.jpg:2", "train/b.jpg:3"]


def test_every_row_that_does_not_count_is_counted(tmp_path):
    tree(
        tmp_path,
        box("missing", "Cat"),
        box("a", "/m/0unknown"),
        box("a", "/m/0unknown", (0.1, 0.1, 0.2, 0.2)),
        box("a", "Cat"),
        box("a", "Cat", (0.3, 0.1, 0.3, 0.9)),
        box("a", "Cat", (0.3, 0.9, 0.5, 0.2)),
        box("a", "Cat", (1.2, 0.1, 1.5, 0.9)),
        box("a", "Cat", (-0.1, 0.1, 0.5, 1.3)),
    )
    counts, num_examples = left_out(tmp_path)
    # The last but one is beyond the image altogether.
    assert counts == {
        "box without area": 3,
        "cut at the edges of the image": 1,
        "image not there": 1,
        "repeated row": 1,
        "unknown class /m/0unknown": 2,
    }
    assert num_examples == 3


def test_a_cut_box_is_cut_at_the_edges(tmp_path):
    tree(tmp_path, box("a", "Dog", (-0.1, 0.5, 0.5, 1.3)))
    assert close(loaded(OpenImagesBoxes(str(tmp_path)))["train/a.jpg:4"], pixels("a")[20:, :30])


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("group_of", "IsGroupOf"),
        ("truncated", "IsTruncated"),
        ("occluded", "IsOccluded"),
        ("depiction", "IsDepiction"),
        ("inside", "IsInside"),
    ],
)
def test_flags_to_drop(tmp_path, option, flag):
    # -1 stands for unknown, which is not dropped.
    area = (0.5, 0.5, 1.0, 1.0)
    tree(tmp_path, box("a", "Cat", area, **{flag: 1}), box("b", "Cat", area, **{flag: -1}))
    assert left_out(tmp_path) == ({}, 4)
    assert left_out(tmp_path, f"?drop={option}") == ({f"dropped: {option}": 1}, 3)


def test_least_size_in_pixels_of_each_image(tmp_path):
    # Of 30 x 20 pixels the boxes of tree, of 20 x 30 the first one here, of 40 x 60 the others.
    Image.fromarray(pixels("c", WIDTH, HEIGHT)).save(put_image(tmp_path, "c"), quality=100)
    whole = (0, 0, 1, 1)
    tree(tmp_path, box("c", "Dog"), box("c", "Dog", whole), box("c", "Cat", whole))
    assert left_out(tmp_path, "?min_size=20") == ({}, 5)
    assert left_out(tmp_path, "?min_size=21") == ({"smaller than 21 pixels": 3}, 2)


def test_classes_by_name_and_by_mid(tmp_path):
    put_tree(tmp_path)
    source = OpenImagesBoxes(f"{tmp_path}?classes=Football,{MIDS['Cat']}")
    assert source.classes == ("Football", "Cat")
    assert set(names(source)) == {"Football", "Cat"}
    assert source.left_out["train"] == {"class not chosen": 12}
    with pytest.raises(ValueError, match="Did you mean 'Football'"):
        OpenImagesBoxes(f"{tmp_path}?classes=Footbal,Cat")
    with pytest.raises(ValueError, match=r"Expected at least 2 classes .*'Cat'"):
        OpenImagesBoxes(f"{tmp_path}?classes=Magpie,Cat")


def test_a_class_that_training_never_has_is_not_in_the_other_splits_either(tmp_path):
    tree(tmp_path)
    for image in "cd":
        put_image(tmp_path, image, "validation")
    put_boxes(tmp_path, [box("c", "Cat"), box("d", "Magpie")], "validation")
    source = OpenImagesBoxes(str(tmp_path))
    assert names(source, "validation") == ["Cat"]
    assert source.left_out["validation"] == {"class not in training": 1}


def test_turned_by_the_column_rotation_or_else_by_exif(tmp_path):
    for image in "abc":
        path = put_image(tmp_path, image)
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = 6
        Image.fromarray(pixels(image)).save(path, quality=100, subsampling=0, exif=exif)
    put_classes(tmp_path)
    area = (0.0, 0.0, 0.5, 1.0)
    put_boxes(tmp_path, [box("a", "Cat", area), box("b", "Dog", area), box("c", "Dog", area)])
    # Of c nothing is known, and the file says so of b.
    put_rotations(tmp_path, {"a": 90, "b": None})
    crops = loaded(OpenImagesBoxes(str(tmp_path)))
    # A box belongs to the picture as it is stored.
    left = {image: pixels(image)[:, : WIDTH // 2] for image in "abc"}
    assert close(crops["train/a.jpg:2"], np.rot90(left["a"]))
    # Orientation 6: to be turned by 90 degrees clockwise.
    assert close(crops["train/b.jpg:3"], np.rot90(left["b"], -1))
    assert close(crops["train/c.jpg:4"], np.rot90(left["c"], -1))


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_every_turn(tmp_path, degrees, quarters):
    tree(tmp_path)
    put_rotations(tmp_path, {"a": degrees})
    crop = loaded(OpenImagesBoxes(str(tmp_path)))["train/a.jpg:2"]
    assert close(crop, np.rot90(pixels("a")[:20, :30], quarters))


def test_pictures_of_every_kind(tmp_path):
    tree(tmp_path, *(box(image, "Dog") for image in ("cmyk", "grey", "deep", "cut", "text")))
    train = tmp_path / "train"
    Image.fromarray(pixels("cmyk")).convert("CMYK").save(train / "cmyk.jpg", quality=100)
    Image.fromarray(pixels("grey")).convert("L").save(train / "grey.jpg", quality=100)
    deep = pixels("deep")[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(train / "deep.png")
    put_image(tmp_path, "cut").write_bytes((train / "a.jpg").read_bytes()[:-200])
    (train / "text.jpg").write_text("I am no image")
    crops, broken = {}, {}
    for example in OpenImagesBoxes(str(tmp_path)).examples("train"):
        try:
            crops[example.id] = example.load()
        except UnreadableImageError as error:
            broken[example.id] = str(error)
    for name in ("cmyk.jpg:4", "grey.jpg:5", "deep.png:6"):
        assert close(crops[f"train/{name}"], pixels(name.partition(".")[0])[:20, :30])
    assert list(broken) == ["train/cut.jpg:7", "train/text.jpg:8"]
    assert broken["train/text.jpg:8"].startswith("not an image")


@pytest.mark.parametrize("options", [{"newline": "\r\n"}, {"encoding": "utf-8-sig"}])
def test_line_ends_and_byte_order_marks_make_no_difference(tmp_path, options):
    tree(tmp_path)
    plain = loaded(OpenImagesBoxes(str(tmp_path)))
    put_classes(tmp_path, **options)
    put_boxes(tmp_path, [box("a", "Cat"), box("b", "Dog")], **options)
    source = OpenImagesBoxes(str(tmp_path))
    assert source.classes == ("Cat", "Dog")
    assert loaded(source).keys() == plain.keys()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train-annotations-bbox.csv", b"", "an empty file"),
        ("class-descriptions-boxable.csv", b"", "an empty file"),
        ("class-descriptions-boxable.csv", b"/m/01yrx,Cat\n/m/0bt9lr\n", "in line 2"),
        ("train-annotations-bbox.csv", b"ImageID,LabelName\na,b\n", "there is no XMin, YMin"),
        ("train-annotations-bbox.csv", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, file, content, message):
    tree(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        OpenImagesBoxes(str(tmp_path))
    assert file in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-12], r"Expected 13 values in line 3 .* The file may be cut short"),
        (lambda text: text.replace("0.5", "half", 1), r"a number as XMax in line 2 .*'half'"),
        (lambda text: text.replace("0.5", "nan", 1), r"a number as XMax in line 2 .*'nan'"),
        (lambda text: text[:-2] + "7\n", r"1, 0 or -1 as IsInside in line 3 .*'7'"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, change, message):
    path = tree(tmp_path) / "train-annotations-bbox.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        OpenImagesBoxes(str(tmp_path))


def test_a_turn_that_cannot_be_is_named(tmp_path):
    tree(tmp_path)
    put_rotations(tmp_path, {"a": 45})
    with pytest.raises(ValueError, match=r"0, 90, 180, 270 or nan as Rotation in line 2"):
        loaded(OpenImagesBoxes(str(tmp_path)))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="which is not there"):
        OpenImagesBoxes(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"Expected 'train-annotations-bbox\.csv'"):
        OpenImagesBoxes(str(tmp_path))
    put_boxes(tmp_path, [box("a", "Cat")])
    with pytest.raises(FileNotFoundError, match=r"Expected 'class-descriptions-boxable\.csv'"):
        OpenImagesBoxes(str(tmp_path))
    put_classes(tmp_path)
    with pytest.raises(ValueError, match="'image not there': 1"):
        OpenImagesBoxes(str(tmp_path))


def test_display_names_that_two_classes_share_are_told_apart(tmp_path):
    tree(tmp_path)
    rows = [(MIDS["Cat"], "Pet"), (MIDS["Dog"], "Pet")]
    put_csv(tmp_path / "class-descriptions-boxable.csv", rows, ("LabelName", "DisplayName"))
    assert OpenImagesBoxes(str(tmp_path)).classes == ("Pet (/m/01yrx)", "Pet (/m/0bt9lr)")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("boxes:/x?drop=groups", "Did you mean 'group_of'"),
        ("boxes:/x?size=3", "Expected option to be one of"),
        ("boxes:/x?min_size=0", "at least 1. Received: '0'"),
        ("boxes:/x?classes=Cat", "at least two classes"),
        ("boxes:/x?classes", "behind the path"),
        ("boxes:", "Expected open-images:boxes:PATH"),
        ("/x", "Expected open-images:boxes:PATH"),
    ],
)
def test_options_that_cannot_be(argument, message):
    with pytest.raises(ValueError, match=message):
        open_source(f"open-images:{argument}")


def test_the_name_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tree(tmp_path))
    name = full_name("open-images:boxes:.?min_size=4&drop=truncated,group_of&classes=Dog,Cat")
    assert name == (
        f"open-images:boxes:{tmp_path}?classes=Dog,Cat&drop=group_of,truncated&min_size=4"
    )
    assert full_name(name) == name
    assert open_source(name).name == name
    assert folder_of(name) == str(tmp_path)
