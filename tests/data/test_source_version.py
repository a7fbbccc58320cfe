import os

import pytest

from gb_keras.data.source_version import source_version


@pytest.fixture
def table(tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(3):
        (tmp_path / "images" / f"{index}.png").write_text("image")
    file = tmp_path / "tables" / "t.csv"
    file.parent.mkdir()
    file.write_text("path,label\n0.png,a\n1.png,b\n1.png,b\n,a\ngone.png,a\n")
    return f"csv:{file}?root={tmp_path}/images"


def later(path):
    """Another time of change, also where the clock of the file system is coarse."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


def test_of_a_table_the_images_count_that_it_lists(table, tmp_path):
    images = tmp_path / "images"
    seen = [source_version(table)]
    assert seen[0].startswith("files ")
    later(images / "2.png")
    assert source_version(table) == seen[0]
    later(images / "1.png")
    seen.append(source_version(table))
    (images / "0.png").write_text("another image")
    seen.append(source_version(table))
    (images / "gone.png").write_text("found")
    seen.append(source_version(table))
    later(tmp_path / "tables" / "t.csv")
    seen.append(source_version(table))
    assert len(set(seen)) == 5


@pytest.mark.parametrize("name", ["folder:", "huggingface-dir:", "tfds-dir:", "open-images:boxes:"])
def test_of_a_folder_all_counts_that_is_in_it(tmp_path, name):
    folder = tmp_path / "in" / "a" / "deep"
    folder.mkdir(parents=True)
    (folder / "circle").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    seen = [source_version(f"{name}{tmp_path}/in")]
    for file in (folder / "1.png", tmp_path / "elsewhere" / "2.png"):
        file.write_text("image")
        seen.append(source_version(f"{name}{tmp_path}/in"))
        later(file)
        seen.append(source_version(f"{name}{tmp_path}/in"))
    assert len(set(seen)) == 5
    assert source_version(f"{name}{tmp_path}/in") == seen[-1]


def test_what_is_no_path_or_not_there(tmp_path):
    assert source_version("tfds:mnist") == ""
    for name in ("folder:", "csv:"):
        with pytest.raises(FileNotFoundError, match="not there"):
            source_version(f"{name}{tmp_path}/none")
