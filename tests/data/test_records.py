import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from gb_keras.data.array_source import ArraySource, digits
from gb_keras.data.records import Record, Stored, read_records, write_records
from gb_keras.data.scan import found, scan_part
from gb_keras.data.tfds_directory import order_of
from tests.data.tfds_folder import write_directory


def records(number, split="train"):
    stored = Stored(4, 4, True, 0, 0, 10)
    return [
        Record(f"{split}/{i}", split, i % 3, str(i % 50).encode() * 9, place=i, stored=stored)
        for i in range(number)
    ]


def test_the_order_of_the_source_whatever_is_in_which_file(tmp_path):
    rows = records(10_000) + records(70, "test")
    rows[7] = dataclasses.replace(rows[7], fingerprint=b"", stored=None, reason="no image")
    drawn = np.random.default_rng(0).integers(0, 3, len(rows))
    for part in range(3):
        write_records(
            tmp_path / str(part), [row for row, of in zip(rows, drawn, strict=True) if of == part]
        )
    write_records(tmp_path / "whole", rows)
    several = read_records([tmp_path / str(part) for part in range(3)], multi_label=False)
    whole = read_records([tmp_path / "whole"], multi_label=False)
    assert several[1:] == whole[1:] == ([{"file": "train/7", "reason": "no image"}], [(4, 4)])
    for name in ("splits", "labels", "images", "groups"):
        values = getattr(several[0], name)
        np.testing.assert_array_equal(values, getattr(whole[0], name))
        # Millions of examples, so numbers and not objects.
        assert values.dtype.itemsize <= 4
    readable = [row for row in rows if row.reason is None]
    assert list(several[0].ids(np.arange(len(readable)))) == [row.id for row in readable]
    assert several[0].labels.tolist() == [row.label for row in readable]
    # The same 50 pictures come again and again; the one that cannot be read comes last.
    assert several[0].images[:49].tolist() == list(range(49))
    assert several[0].images[56] == several[0].images.max() == 49


def test_a_source_that_has_changed_between_two_shares_is_noticed(tmp_path):
    images = np.zeros((500, 2, 2), np.uint8)
    for part, number in enumerate((500, 400)):
        source = ArraySource("growing", images[:number], np.arange(number) % 2)
        scan_part(source, tmp_path, None, part, parts=2)
    with pytest.raises(RuntimeError, match="the source to stay as it is"):
        found(source, tmp_path, parts=2)


def test_shares_hold_everything_once(tmp_path):
    for folder, parts in (("one", 1), ("seven", 7)):
        (tmp_path / folder).mkdir()
        for part in range(parts):
            scan_part(digits(), tmp_path / folder, None, part, parts)
    one = found(digits(), tmp_path / "one", 1).records
    seven = found(digits(), tmp_path / "seven", 7).records
    everything = np.arange(1797)
    assert list(one.ids(everything)) == list(seven.ids(everything))
    np.testing.assert_array_equal(one.labels, seven.labels)
    np.testing.assert_array_equal(one.images, seven.images)


def test_the_order_of_a_split_is_that_of_tfds(tmp_path):
    keys = [f"class/{number}.png" for number in range(300)]
    features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(np.int64)})
    examples = [(key, {"number": number}) for number, key in enumerate(keys)]
    write_directory(tmp_path, {"train": examples}, features, "Numbers.")
    (shard,) = tmp_path.glob("*.tfrecord*")
    written = [
        tf.train.Example.FromString(record).features.feature["number"].int64_list.value[0]
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()
    ]
    assert written == order_of("train", keys).tolist()
    with pytest.raises(ValueError, match="unique keys"):
        order_of("train", [*keys, keys[5]])
