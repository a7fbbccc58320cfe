import json

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gb_keras.cli import app
from gb_keras.stages import report_figure
from gb_keras.stages.describe import describe
from gb_keras.stages.prepare import prepare
from tests.data.test_duplicates import as_jpeg, picture


@pytest.fixture
def photos(tmp_path):
    """Two splits of three classes, with all that can be wrong."""
    root = tmp_path / "photos"
    names = {"train": {"ant": 8, "bee": 4, "<b>wasp": 2}, "test": {"ant": 2, "bee": 2}}
    seed = 0
    for split, classes in names.items():
        for name, number in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                picture(seed, size=60 + 10 * (seed % 3)).save(folder / f"{index}.png")
                seed += 1
    # The same picture under two names, smaller in another split, and compressed of the same class.
    picture(0, 60).save(root / "train" / "bee" / "twin.png")
    picture(1, 70).resize((64, 64)).save(root / "test" / "ant" / "leak.png")
    as_jpeg(picture(2, 80), 80).save(root / "train" / "ant" / "again.jpg")
    (root / "train" / "ant" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return root


def test_what_is_there_and_what_is_wrong(photos):
    found = describe(f"folder:{photos}")
    assert found["classes"] == ["<b>wasp", "ant", "bee"]
    assert found["splits"] == {
        "train": {"num_examples": 16, "class_counts": [2, 9, 5]},
        "test": {"num_examples": 5, "class_counts": [0, 3, 2]},
    }
    assert found["imbalance_factor"] == 4.5
    assert not found["multi_label"]
    assert found["heights"] == found["widths"] == [60, 70, 80]
    assert found["grey"] == 0
    (broken,) = found["broken"]
    assert (broken["file"], broken["split"]) == ("train/ant/broken.jpg", "train")
    assert (found["num_duplicate_groups"], found["num_duplicates"]) == (3, 3)
    assert (found["num_conflicts"], found["num_leaks"]) == (1, 1)
    conflict, leak, plain = found["duplicates"]
    assert {image["file"]: image["labels"] for image in conflict["images"]} == {
        "train/ant/0.png": ["ant"],
        "train/bee/twin.png": ["bee"],
    }
    assert [group["conflict"] for group in (conflict, leak, plain)] == [True, False, False]
    assert [group["leak"] for group in (conflict, leak, plain)] == [False, True, False]
    assert {image["split"] for image in leak["images"]} == {"train", "test"}
    assert {image["file"] for image in plain["images"]} == {
        "train/ant/2.png",
        "train/ant/again.jpg",
    }


def test_the_page_needs_nothing_but_itself(photos, tmp_path):
    found = describe(f"folder:{photos}", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "description.json").read_text()) == found
    page = (tmp_path / "out" / "description.html").read_text()
    assert "<b>wasp" not in page
    assert page.count("data:image/png;base64,") == 6
    assert "labels disagree" in page
    assert "train/ant/broken.jpg" in page
    for outside in ("http://", "https://", "<link", ' src="/'):
        assert outside not in page.replace("http://www.w3.org", "")
    with pytest.raises(FileExistsError):
        describe(f"folder:{photos}", tmp_path / "out")


def test_a_prepared_data_set_by_its_folder(tmp_path):
    manifest = prepare("digits", tmp_path / "digits", long_tail_factor=20)
    found = describe(str(tmp_path / "digits"))
    assert found["data"] == f"tfds-dir:{tmp_path / 'digits'}"
    for split, about in found["splits"].items():
        assert about["class_counts"] == manifest["splits"][split]["class_counts"]
    assert found["imbalance_factor"] == pytest.approx(124 / 6)
    assert found["grey"] == 1
    assert found["num_leaks"] == 0


def test_labels_of_a_multi_label_set_disagree_where_one_denies_what_the_other_says(tmp_path):
    rows = ["path,a,b,c"]
    # Pairs of the same picture: equal, one says more of what is unknown, one denies, one is unlike.
    for index, (first, second) in enumerate(
        [("1,0,0", "1,0,0"), ("1,,0", "1,1,0"), ("1,0,0", "1,1,0"), ("1,0,1", "1,0,")]
    ):
        for twin, label in (("x", first), ("y", second)):
            image = np.asarray(picture(index))
            Image.fromarray(image).save(tmp_path / f"{index}{twin}.png")
            rows.append(f"{index}{twin}.png,{label}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found = describe(f"csv:{tmp_path / 't.csv'}?labels=a,b,c")
    assert found["multi_label"]
    assert found["splits"]["train"]["class_counts"] == [8, 2, 1]
    assert found["splits"]["train"]["absent_counts"] == [0, 5, 6]
    assert found["num_duplicate_groups"] == 4
    (conflict,) = [group for group in found["duplicates"] if group["conflict"]]
    assert [image["file"] for image in conflict["images"]] == ["2x.png", "2y.png"]


def test_on_the_command_line(photos, tmp_path):
    runner = CliRunner()
    done = runner.invoke(app, ["describe", f"folder:{photos}", "--output", str(tmp_path / "out")])
    assert done.exit_code == 0
    for words in ("imbalance factor", "1 of these groups", "description.html"):
        assert words in done.stdout
    done = runner.invoke(app, ["describe", f"folder:{photos}", "--json"])
    assert json.loads(done.stdout)["num_conflicts"] == 1
    done = runner.invoke(app, ["describe", "folder:/no/such"])
    assert done.exit_code == 2
    assert "/no/such" in done.stderr


def test_a_class_in_letters_that_matplotlib_lacks_is_drawn_without_a_warning():
    with report_figure.style():
        figure = matplotlib.figure.Figure()
        figure.suptitle("日本語")
    assert "日本語" in report_figure.svg(figure, "name", "a title")
