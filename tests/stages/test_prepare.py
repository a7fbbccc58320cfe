import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gb_keras.data import leftovers
from gb_keras.data.manifest import read_manifest
from gb_keras.data.tfds_directory import no_protobuf_warnings
from gb_keras.stages.prepare import prepare
from tests.data.open_images import box, put_boxes, put_tree

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def fresh_keras():
    """Preparing uses no Keras: no time for a fresh session is needed."""


def make_folder(root, per_class=10, classes=("cat", "dog"), size=(6, 5), grey=False):
    """Random pictures, all different."""
    generator = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            pixels = generator.integers(0, 256, (*size, 1 if grey else 3), dtype=np.uint8)
            Image.fromarray(pixels[..., 0] if grey else pixels).save(root / name / f"{index}.png")
    return f"folder:{root}"


def read(folder):
    """Every example by split, as TFDS itself reads them."""
    with no_protobuf_warnings():
        builder = tfds.builder_from_directory(folder)
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }


def visible(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_standard_tfds_directory(tmp_path):
    manifest = prepare(make_folder(tmp_path / "in"), tmp_path / "out")
    with no_protobuf_warnings():
        builder = tfds.builder_from_directory(tmp_path / "out")
    assert sorted(builder.info.features) == ["id", "image", "label"]
    assert builder.info.features["label"].names == ["cat", "dog"]
    assert builder.info.features["image"].shape == (6, 5, 3)
    assert manifest["image_shape"] == [6, 5, 3]
    assert manifest["skipped"] == []
    examples = read(tmp_path / "out")
    for split, count in zip(SPLITS, (14, 2, 4), strict=True):
        assert manifest["splits"][split] == {
            "num_examples": count,
            "class_counts": [count // 2] * 2,
        }
        assert builder.info.splits[split].num_examples == count
        for example in examples[split]:
            name = example["id"].decode()
            assert name.split("/")[0] == ["cat", "dog"][example["label"]]
            stored = np.asarray(Image.open(tmp_path / "in" / name))
            np.testing.assert_array_equal(example["image"], stored)
    assert visible(tmp_path) == ["in", "out"]


def test_splits_share_no_picture_even_when_the_source_repeats_itself(tmp_path):
    name = make_folder(tmp_path / "in", per_class=12, grey=True)
    for folder in ("cat", "dog"):
        for index in range(6):
            source = tmp_path / "in" / folder / f"{index}.png"
            shutil.copy(source, source.with_name(f"copy{index}.png"))
            # The same pixels in another file format, and under the other label.
            Image.open(source).convert("RGB").save(source.with_name(f"copy{index}.bmp"))
            other = {"cat": "dog", "dog": "cat"}[folder]
            shutil.copy(source, tmp_path / "in" / other / f"from_{folder}{index}.png")
    for seed in range(4):
        out = tmp_path / f"out{seed}"
        manifest = prepare(name, out, seed=seed, validation_fraction=0.3, test_fraction=0.3)
        assert sum(split["num_examples"] for split in manifest["splits"].values()) == 60
        pictures = {
            split: {hashlib.sha256(e["image"].tobytes()).digest() for e in examples}
            for split, examples in read(out).items()
        }
        assert sum(map(len, pictures.values())) == len(set().union(*pictures.values())) == 24


def test_grey_sources_have_one_channel_and_one_coloured_image_makes_three(tmp_path):
    name = make_folder(tmp_path / "in", grey=True)
    assert prepare(name, tmp_path / "grey")["image_shape"] == [6, 5, 1]
    Image.new("RGB", (5, 6), "red").save(tmp_path / "in" / "cat" / "red.png")
    assert prepare(name, tmp_path / "colour")["image_shape"] == [6, 5, 3]
    for example in read(tmp_path / "colour")["train"]:
        stored = Image.open(tmp_path / "in" / example["id"].decode()).convert("RGB")
        np.testing.assert_array_equal(example["image"], stored)


def test_image_size_and_several_sizes(tmp_path):
    name = make_folder(tmp_path / "in")
    Image.new("RGB", (40, 20), "red").save(tmp_path / "in" / "cat" / "large.png")
    assert prepare(name, tmp_path / "as_is")["image_shape"] == [None, None, 3]
    manifest = prepare(name, tmp_path / "resized", image_size=8)
    assert manifest["image_shape"] == [8, 8, 3]
    assert {e["image"].shape for e in read(tmp_path / "resized")["train"]} == {(8, 8, 3)}


def test_long_tail_and_noise_touch_train_alone(tmp_path):
    plain = prepare("digits", tmp_path / "plain")
    viewed = prepare("digits", tmp_path / "viewed", long_tail_factor=100, label_noise=0.3)
    for split in ("validation", "test"):
        assert viewed["splits"][split] == plain["splits"][split]
    # 128 * 100 ** (-c / 9), rounded down, or all 124 where there are fewer.
    clean = [124, 76, 46, 27, 16, 9, 5, 3, 2, 1]
    assert viewed["splits"]["train"]["num_examples"] == sum(clean) == 309
    assert viewed["num_labels_changed"] == 93  # 0.3 * 309 = 92.7
    labels = {e["id"]: e["label"] for e in read(tmp_path / "plain")["train"]}
    changed = [labels[e["id"]] != e["label"] for e in read(tmp_path / "viewed")["train"]]
    assert sum(changed) == 93


def test_the_same_options_give_the_same_files_and_another_seed_does_not(tmp_path):
    options = {"long_tail_factor": 5, "label_noise": 0.1}
    first = prepare("digits", tmp_path / "a", seed=3, **options)
    second = prepare("digits", tmp_path / "b", seed=3, **options)
    other = prepare("digits", tmp_path / "c", seed=4, **options)
    assert first == second
    assert first["checksums"] != other["checksums"]


def test_running_again_returns_the_manifest_at_once_and_touches_nothing(tmp_path, caplog):
    name = make_folder(tmp_path / "in")
    first = prepare(name, tmp_path / "out", seed=1)
    assert not caplog.messages
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    shutil.rmtree(tmp_path / "in")  # "at once": the source is not even looked at
    assert prepare(name, tmp_path / "out", seed=1) == first
    assert caplog.messages == [
        f"Nothing was made: {tmp_path / 'out'} holds this very data set already."
    ]
    with pytest.raises(FileExistsError, match="made with seed=1 instead of 2"):
        prepare(name, tmp_path / "out", seed=2)
    with pytest.raises(FileExistsError, match="made with data="):
        prepare("digits", tmp_path / "out", seed=1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_another_version_of_the_data_is_another_data_set(tmp_path):
    data = make_folder(tmp_path / "in")
    manifest = prepare(data, tmp_path / "out", data_version="May")
    assert manifest["options"]["data_version"] == "May"
    assert prepare(data, tmp_path / "out", data_version="May") == manifest
    with pytest.raises(FileExistsError, match="data_version"):
        prepare(data, tmp_path / "out", data_version="June")
    with pytest.raises(FileExistsError, match="data_version"):
        prepare(data, tmp_path / "out")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="already holds something"):
        prepare("digits", tmp_path)
    assert visible(tmp_path) == ["thesis.txt"]


def test_all_bad_files_are_named_or_skipped_and_counted(tmp_path):
    name = make_folder(tmp_path / "in")
    (tmp_path / "in" / "cat" / "empty.png").touch()
    (tmp_path / "in" / "dog" / "text.jpg").write_text("no image")
    (tmp_path / "in" / "dog" / "notes.txt").write_text("notes")
    (tmp_path / "in" / "dog" / "README.txt").write_text("junk is no problem")
    with pytest.raises(ValueError, match="Received 3 that cannot be used") as caught:
        prepare(name, tmp_path / "out")
    for file in ("cat/empty.png: empty", "dog/text.jpg: not an image", "dog/notes.txt: wrongly"):
        assert file in str(caught.value)
    assert visible(tmp_path) == ["in"]
    manifest = prepare(name, tmp_path / "out", on_error="skip")
    assert manifest["num_skipped"] == 3
    files = [skipped["file"] for skipped in manifest["skipped"]]
    assert files == ["cat/empty.png", "dog/notes.txt", "dog/text.jpg"]
    assert sum(split["num_examples"] for split in manifest["splits"].values()) == 20


def test_a_picture_in_two_splits_of_the_source_stays_in_test(tmp_path):
    make_folder(tmp_path / "in" / "train")
    make_folder(tmp_path / "in" / "test", per_class=0)
    for folder in ("cat", "dog"):
        for index in range(3):
            source = tmp_path / "in" / "train" / folder / f"{index}.png"
            shutil.copy(source, tmp_path / "in" / "test" / folder)
    manifest = prepare(f"folder:{tmp_path / 'in'}", tmp_path / "out")
    assert manifest["splits"]["test"]["class_counts"] == [3, 3]
    assert manifest["num_skipped"] == 6
    reason = "the same image as test/cat/0.png of the split test"
    assert {"file": "train/cat/0.png", "reason": reason} in manifest["skipped"]


def test_class_names_with_any_letters(tmp_path):
    classes = ("Ärger im Büro", "猫", "a, b")
    manifest = prepare(make_folder(tmp_path / "in", classes=classes), tmp_path / "out")
    with no_protobuf_warnings():
        builder = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.features["label"].names == manifest["classes"] == sorted(classes)


@pytest.mark.parametrize("name", [" padded", "two\nlines"])
def test_class_names_that_tfds_would_change_are_refused(tmp_path, name):
    source = make_folder(tmp_path / "in", classes=("cat", name))
    with pytest.raises(ValueError, match="class names of one line"):
        prepare(source, tmp_path / "out")


def test_too_few_images_in_a_class(tmp_path):
    name = make_folder(tmp_path / "in")
    (tmp_path / "in" / "rare").mkdir()
    for index in range(4):
        colour = ["red", "blue"][index % 2]  # four files, two pictures
        Image.new("RGB", (5, 6), colour).save(tmp_path / "in" / "rare" / f"{index}.png")
    with pytest.raises(ValueError, match=r"different images of every class.*\{'rare': 2\}"):
        prepare(name, tmp_path / "out")
    assert visible(tmp_path) == ["in"]


def test_too_few_groups_of_a_class(tmp_path):
    table = tmp_path / "birds.csv"
    rows = [f"{index}.png,{'ab'[index % 2]},{index // 12}" for index in range(24)]
    table.write_text("\n".join(["path,label,group", *rows]))
    for index in range(24):
        Image.new("RGB", (5, 6), (9 * index, 0, 0)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match=r"in at least 3 groups.*\{'a': 2, 'b': 2\}"):
        prepare(f"csv:{table}", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long_tail_factor": 0.5}, "factor of at least 1"),
        ({"label_noise": 1.0}, "`label_noise` in"),
        ({"label_noise": -0.1}, "`label_noise` in"),
        ({"validation_fraction": 0.0}, "`validation_fraction` in"),
        ({"test_fraction": 1.0}, "`test_fraction` in"),
        ({"test_fraction": float("nan")}, "`test_fraction` in"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "below 1, so that images are left"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": 2.5}, "image_size"),
        ({"seed": -1}, "seed"),
        ({"on_error": "ignore"}, "on_error"),
        ({"min_images": 0}, "min_images"),
        ({"data": "digit"}, "Did you mean 'digits'"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(options.pop("data", "digits"), tmp_path / "out", **options)
    assert visible(tmp_path) == []


def test_a_result_inside_its_source_is_refused(tmp_path):
    name = make_folder(tmp_path / "in")
    with pytest.raises(ValueError, match="outside of the source"):
        prepare(name, tmp_path / "in" / "out")


def test_a_source_that_changes_once_it_was_read_changes_nothing(tmp_path, monkeypatch):
    name = make_folder(tmp_path / "in")
    expected = prepare(name, tmp_path / "expected")

    def plan_and_change(*args, **kwargs):
        Image.new("RGB", (5, 6), "red").save(tmp_path / "in" / "cat" / "0.png")
        return plan_splits(*args, **kwargs)

    module = sys.modules[prepare.__module__]
    plan_splits = module.plan_splits
    monkeypatch.setattr(module, "plan_splits", plan_and_change)
    assert prepare(name, tmp_path / "out") == expected


def test_small_classes_are_left_out_counted_and_listed(tmp_path, caplog):
    name = make_folder(tmp_path / "in")
    for file in ("rare/0", "rare/1", "rarer/0"):
        (tmp_path / "in" / file).parent.mkdir(exist_ok=True)
        colour = {"rare/0": "red", "rare/1": "blue", "rarer/0": "green"}[file]
        Image.new("RGB", (5, 6), colour).save(tmp_path / "in" / f"{file}.png")
    with pytest.raises(ValueError, match=r"--min-images 3"):
        prepare(name, tmp_path / "out")
    manifest = prepare(name, tmp_path / "out", min_images=3)
    assert manifest["options"]["min_images"] == 3
    assert manifest["classes"] == ["cat", "dog"]
    assert manifest["left_out_classes"] == {"rare": 2, "rarer": 1}
    assert manifest["num_skipped"] == 3
    assert {each["file"] for each in manifest["skipped"]} == {
        "rare/0.png",
        "rare/1.png",
        "rarer/0.png",
    }
    assert "Left out 2 classes with fewer than 3 different images" in caplog.text
    names = {
        e["id"].decode().split("/")[0] for split in read(tmp_path / "out").values() for e in split
    }
    assert names == {"cat", "dog"}
    with no_protobuf_warnings():
        builder = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.features["label"].names == ["cat", "dog"]
    assert "left_out_classes" not in prepare("digits", tmp_path / "digits", min_images=3)


RUN = "import sys; from gb_keras.stages.prepare import prepare; prepare(*sys.argv[1:])"


def test_killed_while_writing_and_run_again(tmp_path, caplog):
    name = make_folder(tmp_path / "in", per_class=500, size=(24, 24))
    expected = prepare(name, tmp_path / "whole")
    # Killed when this file or folder appears in the unfinished result: before the shards are
    # written, and when all but the manifest is there.
    moments = {"early": "build", "late": "dataset_info.json"}
    processes = {
        out: subprocess.Popen([sys.executable, "-c", RUN, name, str(tmp_path / out)])
        for out in moments
    }
    while running := {out: p for out, p in processes.items() if p.poll() is None}:
        for out, process in running.items():
            if any(tmp_path.glob(f".{out}.*/{moments[out]}")):
                process.send_signal(signal.SIGKILL)
                process.wait()
        time.sleep(0.0005)

    assert not (tmp_path / "early").exists()
    assert processes["early"].returncode == -signal.SIGKILL
    for out in moments:
        if (tmp_path / out).exists():
            assert read_manifest(tmp_path / out) == expected
        caplog.clear()
        if out == "early" and leftovers.fcntl is not None:
            with read_no_image(tmp_path / "in"):
                assert prepare(name, tmp_path / out) == expected
            assert "16 of 16 shares" in caplog.text
        assert prepare(name, tmp_path / out) == expected
        # Of files with other times nothing is taken.
        assert out == "early" or "Going on" not in caplog.text
        counts = {split: len(examples) for split, examples in read(tmp_path / out).items()}
        assert counts == {s: expected["splits"][s]["num_examples"] for s in SPLITS}
    if leftovers.fcntl is not None:
        assert visible(tmp_path) == ["early", "in", "late", "whole"]


@contextlib.contextmanager
def read_no_image(folder):
    """Images that are none for a while, though their sizes and times are the same."""
    before = {path: (path.read_bytes(), path.stat()) for path in folder.glob("*/*")}
    for path, (content, state) in before.items():
        path.write_bytes(b"x" * len(content))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    yield
    for path, (content, _) in before.items():
        path.write_bytes(content)
        os.utime(path, ns=(0, before[path][1].st_mtime_ns + 1_000_000_000))


def test_a_run_that_is_overtaken_by_the_same_run_returns_its_result(tmp_path, monkeypatch):
    module = sys.modules[prepare.__module__]
    write_splits = module.write_splits

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(module, "write_splits", write_splits)
        prepare("digits", tmp_path / "out")
        write_splits(*args, **kwargs)

    monkeypatch.setattr(module, "write_splits", overtaken)
    manifest = prepare("digits", tmp_path / "out")
    assert manifest == read_manifest(tmp_path / "out")
    assert visible(tmp_path) == ["out"]


def test_leftovers_of_a_killed_run_are_removed_and_foreign_folders_stay(tmp_path):
    if leftovers.fcntl is None:
        pytest.skip("this system has no flock: leftovers are left")
    dead, foreign = tmp_path / ".out.dead", tmp_path / ".out.foreign"
    for folder in (dead, foreign):
        folder.mkdir()
        (folder / "data").touch()
    (dead / ".gb_keras.lock").touch()
    prepare("digits", tmp_path / "out")
    assert visible(tmp_path) == [".out.foreign", "out"]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_the_manifest_is_plain_json_with_versions(tmp_path):
    manifest = prepare("digits", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert manifest["format"] == 1
    assert manifest["data"] == "digits"
    assert {"gb-keras", "tensorflow", "tensorflow-datasets"} <= set(manifest["versions"])


def test_little_is_printed(tmp_path, capfd):
    prepare("digits", tmp_path / "out")
    assert capfd.readouterr().out == ""
    assert os.listdir(tmp_path) == ["out"]


def test_open_images_boxes(tmp_path):
    rows = put_tree(tmp_path / "in", images_per_class=20)
    put_boxes(tmp_path / "in", [*rows, box("missing", "Cat"), box("a", "/m/0unknown"), rows[0]])
    (tmp_path / f"in/train/{rows[0][0]}.jpg").write_text("I am no image")
    data = f"open-images:boxes:{tmp_path}/in?min_size=8"
    manifest = prepare(data, tmp_path / "out", on_error="skip")
    assert manifest["classes"] == ["Football", "Cat", "Dog"]
    assert manifest["left_out"] == {
        "train": {"image not there": 2, "repeated row": 1},
    }
    # Both boxes of the broken photograph.
    assert [skipped["file"].split(":")[0] for skipped in manifest["skipped"]] == [
        f"train/{rows[0][0]}.jpg"
    ] * 2
    photographs = {
        split: {example["id"].decode().split(":")[0] for example in examples}
        for split, examples in read(tmp_path / "out").items()
    }
    assert sum(map(len, photographs.values())) == len(set().union(*photographs.values())) == 59
    # Every class has its share of each split, up to the crops of two photographs.
    counts = {name: np.array(each["class_counts"]) for name, each in manifest["splits"].items()}
    total = sum(counts.values())
    assert total.tolist() == [40, 39, 39]
    for split, share in (("validation", 0.1), ("test", 0.2), ("train", 0.7)):
        assert np.abs(counts[split] - share * total).max() <= 4
