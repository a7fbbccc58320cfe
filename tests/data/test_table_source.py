import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gb_keras.data import manifest as manifests
from gb_keras.data.catalogue import folder_of, full_name, open_source
from gb_keras.data.images import UnreadableImageError
from gb_keras.data.source_version import source_version
from gb_keras.stages.prepare import prepare


def put(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), "uint8")
    Image.fromarray(pixels).save(path)


def listed(source, split="train"):
    """Label or reason of each example, by its id."""
    found = {}
    for example in source.examples(split):
        assert example.id not in found
        try:
            assert example.load().shape == (6, 6, 3)
            found[example.id] = source.classes[example.label]
        except UnreadableImageError as error:
            found[example.id] = str(error)
    return found


@pytest.fixture
def birds(tmp_path):
    """Three images of two classes, and their table."""
    for index in range(3):
        put(tmp_path / "images" / f"{index}.png", index)
    return pd.DataFrame(
        {
            "path": [f"images/{index}.png" for index in range(3)],
            "label": ["wren", "robin", "wren"],
        }
    )


def write(table, path):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["csv:t.csv", "csv:t.tsv", "parquet:t.parquet"])
def test_paths_start_from_the_table(birds, tmp_path, name):
    kind, _, file = name.partition(":")
    path = write(birds, tmp_path / file)
    source = open_source(f"{kind}:{path}")
    assert (source.classes, source.splits) == (("robin", "wren"), ("train",))
    assert listed(source) == {
        "images/0.png": "wren",
        "images/1.png": "robin",
        "images/2.png": "wren",
    }
    assert open_source(source.name).classes == source.classes


def test_columns_and_root_by_option(birds, tmp_path):
    table = birds.rename(columns={"path": "picture", "label": "the species"})
    table["picture"] = [each.removeprefix("images/") for each in table["picture"]]
    table["part"] = ["train", "Train", "val"]
    table["nest"] = ["a", "a", "b"]
    (tmp_path / "tables").mkdir()
    path = write(table, tmp_path / "tables" / "t.csv")
    source = open_source(
        f"csv:{path}?path=picture&label=the+species&split=part&group=nest"
        f"&root={tmp_path / 'images'}"
    )
    assert source.splits == ("train", "validation")
    assert listed(source) == {"0.png": "wren", "1.png": "robin"}
    assert listed(source, "validation") == {"2.png": "wren"}
    assert [example.group for example in source.examples("train")] == ["a", "a"]
    assert listed(open_source(source.name)) == listed(source)


def test_every_bad_row_has_a_reason(birds, tmp_path):
    put(tmp_path / "images" / "cut.png")
    (tmp_path / "images" / "cut.png").write_bytes(b"\x89PNG")
    (tmp_path / "images" / "loop.png").symlink_to(tmp_path / "images" / "loop.png")
    more = pd.DataFrame(
        [
            ("images/0.png", "wren"),
            ("images/1.png", "wren"),
            ("", "wren"),
            ("images/x.png", ""),
            ("images/none.png", "robin"),
            ("images/cut.png", "robin"),
            ("images/loop.png", "robin"),
        ],
        columns=["path", "label"],
    )
    path = write(pd.concat([birds, more]), tmp_path / "t.csv")
    found = listed(open_source(f"csv:{path}"))
    assert len(found) == 10
    reasons = list(found.values())[3:]
    files = list(found)[3:]
    already = "this file is listed in row {} of t.csv already, with {} label or split"
    assert files[0] == "images/0.png (row 4 of t.csv)"
    assert reasons[0] == already.format(1, "the same")
    assert reasons[1] == already.format(2, "another")
    assert (files[2], reasons[2]) == ("(row 6 of t.csv)", "no path")
    assert (files[3], reasons[3]) == ("images/x.png (row 7 of t.csv)", "no label")
    assert "cannot be opened" in reasons[4]
    assert "row" not in reasons[5]
    assert "cannot be opened" in reasons[6]
    assert source_version(f"csv:{path}")


def test_a_row_without_label_leaves_its_file_to_one_that_has_it(birds, tmp_path):
    path, label = birds.iloc[0]
    bare = pd.DataFrame([(path, "")], columns=["path", "label"])
    table = write(pd.concat([bare, birds, bare]), tmp_path / "t.csv")
    found = listed(open_source(f"csv:{table}"))
    assert found.pop(f"{path} (row 1 of t.csv)") == "no label"
    assert found.pop(f"{path} (row {len(birds) + 2} of t.csv)") == "no label"
    assert next(iter(found.items())) == (path, label)


def test_a_folder_of_paths_that_is_not_there(birds, tmp_path):
    table = write(birds, tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match=r"start from\. Received: root='.*/nowhere'"):
        open_source(f"csv:{table}?root={tmp_path / 'nowhere'}")


