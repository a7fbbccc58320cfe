"""Label smoothing as a model learns: golden numbers, and what holds for every label and share."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import gb_keras
from gb_keras import label_smoothing
from tests import reference
from tests.gradients import differentiated

LOGITS = np.array([[3.0, -1.0, 0.5], [0.0, 2.0, -4.0]], np.float32)
PRIOR = np.array([0.7, 0.2, 0.1], np.float32)
PLAIN = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
SOFT = np.array([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0]], np.float32)


@pytest.mark.parametrize("mean_norm", [0.1, 0.5, 1.0])
def test_no_label_is_smoothed_while_there_is_much_to_learn(mean_norm):
    assert float(label_smoothing.smoothing(0.02, tf.constant(mean_norm))) == 0.0


@pytest.mark.parametrize("labels", [np.array([0, 2], np.int32), SOFT], ids=["integer", "soft"])
@given(share=st.floats(0.0, 1.0, exclude_max=True, width=32))
def test_the_gradient_is_that_of_cross_entropy_with_smoothed_labels(labels, share):
    one_hot = np.eye(3)[labels] if labels.ndim == 1 else labels
    q = reference.softmax(LOGITS.astype(np.float64))
    gradient = label_smoothing.smoothed_gradient(
        tf.constant(q - one_hot, tf.float32),
        tf.constant(labels),
        tf.constant(PRIOR),
        tf.constant(share),
    )
    smooth = (1 - share) * one_hot + share * PRIOR
    np.testing.assert_allclose(gradient, q - smooth, atol=1e-6)
    # No class gains but what others lose.
    np.testing.assert_allclose(tf.reduce_sum(gradient, axis=-1), 0.0, atol=1e-6)


def of_loss(loss, labels, logits, sample_weight=None):
    value, gradient = differentiated(loss)(labels, logits, sample_weight)
    return float(value), gradient.numpy()


def smoothing_alone(base):
    return gb_keras.GradientBalancedLoss(
        base,
        density_exponent=0,
        prior_strength=0,
        noise_exponent=0,
        label_smoothing=0.3,
        bins=1000,
    )


def test_a_sample_that_is_too_sure_is_pulled_back_and_the_value_is_of_the_label_as_given():
    logits = np.array([[9.0, 0.0, 0.0]], np.float32)
    value, gradient = of_loss(smoothing_alone(PLAIN), np.array([0]), logits)
    plain, _ = of_loss(PLAIN, np.array([0]), logits)
    assert value == pytest.approx(plain, rel=1e-5)
    q = reference.softmax(logits.astype(np.float64))
    np.testing.assert_allclose(gradient, q - [[0.8, 0.1, 0.1]], atol=1e-6)


@pytest.mark.parametrize("kind", ["ignored class", "weight 0"])
def test_samples_that_take_no_part_are_not_smoothed(kind):
    logits = np.array([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]], np.float32)
    ignored = -1 if kind == "ignored class" else None
    base = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=ignored, reduction="sum"
    )
    labels, weights = ([0, -1], None) if ignored else ([0, 1], [1.0, 0.0])
    _, gradient = of_loss(smoothing_alone(base), np.array(labels), logits, weights)
    assert gradient[0, 0] > 0.15
    np.testing.assert_array_equal(gradient[1], 0.0)


def test_a_class_that_is_masked_out_of_the_logits_leaves_the_loss_finite():
    logits = np.array([[9.0, 0.0, -np.inf]], np.float32)
    value, gradient = of_loss(smoothing_alone(PLAIN), np.array([0]), logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
