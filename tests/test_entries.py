"""Entries of many labels: the crowd taken as one gives what a look at each entry gives."""

import numpy as np
import pytest
import tensorflow as tf

import gb_keras
from gb_keras import entries

BINS, CLASSES = 5, 7
RNG = np.random.default_rng(4)
POSITIVE = RNG.random((3, 8, CLASSES)) < 0.3
NORM = (RNG.random(POSITIVE.shape) ** 3).astype("float32")
LOSSES = RNG.random(POSITIVE.shape).astype("float32")
LOSSES[0, 0, :3] = np.inf, np.nan, -np.inf
NORM[1, 2, :2] = np.nan
WEIGHTS = RNG.random((2, BINS)).astype("float32")


@pytest.mark.parametrize("active", [None, RNG.random(POSITIVE.shape) < 0.6], ids=["all", "some"])
@pytest.mark.parametrize("xla", [False, True])
def test_counts_and_weights_equal_numpy(active, xla):
    @tf.function(jit_compile=xla)
    def balance():
        labels = entries.count_labels(tf.constant(POSITIVE), active)
        found = entries.others(tf.constant(POSITIVE), tf.constant(NORM), LOSSES, active, BINS)
        counts = entries.count_entries(found, labels, BINS)
        return labels, counts, entries.entry_weights(found, tf.constant(WEIGHTS), NORM)

    labels, counts, weights = balance()
    taking_part = np.ones(POSITIVE.shape, bool) if active is None else active
    finite = np.isfinite(NORM) & np.isfinite(LOSSES)
    of_bins = np.minimum(np.where(finite, NORM, 0) * BINS, BINS - 1).astype(int)
    histogram = np.zeros((2, CLASSES, BINS))
    classes = np.broadcast_to(np.arange(CLASSES), POSITIVE.shape)
    valid = taking_part & finite
    np.add.at(histogram, (POSITIVE[valid].astype(int), classes[valid], of_bins[valid]), 1)
    assert histogram[0, :, 0].all(), "a test without a crowd proves nothing"
    by_sign = [(taking_part & (sign == POSITIVE)).sum(axis=(0, 1)) for sign in (0, 1)]
    np.testing.assert_array_equal(labels, by_sign)
    np.testing.assert_array_equal(counts.histogram, histogram.reshape(2 * CLASSES, BINS))
    np.testing.assert_array_equal(counts.rows, histogram.sum(axis=2).ravel())
    np.testing.assert_array_equal(counts.bins, histogram.sum(axis=1))
    expected = np.where(finite, WEIGHTS[POSITIVE.astype(int), of_bins], 1)
    np.testing.assert_array_equal(weights.numpy()[taking_part], expected[taking_part])


@pytest.mark.parametrize("doubt", [0.0, 0.39, 0.9])
def test_doubted_log_odds_are_those_of_the_mean_label(doubt):
    prior = np.array([1e-3, 0.2, 0.5, 0.9], "float32")
    of_negatives, of_positives = (
        entries.doubted_labels(tf.fill([4], label), tf.constant(prior), doubt).numpy()
        for label in (0.0, 1.0)
    )
    mean = prior * of_positives + (1 - prior) * of_negatives
    log_odds = tf.math.log(prior / (1 - prior))
    found = entries.doubted_log_odds(log_odds, doubt)
    np.testing.assert_allclose(found, np.log(mean / (1 - mean)), rtol=1e-4, atol=1e-5)


def test_a_class_that_every_image_has_keeps_a_finite_margin():
    loss = gb_keras.GradientBalancedLoss("binary_crossentropy")
    millions = tf.constant([[0.0, 1e8], [1e8, 0.0]])
    always, never = loss.class_margin(millions).numpy()
    # By hand: log(1e8 / 0.5), and with d = 0.39 what is left to 1 is 1 - 3/4 d of it.
    assert always == pytest.approx(np.log(2e8) - np.log1p(-0.75 * (1 - np.exp(-0.5))), rel=1e-5)
    assert never == pytest.approx(-np.log(2e8) + np.log1p(0.75 * (1 - np.exp(-0.5))), rel=1e-5)


@pytest.mark.parametrize("size", [1, 10, 60])
def test_base_loss_is_that_of_the_bare_logits_and_labels(size):
    logits = tf.linspace([-float(size)] * 3, [float(size)] * 3, 41)
    margin = tf.constant([-8.0, 0.0, 3.0])
    for label, target in ((0.0, 0.0), (0.3, 0.3), (1.0, 1.0), (0.0, 0.04), (1.0, 0.64)):
        labels, targets = tf.fill(logits.shape, label), tf.fill(logits.shape, target)
        expected = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        for m in (margin, None):
            shifted = logits if m is None else logits + m
            loss = tf.nn.sigmoid_cross_entropy_with_logits(targets, shifted)
            found = entries.base_loss(loss, targets, shifted, labels, logits, m)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
