"""Margins against hand-made numbers and a second softmax."""

import hypothesis
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gb_keras import margins
from tests import reference
from tests.strategies import logits_and_labels


def test_margin_is_the_log_prior():
    counts = np.array([90.0, 9.0, 0.0], dtype=np.float32)
    expected = np.log((counts + 0.5) / (counts + 0.5).sum())
    np.testing.assert_allclose(margins.class_margin(counts, 1.0), expected, rtol=1e-6)
    np.testing.assert_allclose(margins.class_margin(counts, 0.5), expected / 2, rtol=1e-6)


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
