import collections
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest

from gb_keras.data import plan
from gb_keras.data.label_set import LabelSet, presence_counts
from gb_keras.data.records import Record, read_records, write_records

OPTIONS = {
    "long_tail_factor": 1.0,
    "label_noise": 0.0,
    "validation_fraction": 0.1,
    "test_fraction": 0.2,
    "seed": 0,
}


@dataclasses.dataclass
class Planned:
    """A plan with the labels by the names of the examples."""

    plan: plan.Plan
    labels: dict

    def __getattr__(self, name):
        return getattr(self.plan, name)


def plan_splits(source, classes, **options):
    """Through a file, as a scan leaves it."""
    places = collections.Counter()
    placed = []
    for record in source:
        placed.append(dataclasses.replace(record, place=places[record.split]))
        places[record.split] += 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        write_records(file, placed)
        multi_label = any(isinstance(record.label, LabelSet) for record in source)
        columns, _, _ = read_records([file], multi_label)
    planned = plan.plan_splits(columns, classes, **options)
    labels = {
        split: dict(
            zip(columns.ids(planned.positions[split]), iter(planned.labels[split]), strict=True)
        )
        for split in planned.positions
    }
    return Planned(planned, labels)


def records(split="train", per_class=20, classes=2, prefix=""):
    return [
        Record(f"{split}/{c}/{i}", split, c, f"{prefix}{split}{c}{i}".encode())
        for c in range(classes)
        for i in range(per_class)
    ]


def test_views_touch_the_training_split_alone():
    source = records(per_class=100, classes=3)
    plain = plan_splits(source, "abc", **OPTIONS).labels
    viewed = plan_splits(source, "abc", **OPTIONS | {"long_tail_factor": 10, "label_noise": 0.25})
    assert viewed.labels["validation"] == plain["validation"]
    assert viewed.labels["test"] == plain["test"]
    # 70 per class; 70 * 10 ** (-1/2) = 22.1, 70 / 10 = 7; 99 in all, a quarter rounded is 25.
    train = viewed.labels["train"]
    true = [int(name.split("/")[1]) for name in train]
    assert np.bincount(true).tolist() == [70, 22, 7]
    assert viewed.num_labels_changed == 25
    assert sum(a != b for a, b in zip(true, train.values(), strict=True)) == 25
    assert set(train) <= set(plain["train"])


def test_splits_of_the_source_are_kept():
    source = records("train") + records("validation", 5) + records("test", 7)
    labels = plan_splits(source, "ab", **OPTIONS).labels
    assert {name: len(split) for name, split in labels.items()} == {
        "train": 40,
        "validation": 10,
        "test": 14,
    }
    assert all(name.startswith("test/") for name in labels["test"])


def test_only_the_missing_split_is_drawn():
    labels = plan_splits(records("train") + records("test", 7), "ab", **OPTIONS).labels
    assert [len(labels[name]) for name in ("train", "validation", "test")] == [36, 4, 14]


def test_copies_in_other_splits_leave_train_first_and_are_listed():
    leak = [
        Record("train/leak", "train", 0, b"same"),
        Record("validation/leak", "validation", 0, b"same"),
        Record("test/leak", "test", 1, b"same"),
        Record("train/twin", "train", 0, b"twin"),
        Record("validation/twin", "validation", 0, b"twin"),
    ]
    source = records("train") + records("validation", 5) + records("test", 5) + leak
    planned = plan_splits(source, "ab", **OPTIONS)
    assert planned.dropped == [
        {"file": "train/leak", "reason": "the same image as test/leak of the split test"},
        {
            "file": "train/twin",
            "reason": "the same image as validation/twin of the split validation",
        },
        {"file": "validation/leak", "reason": "the same image as test/leak of the split test"},
    ]
    assert "test/leak" in planned.labels["test"]
    assert "train/leak" not in planned.labels["train"]


def test_twins_of_different_classes_stay_together():
    twins = [Record(f"twin{i}", "train", i % 2, b"twin") for i in range(6)]
    for seed in range(10):
        labels = plan_splits(records() + twins, "ab", **OPTIONS | {"seed": seed}).labels
        holders = [name for name, split in labels.items() if any(t.id in split for t in twins)]
        assert len(holders) == 1


