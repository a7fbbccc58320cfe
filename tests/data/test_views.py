import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gb_keras.data.views import long_tail_counts, long_tail_indices, noisy_labels


def test_long_tail_counts_by_hand():
    # factor ** (-c / 2) for c = 0, 1, 2 is 1, 1/10, 1/100.
    assert long_tail_counts([500, 500, 500], 100).tolist() == [500, 50, 5]
    # The middle class has fewer than it may keep; the last keeps at least one sample.
    assert long_tail_counts([500, 20, 500], 1e9).tolist() == [500, 1, 1]
    assert long_tail_counts([500, 20, 500], 4).tolist() == [500, 20, 125]


@pytest.mark.parametrize("factor", [0.5, 0, -1, float("nan"), float("inf")])
def test_long_tail_refuses_factors_below_one(factor):
    with pytest.raises(ValueError, match="factor of at least 1"):
        long_tail_counts([10, 10], factor)


@given(
    counts=st.lists(st.integers(1, 10_000), min_size=2, max_size=50),
    factor=st.floats(1, 1e6),
)
def test_long_tail_counts_follow_the_formula(counts, factor):
    kept = long_tail_counts(counts, factor)
    exact = [max(counts) * factor ** (-index / (len(counts) - 1)) for index in range(len(counts))]
    assert ((kept >= 1) & (kept <= counts)).all()
    for have, wanted, got in zip(counts, exact, kept, strict=True):
        assert got == have or got == 1 or wanted - 1 < got <= wanted + 1e-5


@given(counts=st.lists(st.integers(0, 100), min_size=1, max_size=20))
def test_factor_one_changes_nothing(counts):
    assert long_tail_counts(counts, 1).tolist() == counts


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=300),
    factor=st.floats(1, 1000),
    seed=st.integers(0, 2**32),
)
def test_long_tail_indices_keep_the_counts(labels, factor, seed):
    labels = np.array(labels)
    kept = long_tail_indices(labels, 5, factor, seed)
    expected = long_tail_counts(np.bincount(labels, minlength=5), factor)
    assert np.bincount(labels[kept], minlength=5).tolist() == expected.tolist()
    assert (np.diff(kept) > 0).all()
    assert kept.tolist() == long_tail_indices(labels, 5, factor, seed).tolist()


@given(
    labels=st.lists(st.integers(0, 6), max_size=300),
    fraction=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_noise_changes_exactly_the_fraction_and_never_to_the_same(labels, fraction, seed):
    labels = np.array(labels, dtype=np.int64)
    noisy = noisy_labels(labels, 7, fraction, seed)
    # `changed` counts labels that differ, so a label changed to itself would be missed here.
    assert (noisy != labels).sum() == round(fraction * len(labels))
    assert ((noisy >= 0) & (noisy < 7)).all()
    assert noisy.tolist() == noisy_labels(labels, 7, fraction, seed).tolist()


def test_noise_is_uniform_over_the_other_classes():
    noisy = noisy_labels(np.full(40_000, 2), 5, 0.5, seed=3)
    counts = np.bincount(noisy, minlength=5)
    assert counts[2] == 20_000
    # 5,000 expected in each other class; 5 standard deviations are 5 * sqrt(20000 * 3/16) = 306.
    assert (np.abs(np.delete(counts, 2) - 5_000) < 306).all()


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_noise_refuses_fractions_out_of_range(fraction):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        noisy_labels(np.zeros(3, int), 2, fraction, seed=0)
