import os

import numpy as np
import pytest
from PIL import Image

from gb_keras.data.folder_source import FolderSource
from gb_keras.data.images import UnreadableImageError


def put(path, value=0, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path, "PNG")


def reasons(source, split="train"):
    found = {}
    for example in source.examples(split):
        try:
            example.load()
        except UnreadableImageError as error:
            found[example.id] = str(error)
    return found


def test_classes_are_sorted_and_may_have_any_letters(tmp_path):
    for name in ("zebra", "Ärger im Büro", "猫", "a b"):
        put(tmp_path / name / "1.png")
    source = FolderSource(tmp_path)
    assert source.classes == ("a b", "zebra", "Ärger im Büro", "猫")
    assert source.splits == ("train",)
    ids = [(example.id, example.label) for example in source.examples("train")]
    assert ids == [(f"{name}/1.png", label) for label, name in enumerate(source.classes)]


def test_images_in_subfolders_and_through_links(tmp_path):
    put(tmp_path / "a" / "deep" / "deeper" / "1.png")
    put(tmp_path / "elsewhere.png")
    put(tmp_path / "b" / "1.png")
    os.symlink(tmp_path / "elsewhere.png", tmp_path / "b" / "2.png")
    os.symlink(tmp_path / "a", tmp_path / "a" / "deep" / "circle")
    (tmp_path / "elsewhere.png").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "elsewhere.png")
    ids = [example.id for example in FolderSource(tmp_path).examples("train")]
    assert ids == ["elsewhere.png", "a/deep/deeper/1.png", "b/1.png", "b/2.png"]


def test_every_bad_file_has_a_reason_and_junk_has_none(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name / "1.png")
    put(tmp_path / "a" / "png_inside.jpg")  # the content counts, not the extension
    put(tmp_path / "a" / "picture.dat")
    put(tmp_path / "outside.png")
    (tmp_path / "a" / "empty.png").touch()
    (tmp_path / "a" / "text.jpg").write_text("I am no image")
    (tmp_path / "a" / "notes.txt").write_text("notes")
    (tmp_path / "a" / "noextension").write_text("notes")
    os.symlink(tmp_path / "gone.png", tmp_path / "b" / "broken_link.png")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    jpeg = tmp_path / "b" / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:700])
    for junk in (".DS_Store", "Thumbs.db", "desktop.ini", "README.txt", "._1.png"):
        (tmp_path / "a" / junk).write_text("junk")
    (tmp_path / "labels.csv").write_text("beside the class folders")
    put(tmp_path / ".hidden" / "1.png")
    put(tmp_path / "__MACOSX" / "1.png")
    put(tmp_path / "a" / ".ipynb_checkpoints" / "1.png")

    found = reasons(FolderSource(tmp_path))
    expected = {
        "outside.png": "outside the class folders",
        "a/empty.png": "empty (0 bytes)",
        "a/noextension": "wrongly named: no extension",
        "a/notes.txt": "wrongly named: .txt extension",
        "a/picture.dat": "wrongly named: .dat extension",
        "a/text.jpg": "not an image",
        "b/broken_link.png": "cannot be opened",
        "b/cut.jpg": "broken",
        "b/pipe.png": "cannot be opened",
    }
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert reason in found[name], name


def test_a_file_name_that_is_no_utf8_gets_a_name_that_can_be_written(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name / "1.png")
    try:
        (tmp_path / "a" / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    ids = [example.id for example in FolderSource(tmp_path).examples("train")]
    assert ids == ["a/1.png", "a/\\xff.png", "b/1.png"]


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_splits_by_folder(tmp_path, validation):
    for split in ("train", validation, "test"):
        for name in ("a", "b"):
            put(tmp_path / split / name / "1.png")
    put(tmp_path / "train" / "c" / "1.png")
    source = FolderSource(tmp_path)
    assert source.splits == ("train", "validation", "test")
    assert source.classes == ("a", "b", "c")
    ids = [example.id for example in source.examples("validation")]
    assert ids == [f"{validation}/a/1.png", f"{validation}/b/1.png"]


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train", "test"):
        put(tmp_path / name / "1.png")
    assert FolderSource(tmp_path).classes == ("bus", "test", "train")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "at least 2 class folders"),
        (["a"], "at least 2 class folders"),
        (["train/a", "train/b", "c/d"], "Received: .'c', 'train'."),
        (["val/a", "val/b", "test/a"], "Received: .'test', 'val'."),
        (["train/a", "train/b", "val/a", "validation/a"], "at most one of"),
        (["train/a", "train/b", "test/x"], "Received also: .'x'."),
    ],
)
def test_layouts_that_are_refused(tmp_path, folders, message):
    for folder in folders:
        put(tmp_path / folder / "1.png")
    with pytest.raises(ValueError, match=message):
        FolderSource(tmp_path)


def test_a_path_that_is_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there"):
        FolderSource(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="a file"):
        FolderSource(tmp_path / "file")
