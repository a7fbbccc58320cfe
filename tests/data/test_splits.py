import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gb_keras.data.splits import stratified_split


def test_every_class_gives_its_share():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    parts = stratified_split(labels, np.arange(160), {"a": 0.1, "b": 0.2}, seed=0)
    assert np.bincount(labels[parts["a"]]).tolist() == [10, 5, 1]
    assert np.bincount(labels[parts["b"]]).tolist() == [20, 10, 2]
    assert np.bincount(labels[parts["rest"]]).tolist() == [70, 35, 7]


def test_three_samples_are_enough_for_three_parts_whatever_the_fractions():
    labels = np.array([0, 0, 0, 1, 1, 1])
    parts = stratified_split(labels, np.arange(6), {"a": 0.9, "b": 0.05}, seed=0)
    assert [np.bincount(labels[part]).tolist() for part in parts.values()] == [[1, 1]] * 3


def test_too_few_different_samples():
    labels, groups = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 3, 3, 3, 4])
    with pytest.raises(ValueError, match=r"at least 3 different .* \{1: 2\}"):
        stratified_split(labels, groups, {"a": 0.2, "b": 0.2}, seed=0)


@given(
    samples=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=200),
    seed=st.integers(0, 2**32),
)
def test_parts_are_disjoint_complete_and_tear_no_group(samples, seed):
    # Each class has the three groups of its own that three parts need.
    needed = [(label, 61 + 3 * label + number) for label in range(4) for number in range(3)]
    labels, groups = np.array(samples + needed).T
    parts = stratified_split(labels, groups, {"a": 0.1, "b": 0.3}, seed)
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(len(labels)))
    group_sets = [set(groups[part].tolist()) for part in parts.values()]
    assert sum(map(len, group_sets)) == len(set().union(*group_sets))
    again = stratified_split(labels, groups, {"a": 0.1, "b": 0.3}, seed)
    assert all(parts[name].tolist() == again[name].tolist() for name in parts)


def test_seeds_differ():
    labels = np.zeros(100, int)
    first, second = (
        stratified_split(labels, np.arange(100), {"a": 0.5}, seed)["a"].tolist() for seed in (0, 1)
    )
    assert first != second
