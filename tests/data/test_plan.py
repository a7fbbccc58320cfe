import numpy as np
import pytest

from gb_keras.data.plan import plan_splits
from gb_keras.data.scan import Record

OPTIONS = {
    "long_tail_factor": 1.0,
    "label_noise": 0.0,
    "validation_fraction": 0.1,
    "test_fraction": 0.2,
    "seed": 0,
}


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
    plan = plan_splits(source, "ab", **OPTIONS)
    assert plan.dropped == [
        {"file": "train/leak", "reason": "the same image as test/leak of the split test"},
        {"file": "validation/leak", "reason": "the same image as test/leak of the split test"},
        {
            "file": "train/twin",
            "reason": "the same image as validation/twin of the split validation",
        },
    ]
    assert "test/leak" in plan.labels["test"]
    assert "train/leak" not in plan.labels["train"]


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