def test_a_class_with_too_few_images_is_named():
    few = [Record("x", "train", 1, b"x"), Record("y", "train", 1, b"y")]
    source = [record for record in records() if record.label == 0] + few
    with pytest.raises(ValueError, match=r"at least 3 different images .* \{'b': 2\}"):
        plan_splits(source, "ab", **OPTIONS)
    with pytest.raises(ValueError, match=r"\{'c': 0\}"):
        plan_splits(records(), "abc", **OPTIONS)


def crops(photographs, classes_of_a_photograph=(0, 1)):
    """A crop of each of these classes from each photograph."""
    return [
        Record(f"{photo}:{c}", "train", c, f"{photo}:{c}".encode(), group=f"train/{photo}")
        for photo in range(photographs)
        for c in classes_of_a_photograph
    ]


def groups_by_split(labels):
    return {name: {key.split(":")[0] for key in split} for name, split in labels.items()}


def test_crops_of_one_photograph_are_in_one_split():
    labels = plan_splits(crops(100), "ab", **OPTIONS).labels
    of_split = groups_by_split(labels)
    assert [len(of_split[name]) for name in ("train", "validation", "test")] == [70, 10, 20]
    assert len(set().union(*of_split.values())) == 100
    for split in labels.values():
        assert np.ptp(np.bincount(list(split.values()))) == 0


def test_photographs_with_the_same_crop_are_in_one_split():
    # One picture ties the photographs 0 to 9 together, as copies of an image under ten ids do.
    source = crops(100) + [
        Record(f"{photo}:same", "train", 0, b"same", group=f"train/{photo}") for photo in range(10)
    ]
    for seed in range(5):
        labels = plan_splits(source, "ab", **OPTIONS | {"seed": seed}).labels
        tied = {str(photo) for photo in range(10)}
        assert sum(bool(groups & tied) for groups in groups_by_split(labels).values()) == 1


def test_a_class_needs_photographs_of_its_own_for_every_split():
    # Four crops of class b, but from two photographs alone.
    source = crops(20, [0]) + [
        Record(f"{photo}:b{i}", "train", 1, f"{photo}{i}".encode(), group=f"train/{photo}")
        for photo in range(2)
        for i in range(2)
    ]
    with pytest.raises(ValueError, match=r"\{'b': 2\}"):
        plan_splits(source, "ab", **OPTIONS)


def sets(split="train", number=60):
    """Class 0 on every other image, 1 on every third, 2 on every tenth; so some show several."""
    return [
        Record(
            f"{split}/{i}",
            split,
            LabelSet(tuple(c for c, every in enumerate((2, 3, 10)) if i % every == 0)),
            f"{split}{i}".encode(),
        )
        for i in range(number)
    ]


def test_label_sets_are_split_with_the_shares_of_all_classes():
    source = sets(number=300)
    labels = plan_splits(source, "abc", **OPTIONS).labels
    assert sum(map(len, labels.values())) == 300
    assert {name: label for part in labels.values() for name, label in part.items()} == {
        record.id: record.label for record in source
    }
    for split, share in (("test", 0.2), ("validation", 0.1)):
        counts = presence_counts(labels[split].values(), 3)
        # 150, 100 and 30 images show the classes.
        assert np.abs(counts - share * np.array([150, 100, 30])).max() <= 2
        assert abs(len(labels[split]) - share * 300) <= 3
        # Those that show nothing are 300 * 1/2 * 2/3 = 100 of the 300.
        assert abs(sum(not label.present for label in labels[split].values()) - share * 100) <= 3


def test_views_of_label_sets_touch_the_training_split_alone():
    source = sets(number=300)
    plain = plan_splits(source, "abc", **OPTIONS)
    viewed = plan_splits(source, "abc", **OPTIONS | {"long_tail_factor": 20, "label_noise": 0.2})
    assert viewed.labels["validation"] == plain.labels["validation"]
    assert viewed.labels["test"] == plain.labels["test"]
    train = viewed.labels["train"]
    true = [plain.labels["train"][name] for name in train]
    kept = presence_counts(true, 3)
    before = presence_counts(plain.labels["train"].values(), 3)
    assert kept[2] == max(1, int(before.max() / 20))
    assert kept[1] <= int(before.max() / 20**0.5)
    # An image that shows several of the three classes may have too few to move them to.
    assert 0.8 * 0.2 * kept.sum() < viewed.num_labels_changed <= round(0.2 * kept.sum())
    assert plain.num_labels_changed == 0
    changed = sum(
        len(set(new.present) - set(old.present))
        for new, old in zip(train.values(), true, strict=True)
    )
    assert changed == viewed.num_labels_changed


