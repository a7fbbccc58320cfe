import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gb_keras.data.label_set import LabelSet, absence_counts, presence_counts
from gb_keras.data.multi_label_views import long_tail_of_sets, noisy_label_sets
from gb_keras.data.views import long_tail_counts

NUM_CLASSES = 5
indices = st.sets(st.integers(0, NUM_CLASSES - 1))
complete = st.lists(indices.map(lambda present: LabelSet(tuple(sorted(present)))), max_size=60)
partial = st.lists(
    st.lists(st.sampled_from("pau"), min_size=NUM_CLASSES, max_size=NUM_CLASSES).map(
        lambda states: LabelSet(
            tuple(i for i, state in enumerate(states) if state == "p"),
            tuple(i for i, state in enumerate(states) if state == "a"),
        )
    ),
    max_size=60,
)


@given(labels=complete | partial)
def test_counts_are_those_of_a_table(labels):
    present = np.zeros((len(labels), NUM_CLASSES), bool)
    known = np.zeros((len(labels), NUM_CLASSES), bool)
    for row, label in enumerate(labels):
        present[row, list(label.present)] = True
        known[row, list(label.present)] = True
        if label.absent is None:
            known[row] = True
        else:
            known[row, list(label.absent)] = True
    assert presence_counts(labels, NUM_CLASSES).tolist() == present.sum(0).tolist()
    assert absence_counts(labels, NUM_CLASSES).tolist() == (known & ~present).sum(0).tolist()


def test_long_tail_by_hand():
    # 12 images show class 0, 12 class 1, and 12 both: 24 of each. A factor of 4 leaves 24 and 6.
    labels = [LabelSet((0,))] * 12 + [LabelSet((1,))] * 12 + [LabelSet((0, 1))] * 12
    kept = [labels[i] for i in long_tail_of_sets(labels, 2, factor=4, seed=3)]
    counts = presence_counts(kept, 2)
    assert counts[1] == 6
    # Class 0 keeps its own 12 and those of the six that show it too.
    assert counts[0] == 12 + kept.count(LabelSet((0, 1)))


@given(labels=complete | partial, factor=st.floats(1, 100), seed=st.integers(0, 2**32))
def test_long_tail_keeps_to_its_counts(labels, factor, seed):
    kept = long_tail_of_sets(labels, NUM_CLASSES, factor, seed)
    assert (np.diff(kept) > 0).all()
    assert kept.tolist() == long_tail_of_sets(labels, NUM_CLASSES, factor, seed).tolist()
    before = presence_counts(labels, NUM_CLASSES)
    after = presence_counts([labels[i] for i in kept], NUM_CLASSES)
    assert ((after > 0) == (before > 0)).all()
    # At most one image more for each class that there would be nothing of without it.
    assert (after <= long_tail_counts(before, factor) + NUM_CLASSES - 1).all()
    assert {i for i, label in enumerate(labels) if not label.present} <= set(kept.tolist())
    if factor == 1:
        assert len(kept) == len(labels)


def test_with_one_label_an_image_the_long_tail_is_that_of_one_label():
    labels = [LabelSet((index,)) for index in range(5) for _ in range(50)]
    kept = [labels[i] for i in long_tail_of_sets(labels, 5, factor=20, seed=0)]
    assert presence_counts(kept, 5).tolist() == long_tail_counts([50] * 5, 20).tolist()


def test_a_class_that_only_full_ones_go_with_keeps_an_image():
    labels = [LabelSet((0,))] * 50 + [LabelSet((2,))] * 9 + [LabelSet((1, 2))]
    kept = [labels[i] for i in long_tail_of_sets(labels, 3, factor=50, seed=1)]
    assert kept.count(LabelSet((1, 2))) == 1


@given(
    labels=complete | partial,
    fraction=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_noise_moves_labels_to_absent_classes(labels, fraction, seed):
    noisy, moved = noisy_label_sets(labels, NUM_CLASSES, fraction, seed)
    assert (noisy, moved) == noisy_label_sets(labels, NUM_CLASSES, fraction, seed)
    num_present = sum(len(label.present) for label in labels)
    assert moved <= round(fraction * num_present)
    num_moved = 0
    for before, after in zip(labels, noisy, strict=True):
        gone = set(before.present) - set(after.present)
        new = set(after.present) - set(before.present)
        assert len(gone) == len(new)
        num_moved += len(new)
        if before.absent is None:
            assert after.absent is None
        else:
            # What is known stays known, and what is unknown unknown.
            assert new <= set(before.absent)
            assert set(after.absent) == (set(before.absent) | gone) - new
        for each in (after.present, after.absent or ()):
            assert list(each) == sorted(set(each))
    assert num_moved == moved


def test_noise_moves_exactly_the_fraction_where_classes_are_free():
    labels = [LabelSet((i % 9, 9)) for i in range(500)]
    noisy, moved = noisy_label_sets(labels, 40, 0.3, seed=0)
    assert moved == 300
    # 300 moves over 38 or 39 free classes each: about 7.7 a class; 2.5 is 1e-2 of a Poisson tail.
    counts = presence_counts(noisy, 40)[10:]
    assert counts.sum() == pytest.approx(300 * 30 / 38, rel=0.15)
    assert counts.max() < 20


def test_noise_refuses_what_is_no_share():
    with pytest.raises(ValueError, match=r"fraction in \[0, 1\)"):
        noisy_label_sets([], 2, 1.0, 0)