def test_numbers_are_sorted_as_numbers_and_text_stays_text(tmp_path):
    for index in range(4):
        put(tmp_path / f"{index}.png", index)
    paths = [f"{index}.png" for index in range(4)]
    numbers = pd.DataFrame({"path": paths, "label": [10, 9, 2, 9]})
    assert open_source(f"csv:{write(numbers, tmp_path / 'n.csv')}").classes == ("2", "9", "10")
    holes = pd.DataFrame({"path": paths, "label": [10, 9, None, 9]})
    source = open_source(f"parquet:{write(holes, tmp_path / 'n.parquet')}")
    assert source.classes == ("9", "10")
    assert listed(source)["2.png (row 3 of n.parquet)"] == "no label"
    text = pd.DataFrame({"path": paths, "label": ["NA", "null", "猫", "NA"]})
    path = tmp_path / "text.csv"
    # With the mark and the line ends that spreadsheets write.
    path.write_bytes(text.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig"))
    assert open_source(f"csv:{path}").classes == ("NA", "null", "猫")


@pytest.mark.parametrize(
    ("content", "option", "message"),
    [
        ("a,b\n1,2\n", "", r"'path' or 'file_name'.*columns \['a', 'b'\].*\?path=COLUMN"),
        ("path,b\n1,2\n", "", r"'label' or 'class'.*\?label=COLUMN"),
        ("path,label\n1,a\n2,b\n", "?split=part", r"column 'part' with the split"),
        ("path,label,part\n1,a,train\n2,b,dev\n", "?split=part", r"train, validation, test.*dev"),
        ("path,label,part\n1,a,train\n2,b,train\n3,c,test\n", "?split=part", r"also: \['c'\]"),
        ("path,label\n1,a\n2,a\n", "", "at least 2 classes"),
        ("path,label\n", "", "at least 2 classes"),
        ("", "", "cannot be read"),
        ('path,label\n"1,a\n', "", "cannot be read"),
        ("path,label\n1,\xff\n", "", "UTF-8"),
        ("path,label\n1,a\n", "?lable=x", "Did you mean 'label'"),
        ("path,label\n1,a\n", "?label", "Expected options"),
        ("path,label\n1,a\n", "?label=a&label=b", "each option once"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path, content, option, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        open_source(f"csv:{path}{option}")


def test_missing_files_are_said(tmp_path):
    for name in ("csv:none.csv", "parquet:none.parquet", "huggingface-dir:none"):
        kind, _, file = name.partition(":")
        with pytest.raises(FileNotFoundError, match="none"):
            open_source(f"{kind}:{tmp_path / file}")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_huggingface_metadata_in_each_split(tmp_path, suffix):
    for split, labels in {"train": ("a", "b", "a"), "test": ("b",)}.items():
        folder = tmp_path / split
        for index in range(len(labels)):
            put(folder / f"{index}.png", index)
        table = pd.DataFrame(
            {"file_name": [f"{index}.png" for index in range(len(labels))], "kind": labels}
        )
        if suffix == "jsonl":
            lines = [json.dumps(row) for row in table.to_dict("records")]
            (folder / "metadata.jsonl").write_text("\n".join(lines))
        else:
            write(table, folder / f"metadata.{suffix}")
    name = f"huggingface-dir:{tmp_path}?label=kind"
    source = open_source(name)
    assert (source.name, source.splits, source.classes) == (name, ("train", "test"), ("a", "b"))
    assert listed(source) == {"0.png": "a", "1.png": "b", "2.png": "a"}
    assert listed(source, "test") == {"0.png": "b"}
    assert folder_of(full_name(name)) == str(tmp_path)
    (tmp_path / "test" / f"metadata.{suffix}").unlink()
    with pytest.raises(ValueError, match="none for test"):
        open_source(name)


def test_huggingface_class_folders_and_one_table(tmp_path):
    for index, name in enumerate("ab"):
        put(tmp_path / "folders" / name / "1.png", index)
        put(tmp_path / "one" / f"{name}.png", index)
    source = open_source(f"huggingface-dir:{tmp_path / 'folders'}")
    assert source.name.startswith("huggingface-dir:")
    assert listed(source) == {"a/1.png": "a", "b/1.png": "b"}
    (tmp_path / "one" / "metadata.csv").write_text("file_name,label\na.png,x\nb.png,y\n")
    source = open_source(f"huggingface-dir:{tmp_path / 'one'}")
    assert listed(source) == {"a.png": "x", "b.png": "y"}


def test_prepare_keeps_groups_together_and_reports_rows(tmp_path):
    rows = []
    for index in range(80):
        put(tmp_path / f"{index}.png", index)
        rows.append((f"{index}.png", "ab"[index % 2], f"nest {index // 4}"))
    rows.append(("gone.png", "a", "nest 0"))
    table = pd.DataFrame(rows, columns=["path", "label", "nest"])
    path = write(table, tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"gone\.png"):
        prepare(f"csv:{path}?group=nest", tmp_path / "none")
    prepare(f"csv:{path}?group=nest", tmp_path / "out", on_error="skip")
    manifest = manifests.read_manifest(tmp_path / "out")
    assert [each["file"] for each in manifest["skipped"]] == ["gone.png"]
    assert sum(split["num_examples"] for split in manifest["splits"].values()) == 80
    # Whole nests of two and two.
    for split in manifest["splits"].values():
        assert split["class_counts"][0] == split["class_counts"][1]
        assert split["num_examples"] % 4 == 0


@pytest.fixture
def attributes(tmp_path):
    """Four images, and a table with a column for each of four labels."""
    for index in range(4):
        put(tmp_path / f"{index}.png", index)
    return pd.DataFrame(
        {
            "path": [f"{index}.png" for index in range(4)],
            "red": ["1", "0", "1", "0"],
            "striped": ["1.0", "0.0", "0", "1"],
            "old": ["false", "True", "0", "1"],
            "loud": ["0", "0", "0", "0"],
        }
    )


def sets(source, split="train"):
    """What each image shows and does not show, by name."""
    found = {}
    for example in source.examples(split):
        label = example.label
        absent = (
            None if label.absent is None else "".join(source.classes[i][0] for i in label.absent)
        )
        found[example.id] = ("".join(source.classes[i][0] for i in label.present), absent)
    return found


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_for_each_label(attributes, tmp_path, kind):
    path = write(attributes, tmp_path / f"t.{kind}")
    source = open_source(f"{kind}:{path}?labels=striped,red,old,loud")
    # In the order of the option; what no row shows is no class.
    assert source.classes == ("striped", "red", "old")
    assert source.multi_label
    assert source.left_out == {"train": {"labels that no training row shows": 1}}
    # Nothing is unknown, so what is not present is absent.
    assert sets(source) == {
        "0.png": ("sr", None),
        "1.png": ("o", None),
        "2.png": ("r", None),
        "3.png": ("so", None),
    }
    every = open_source(f"{kind}:{path}?labels=*")
    assert every.classes == ("red", "striped", "old")
    assert every.name == f"{kind}:{path}?labels=*"


def test_unknown_labels(attributes, tmp_path):
    attributes["red"] = ["", "-1", "1", "0"]
    attributes["old"] = ["", "0", "0", ""]
    attributes.loc[0, ["striped", "loud"]] = ["", ""]
    path = write(attributes, tmp_path / "t.csv")
    source = open_source(f"csv:{path}?labels=red,striped,old,loud")
    assert source.classes == ("red", "striped")
    examples = list(source.examples("train"))
    with pytest.raises(UnreadableImageError, match=r"^no label$"):
        examples[0].load()
    assert {each.id: (each.label.present, each.label.absent) for each in examples[1:]} == {
        "1.png": ((), (1,)),
        "2.png": ((0,), (1,)),
        "3.png": ((1,), (0,)),
    }


def test_numbers_and_truth_values_of_parquet_are_labels(attributes, tmp_path):
    attributes["red"] = [1, 0, 1, 0]
    attributes["striped"] = [True, False, False, True]
    attributes["old"] = [0.0, 1.0, np.nan, -1.0]
    path = write(attributes, tmp_path / "t.parquet")
    source = open_source(f"parquet:{path}?labels=red,striped,old")
    assert sets(source) == {
        "0.png": ("rs", "o"),
        "1.png": ("o", "rs"),
        "2.png": ("r", "s"),
        "3.png": ("s", "r"),
    }


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("red", "at least two columns"),
        ("red,red", "each once"),
        ("red,blue", "which has the columns"),
        ("red,path", "Expected 1 .present., 0 .absent.*in the column 'path'.*'0.png'"),
        ("red,old&label=red", "Expected either label=COLUMN or labels"),
    ],
)
def test_label_columns_that_make_no_sense_are_refused(attributes, tmp_path, labels, message):
    path = write(attributes, tmp_path / "t.csv")
    with pytest.raises(ValueError, match=message):
        open_source(f"csv:{path}?labels={labels}")


def test_semicolons_are_said(birds, tmp_path):
    path = tmp_path / "t.csv"
    birds.to_csv(path, sep=";", index=False)
    with pytest.raises(ValueError, match="Write it with commas"):
        open_source(f"csv:{path}")


def test_columns_called_split_and_group_are_what_they_are_called(birds, tmp_path):
    table = birds.assign(split=["train", "train", "val"], group=["a", "a", "b"])
    path = write(table, tmp_path / "t.csv")
    source = open_source(f"csv:{path}")
    assert listed(source) == {"images/0.png": "wren", "images/1.png": "robin"}
    assert [example.group for example in source.examples("train")] == ["a", "a"]


def test_columns_called_split_and_group_may_mean_something_else(birds, tmp_path):
    table = birds.rename(columns={"label": "group"}).assign(split=["left", "right", "left"])
    path = write(table, tmp_path / "t.csv")
    with pytest.raises(ValueError, match="split= for none"):
        open_source(f"csv:{path}?label=group")
    source = open_source(f"csv:{path}?label=group&split=")
    assert source.splits == ("train",)
    # Classes are not groups too, or no class would be in two splits.
    assert [example.group for example in source.examples("train")] == [None] * 3
    assert open_source(f"csv:{path}?label=group&split=&group=").classes == source.classes
