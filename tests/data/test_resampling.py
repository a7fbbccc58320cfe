import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gb_keras.data.resampling import class_quotas, resampled


@given(
    counts=st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=100, deadline=None)
def test_quotas_are_the_shares_of_as_many_examples(counts, exponent):
    counts = np.array(counts)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** exponent, 0.0)
    shares = weights / weights.sum()
    quotas = np.array(class_quotas(shares, counts))
    assert quotas.sum() == counts.sum()
    assert (np.abs(quotas - shares * counts.sum()) < 1).all()
    assert (quotas[counts == 0] == 0).all()
    if exponent == 1:
        np.testing.assert_array_equal(quotas, counts)


@pytest.mark.parametrize("shares", [[0.5, 0.6, 0.0], [1.5, -0.5, 0.0], [1.0], [0.5, 0.4, 0.1]])
def test_shares_are_checked(shares):
    with pytest.raises(ValueError, match=r"a share for each of the 3 classes.*\[5, 5, 0\]"):
        class_quotas(shares, [5, 5, 0])


def test_every_epoch_has_its_quotas_and_no_example_is_passed_over():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 3], [12, 5, 2]))
    counts, quotas = [12, 5, 0, 2], [7, 5, 0, 7]
    records = tf.data.Dataset.from_tensor_slices({"label": labels, "position": np.arange(19)})
    times = np.zeros(19)
    for epoch in range(12):
        drawn = list(resampled(records, quotas, counts, epoch).as_numpy_iterator())
        assert np.bincount([r["label"] for r in drawn], minlength=4).tolist() == quotas
        times += np.bincount([record["position"] for record in drawn], minlength=19)
        # What each example is due, up to one time, after any number of epochs.
        due = (epoch + 1) * (np.array(quotas) / np.maximum(counts, 1))[labels]
        assert (np.abs(times - due) < 1).all()
    # 12 epochs of 7 from 12: each of class 0 has come exactly 7 times.
    assert (times[labels == 0] == 7).all()


def test_the_shares_of_the_data_leave_it_as_it_is():
    records = tf.data.Dataset.from_tensor_slices({"label": [1, 0, 1, 1]})
    for epoch in range(3):
        same = resampled(records, [1, 3], [1, 3], epoch)
        assert [int(record["label"]) for record in same] == [1, 0, 1, 1]
