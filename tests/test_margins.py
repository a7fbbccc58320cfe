"""Margins against hand-made numbers and a second softmax."""

import hypothesis
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gb_keras import class_balance, margins
from tests import reference
from tests.strategies import logits_and_labels


def test_margin_is_the_log_prior():
    counts = np.array([90.0, 9.0, 0.0], dtype=np.float32)
    expected = np.log((counts + 0.5) / (counts + 0.5).sum())
    np.testing.assert_allclose(margins.class_margin(counts, 1.0), expected, rtol=1e-6)
    np.testing.assert_allclose(margins.class_margin(counts, 0.5), expected / 2, rtol=1e-6)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 9999), st.floats(0, 1)), min_size=2, max_size=8),
    st.floats(0.1, 3),
)
def test_weights_and_the_margin_that_they_leave_favour_no_class(classes, strength):
    counts, exponents = (np.array(column, np.float32) for column in zip(*classes, strict=True))
    margin = margins.shared_margin(counts, strength, exponents).numpy()
    full = margins.class_margin(counts, strength).numpy()
    weights = class_balance.class_weights(margin, full).numpy()
    prior = (counts + 0.5) / (counts + 0.5).sum()
    np.testing.assert_allclose((weights * prior).sum(), 1, rtol=1e-4)
    expected = prior ** (-min(strength, 1) * exponents)
    np.testing.assert_allclose(weights / weights[0], expected / expected[0], rtol=2e-3)
    # Of a network that has learned nothing else each class's logit is what its samples ask for.
    np.testing.assert_allclose(margin, np.log(weights) + full, atol=1e-4)
    assert (margin <= 1e-6).all()


def test_nothing_to_share_leaves_the_margin_whole():
    counts = np.array([90.0, 9.0, 0.0], np.float32)
    for strength in (0.5, 1.0, 2.0):
        margin = margins.shared_margin(counts, strength, np.zeros(3, np.float32))
        np.testing.assert_allclose(margin, margins.class_margin(counts, strength), rtol=1e-5)


def test_multi_label_margin_is_the_log_odds():
    counts = np.array([[95.5, 0.0], [0.5, 0.0]], dtype=np.float32)
    # (0.5 + 0.5) / (95.5 + 0.5) = 1 / 96; a class never labelled has odds 1.
    np.testing.assert_allclose(margins.class_log_odds(counts), [-np.log(96), 0], rtol=1e-6)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(logits_and_labels, st.data(), st.floats(0, 2))
def test_loss_without_margin_equals_a_second_softmax(data, draw, strength):
    logits, labels = data
    classes = logits.shape[1]
    counts = draw.draw(hnp.arrays(np.float32, classes, elements=st.integers(0, 999).map(float)))
    margin = margins.class_margin(counts, strength)
    q = reference.softmax(logits.astype(np.float64) + margin.numpy())
    one_hot = np.eye(classes)[labels]
    with_margin = -np.log(np.maximum((q * one_hot).sum(axis=1), 1e-300)).astype(np.float32)
    p = reference.softmax(logits.astype(np.float64))
    expected = -np.log((p * one_hot).sum(axis=1))
    actual = margins.loss_without_margin(
        with_margin, (q - one_hot).astype(np.float32), margin, tf.constant(labels)
    )
    prior = np.exp(margin.numpy())[labels]
    np.testing.assert_array_less(np.abs(actual - expected), 1e-5 + 1e-6 / prior)
