"""The pure mathematics against hand-made numbers, NumPy, and its own invariants."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gb_keras import density, density_weights
from tests import reference
from tests.strategies import logits_and_labels

quick = hypothesis.settings(max_examples=40, deadline=None)


@quick
@hypothesis.given(logits_and_labels)
def test_norm_of_cross_entropy_is_one_minus_the_true_probability(data):
    logits, labels = data
    p = reference.softmax(logits.astype(np.float64))
    gradient = (p - np.eye(logits.shape[1])[labels]).astype(np.float32)
    expected = 1 - p[np.arange(len(labels)), labels]
    for norm in (
        density.softmax_gradient_norm(gradient),
        density.one_label_gradient_norm(gradient, tf.constant(labels)),
    ):
        np.testing.assert_allclose(norm, expected, atol=1e-6)


def test_norm_of_soft_labels_stays_within_one():
    # p and y on different corners: g = (1, -1, 0), norm (1 + 1) / 2 = 1, the largest there is.
    assert float(density.softmax_gradient_norm(tf.constant([[1.0, -1.0, 0.0]]))[0]) == 1.0


@quick
@hypothesis.given(
    hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(0, 1.5, width=32)),
    st.integers(1, 1000),
)
def test_bins_follow_their_definition(norms, bins):
    expected = np.minimum(np.floor(norms * np.float32(bins)), bins - 1)
    np.testing.assert_array_equal(density.bin_index(norms, bins), expected)


def test_a_norm_beyond_every_integer_falls_into_the_last_bin():
    assert density.bin_index(tf.constant([3e38]), 7).numpy().tolist() == [6]


@quick
@hypothesis.given(
    st.data(), st.integers(1, 5), st.integers(1, 6), st.integers(0, 20), st.booleans()
)
def test_counts_equal_numpy(data, num_rows, bins, samples, each_logit):
    draw = lambda low, high: data.draw(  # noqa: E731
        hnp.arrays(np.int32, samples, elements=st.integers(low, high))
    )
    num_rows *= 2  # Negatives and positives, where each logit is a sample.
    rows, indices, included = draw(0, num_rows - 1), draw(0, bins - 1), draw(0, 1)
    expected = np.zeros((num_rows, bins))
    np.add.at(expected, (rows, indices), included)
    counts = density.count_batch(
        rows, indices, included.astype(np.float32), num_rows, bins, each_logit
    )
    np.testing.assert_array_equal(counts.histogram, expected)
    np.testing.assert_array_equal(counts.rows, expected.sum(axis=1))
    by_bin = expected.reshape(2, -1, bins).sum(axis=1) if each_logit else expected.sum(axis=0)
    np.testing.assert_array_equal(counts.bins, by_bin)


@quick
@hypothesis.given(st.data(), st.integers(1, 6), st.floats(0, 2))
def test_sign_weights_have_the_mean_that_the_margin_leaves(data, bins, strength):
    draw = lambda low, high, shape: data.draw(  # noqa: E731
        hnp.arrays(np.float64, shape, elements=st.floats(low, high))
    )
    counts = np.round(draw(0, 50, (2, bins)))
    weights = draw(0.1, 10, bins)
    found = density_weights.sign_weights(
        tf.constant(weights, tf.float32), tf.constant(counts, tf.float32), strength
    ).numpy()
    for own, of_sign in zip(counts, found, strict=True):
        if not own.sum():
            np.testing.assert_allclose(of_sign, weights, rtol=1e-5)
            continue
        mean = (own * weights).sum() / own.sum()
        left = 1 - min(strength, 1)
        np.testing.assert_allclose((own * of_sign).sum() / own.sum(), mean**left, rtol=1e-4)
        # Within a sign all are scaled alike.
        np.testing.assert_allclose(of_sign / of_sign[0], weights / weights[0], rtol=1e-4)


def test_samples_of_no_class_are_in_no_count():
    counts = density.count_batch(
        tf.constant([-1, 0]), tf.constant([2, 2]), tf.constant([1.0, 1.0]), num_rows=2, bins=3
    )
    assert counts.histogram.numpy().tolist() == [[0, 0, 1], [0, 0, 0]]
    assert counts.rows.numpy().tolist() == [1, 0]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_moving_average_starts_as_the_plain_mean(momentum):
    values, average = [4.0, 1.0, 7.0, 0.0], 0.0
    for t, value in enumerate(values, start=1):
        average += float(density.update_rate(momentum, tf.constant(float(t)))) * (value - average)
    # By hand: momentum 0.99 is reached after 100 updates, so the average is 12 / 4 = 3. With 0.5
    # the second update is a mean, 2.5; then (2.5 + 7) / 2 = 4.75; then 4.75 / 2 = 2.375.
    assert average == pytest.approx({0.0: 0.0, 0.5: 2.375, 0.99: 3.0}[momentum])


@quick
@hypothesis.given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.integers(0, 500).map(float)),
    st.floats(0, 2),
    st.one_of(st.none(), st.floats(1, 20)),
)
def test_weights_have_mean_one_and_keep_their_order(counts, exponent, max_weight):
    hypothesis.assume(counts.sum() > 0)
    weights = density_weights.bin_weights(counts, counts, exponent, max_weight).numpy()
    occupied = counts > 0
    np.testing.assert_allclose((weights * counts).sum() / counts.sum(), 1, rtol=1e-4)
    order = np.argsort(counts[occupied], kind="stable")
    assert np.all(np.diff(weights[occupied][order]) <= 1e-5 * weights[occupied].max())
    if max_weight is not None:
        assert weights[occupied].max() / weights[occupied].min() <= max_weight**2 * (1 + 1e-5)


def test_weights_by_hand():
    # Bins of 16 and 4 samples, exponent 1/2: weights 1/4 and 1/2. Their mean over the 20 samples
    # is (16/4 + 4/2) / 20 = 0.3, hence 5/6 and 5/3. A cap of 1.25 makes them 5/6 and 1.25, with
    # mean (16 * 5/6 + 4 * 1.25) / 20 = 11/12, hence 10/11 and 15/11.
    counts = tf.constant([16.0, 0.0, 4.0])
    free = density_weights.bin_weights(counts, counts, 0.5, None)
    np.testing.assert_allclose(free, [5 / 6, 0, 5 / 3], rtol=1e-6)
    capped = density_weights.bin_weights(counts, counts, 0.5, 1.25)
    np.testing.assert_allclose(capped.numpy()[[0, 2]], [10 / 11, 15 / 11], rtol=1e-6)


@pytest.mark.parametrize("forgotten", [0.0, 1e-45, 1e-39, 1e-30])
def test_a_bin_that_has_long_been_empty_harms_no_weight(forgotten):
    density_of_bins = tf.constant([30.0, forgotten, 10.0])
    batch = tf.constant([3.0, 0.0, 1.0])
    weights = density_weights.bin_weights(density_of_bins, batch, 2.0, None).numpy()
    # 1/900 and 1/100, of mean (3/900 + 1/100) / 4 = 1/300: 1/3 and 3.
    np.testing.assert_allclose(weights[[0, 2]], [1 / 3, 3], rtol=1e-5)
