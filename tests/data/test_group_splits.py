import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gb_keras.data.group_splits import grouped_split


def counts_of(labels, parts):
    return {name: np.bincount(labels[part], minlength=3).tolist() for name, part in parts.items()}


def test_groups_of_one_are_split_exactly():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    parts = grouped_split(labels, np.arange(160), {"a": 0.1, "b": 0.2}, seed=0)
    assert counts_of(labels, parts) == {"a": [10, 5, 1], "b": [20, 10, 2], "rest": [70, 35, 7]}


def test_shares_of_photographs_with_several_classes():
    # 400 photographs with 1 to 6 crops of 3 classes, of which the last is rare.
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), generator.integers(1, 7, 400))
    labels = generator.choice(3, len(groups), p=[0.6, 0.35, 0.05])
    parts = grouped_split(labels, groups, {"a": 0.1, "b": 0.2}, seed=0)
    total = np.bincount(labels)
    for name, share in (("a", 0.1), ("b", 0.2), ("rest", 0.7)):
        # No class is further from its share than one photograph of 6 crops.
        assert np.abs(np.bincount(labels[parts[name]], minlength=3) - share * total).max() <= 6


@pytest.mark.parametrize("crops", [1, 3])
def test_a_rare_class_reaches_every_part(crops):
    # Class 1 has three photographs, with some crops of it and some of class 0 in each.
    groups = np.arange(1000) // 10
    labels = np.where((np.arange(1000) % 10 < crops) & (groups < 3), 1, 0)
    parts = grouped_split(labels, groups, {"a": 0.1, "b": 0.2}, seed=0)
    assert [int(np.sum(labels[part])) for part in parts.values()] == [crops] * 3


@given(
    samples=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=150),
    seed=st.integers(0, 2**32),
)
def test_parts_are_disjoint_complete_and_tear_no_group(samples, seed):
    labels, groups = np.array(samples).T
    parts = grouped_split(labels, groups, {"a": 0.1, "b": 0.3}, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    group_sets = [set(groups[part].tolist()) for part in parts.values()]
    assert sum(map(len, group_sets)) == len(set().union(*group_sets))
    again = grouped_split(labels, groups, {"a": 0.1, "b": 0.3}, seed)
    assert all(parts[name].tolist() == again[name].tolist() for name in parts)


def test_seeds_differ():
    labels, groups = np.zeros(100, int), np.arange(100)
    first, second = (
        grouped_split(labels, groups, {"a": 0.5}, seed)["a"].tolist() for seed in (0, 1)
    )
    assert first != second


def test_nothing_to_split():
    nothing = np.zeros(0, int)
    assert {len(part) for part in grouped_split(nothing, nothing, {"a": 0.5}, 0).values()} == {0}
