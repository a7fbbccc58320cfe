"""`prepare` through Apache Beam: the same data sets, and nothing left of a killed run."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.utils import shard_utils

from gb_keras.data import leftovers
from gb_keras.data.manifest import read_manifest
from gb_keras.data.tfds_directory import no_protobuf_warnings
from gb_keras.stages.prepare import prepare

# Beam in this process: what it does to the data is the same, and it needs no start.
HERE = ("runner=DirectRunner", "direct_running_mode=in_memory")


@pytest.fixture(autouse=True)
def fresh_keras():
    """Preparing uses no Keras: no time for a fresh session is needed."""


def make_images(folder, number, size=(20, 24), seed=0):
    """Random JPEG and PNG pictures, in colour and grey, some of them twice."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for index in range(number):
        grey = index % 5 == 0
        pixels = generator.integers(0, 256, size if grey else (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.{'png' if index % 2 else 'jpg'}")
    for index in range(0, number, 10):
        shutil.copy(folder / f"{index}.jpg", folder / f"copy{index}.jpg")


def test_digits_with_long_tail_and_noise(tmp_path):
    options = {"long_tail_factor": 20, "label_noise": 0.2, "seed": 2}
    expected = prepare("digits", tmp_path / "one", **options)
    # More workers than one take shares of their own.
    beam = ("direct_running_mode=multi_threading", "direct_num_workers=3")
    assert prepare("digits", tmp_path / "beam", **options, beam_options=beam) == expected
    assert sorted(os.listdir(tmp_path)) == ["beam", "one"]


def test_a_folder_with_broken_files_and_a_small_class(tmp_path):
    for index, name in enumerate(("cat", "dog", "rare")):
        make_images(tmp_path / "in" / name, 300 if index < 2 else 2, seed=index)
    (tmp_path / "in" / "dog" / "text.jpg").write_text("no image")
    (tmp_path / "in" / "cat" / "7.png").write_bytes(b"")
    name = f"folder:{tmp_path / 'in'}"
    with pytest.raises(ValueError, match="Received 2 that cannot be used"):
        prepare(name, tmp_path / "beam", beam_options=HERE)
    assert os.listdir(tmp_path) == ["in"]
    options = {"on_error": "skip", "min_images": 3}
    expected = prepare(name, tmp_path / "one", **options)
    assert prepare(name, tmp_path / "beam", **options, beam_options=HERE) == expected
    assert [each["file"] for each in expected["skipped"][:2]] == ["cat/7.png", "dog/text.jpg"]
    assert expected["left_out_classes"] == {"rare": 2}
    assert expected["image_shape"] == [20, 24, 3]


def test_a_table_of_several_labels_with_groups_and_unknown_ones(tmp_path):
    make_images(tmp_path / "in", 200)
    generator = np.random.default_rng(0)
    rows = ["file_name,nest,wren,robin,owl,never"]
    for index in range(200):
        cells = generator.choice(["1", "0", ""], 3, p=[0.3, 0.5, 0.2])
        suffix = "png" if index % 2 else "jpg"
        rows.append(f"in/{index}.{suffix},{index // 3},{','.join(cells)},0")
    (tmp_path / "birds.csv").write_text("\n".join(rows))
    name = f"csv:{tmp_path / 'birds.csv'}?labels=wren,robin,owl,never&group=nest"
    options = {"label_noise": 0.1, "long_tail_factor": 3, "image_size": 16}
    expected = prepare(name, tmp_path / "one", **options, on_error="skip")
    beam = prepare(name, tmp_path / "beam", **options, on_error="skip", beam_options=HERE)
    assert beam == expected
    # What only whoever reads the source can know.
    assert expected["left_out"] == {"train": {"labels that no training row shows": 1}}
    assert expected["multi_label"]


def test_several_shards(tmp_path, monkeypatch):
    prepare("digits", tmp_path / "whole")
    monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 1 << 14)
    expected = prepare("digits", tmp_path / "one")
    assert prepare("digits", tmp_path / "beam", beam_options=HERE) == expected
    for split in ("train", "validation", "test"):
        (whole,) = shards(tmp_path / "whole", split)
        parts = shards(tmp_path / "one", split)
        assert len(parts) == {"train": 8, "validation": 1, "test": 2}[split]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert [record for part in parts for record in part] == whole
    with no_protobuf_warnings():
        builder = tfds.builder_from_directory(tmp_path / "one")
    assert builder.info.splits["train"].num_shards == 8
    assert len(builder.as_dataset(split="train")) == expected["splits"]["train"]["num_examples"]


def shards(folder, split):
    """The records of each shard."""
    return [
        list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        for path in sorted(folder.glob(f"*-{split}.tfrecord*"))
    ]


COMMAND = (sys.executable, "-m", "gb_keras", "prepare", "--beam-option", "direct_num_workers=2")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_the_command_killed_while_workers_read_and_run_again(tmp_path):
    make_images(tmp_path / "in" / "cat", 70, size=(300, 300))
    make_images(tmp_path / "in" / "dog", 70, size=(300, 300), seed=1)
    name = f"folder:{tmp_path / 'in'}"
    command = [*COMMAND, "--data", name, "--output", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not any(tmp_path.glob(".out.*/work/part-*.seen")):
            assert process.poll() is None, "it has ended before it could be killed"
            time.sleep(0.01)
        workers = children(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(workers) == 2
    assert not (tmp_path / "out").exists()

    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "INFO" not in run.stderr
    if leftovers.fcntl is not None:
        assert re.search(r"Going on .* [1-8] of 8 shares", run.stderr)
    assert not [worker for worker in workers if alive(worker)]
    expected = prepare(name, tmp_path / "one")
    assert read_manifest(tmp_path / "out") == expected
    if leftovers.fcntl is not None:
        assert sorted(os.listdir(tmp_path)) == ["in", "one", "out"]


def children(process):
    """Ids of the processes that a process has started."""
    return [
        int(each)
        for path in Path(f"/proc/{process}/task").iterdir()
        for each in (path / "children").read_text().split()
    ]


def alive(process):
    """Whether it runs; one that has ended stays as a zombie until it is waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