def test_the_same_image_under_two_label_sets_stays_in_one_split():
    source = sets(number=60)
    twins = [Record(f"{r.id}'", "train", LabelSet((1,)), r.fingerprint) for r in source]
    labels = plan_splits(source + twins, "abc", **OPTIONS).labels
    for part in labels.values():
        assert {name.rstrip("'") for name in part} == {n for n in part if not n.endswith("'")}


def test_a_class_on_too_few_images_is_named():
    source = [*sets(number=60), Record("one", "train", LabelSet((3,)), b"one")]
    with pytest.raises(ValueError, match=r"at least 3 different images.*\{'d': 1\}"):
        plan_splits(source, "abcd", **OPTIONS)


def test_the_error_of_too_few_images_names_what_helps():
    few = [Record("x", "train", 1, b"x"), Record("y", "train", 1, b"y")]
    source = [record for record in records(classes=3) if record.label != 1] + few
    with pytest.raises(ValueError, match=r"by min_images=3 \(--min-images 3\)"):
        plan_splits(source, "abc", **OPTIONS)
    planned = plan_splits(source, "abc", **OPTIONS, min_images=3)
    assert planned.classes == ("a", "c")
    assert planned.small_classes == {"b": 2}
    reason = "its class has fewer than 3 different images"
    assert planned.dropped == [{"file": name, "reason": reason} for name in "xy"]
    # Nothing else is other than without the class: "c" is now the second.
    without = [
        dataclasses.replace(record, label=record.label // 2)
        for record in source
        if record not in few
    ]
    assert planned.labels == plan_splits(without, "ac", **OPTIONS).labels


def test_copies_do_not_help_a_small_class_and_it_leaves_all_splits():
    copies = [Record(f"copy{i}", "train", 1, b"copy") for i in range(9)]
    source = [
        *[record for record in records(classes=3) if record.label != 1],
        *copies,
        *records("validation", 3, 3),
        *records("test", 3, 3),
    ]
    planned = plan_splits(source, "abc", **OPTIONS, min_images=2)
    assert planned.small_classes == {"b": 1}
    assert len(planned.dropped) == 9 + 3 + 3
    for split, count in (("train", 20), ("validation", 3), ("test", 3)):
        assert collections.Counter(planned.labels[split].values()) == {0: count, 1: count}


def test_a_small_class_leaves_label_sets_and_unknown_images_go_with_it():
    unknown = Record("unknown", "train", LabelSet((3,), ()), b"unknown")
    partly = Record("partly", "train", LabelSet((3,), (0,)), b"partly")
    source = [*sets(number=60), unknown, partly]
    planned = plan_splits(source, "abcd", **OPTIONS, min_images=3)
    assert planned.classes == ("a", "b", "c")
    assert planned.small_classes == {"d": 2}
    reason = "nothing is known of it but of classes with fewer than 3 different images"
    assert planned.dropped == [{"file": "unknown", "reason": reason}]
    labels = {name: label for part in planned.labels.values() for name, label in part.items()}
    assert labels == {record.id: record.label for record in sets(number=60)} | {
        "partly": LabelSet((), (0,))
    }


def test_least_images_counts_photographs_where_crops_have_some():
    # Four crops of class b from two photographs: too few for three splits, by either measure.
    source = crops(20, [0, 2]) + [
        Record(f"{photo}:b{i}", "train", 1, f"{photo}{i}".encode(), group=f"train/{photo}")
        for photo in range(2)
        for i in range(2)
    ]
    assert plan_splits(source, "abc", **OPTIONS, min_images=3).small_classes == {"b": 2}


def test_two_classes_must_be_left():
    with pytest.raises(ValueError, match=r"at least 2 classes with 21 or more .* Received: 0 of 2"):
        plan_splits(records(), "ab", **OPTIONS, min_images=21)
