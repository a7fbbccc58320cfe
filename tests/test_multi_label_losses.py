"""Losses to compare with in multi-label training, and what each method makes of the data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gb_keras import multi_label_losses
from gb_keras.losses import GradientBalancedLoss
from gb_keras.stages import multi_label_methods


def test_asymmetric_loss_is_that_of_the_paper():
    loss = multi_label_losses.AsymmetricLoss(2.0, 3.0, 0.1, reduction=None)
    # Logits of the probabilities 0.2, 0.8, 0.8, 0.05.
    logits = np.log([[0.25, 4.0, 4.0, 1 / 19]]).astype("float32")
    labels = np.array([[1, 1, 0, 0]])
    found = loss(labels, logits)
    # 0.8^2 * -log 0.2, 0.2^2 * -log 0.8, 0.7^3 * -log(1 - 0.7), below the margin.
    assert found.numpy()[0] == pytest.approx([1.03004, 0.00893, 0.41297, 0.0], abs=1e-5)
    again = multi_label_losses.AsymmetricLoss.from_config(loss.get_config())
    np.testing.assert_array_equal(again(labels, logits), found)
    with pytest.raises(ValueError, match="margin=1"):
        multi_label_losses.AsymmetricLoss(margin=1)


@pytest.mark.parametrize("name", multi_label_methods.names())
def test_peers_have_finite_losses_and_slopes_far_out(name):
    method = multi_label_methods.method(name, np.array([[90, 60], [10, 40]]))
    logits = tf.constant([[200.0, -200.0], [-200.0, 200.0], [0.0, 30.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = method.loss(tf.constant([[1.0, 0.0]] * 3), logits)
    assert np.isfinite(float(value))
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


def test_positives_weigh_as_all_negatives_of_their_class():
    method = multi_label_methods.method("class_balanced", np.array([[90, 60], [10, 40]]))
    assert method.loss.positive_weights == [9.0, 1.5]


def distribution_balanced(labels, logits, counts, number, mu=0.2, scale=2.0, kappa=0.05, gamma=2.0):
    """The formula, entry by entry."""
    found = np.zeros(labels.shape)
    for i, row in enumerate(labels):
        for c, label in enumerate(row):
            repeated = sum(1 / counts[k] for k in range(len(row)) if row[k])
            share = (1 / counts[c]) / repeated if repeated else np.inf
            weight = 0.1 + 1 / (1 + np.exp(-10 * (share - mu)))
            z = logits[i, c] - kappa * np.log(number / counts[c] - 1) / scale
            if label:
                p = 1 / (1 + np.exp(-z))
                found[i, c] = 2 * weight * (1 - p) ** gamma * -np.log(p)
            else:
                q = 1 / (1 + np.exp(-scale * z))
                found[i, c] = 2 * weight / scale * q**gamma * -np.log(1 - q)
    return found


@pytest.mark.parametrize("options", [{}, {"mu": 0.4, "scale": 5.0, "kappa": 0.2, "gamma": 0.0}])
def test_distribution_balanced_loss_is_that_of_the_paper(options):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (8, 5)).astype("float32")
    labels[0] = 0
    logits = generator.normal(size=(8, 5)).astype("float32")
    counts = [60, 20, 9, 3, 1]
    loss = multi_label_losses.DistributionBalancedLoss(counts, 90, reduction=None, **options)
    expected = distribution_balanced(labels, logits, counts, 90, **options)
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=2e-5)
    again = multi_label_losses.DistributionBalancedLoss.from_config(loss.get_config())
    np.testing.assert_array_equal(again(labels, logits), loss(labels, logits))


def test_distribution_balanced_loss_refuses_classes_that_all_images_show():
    with pytest.raises(ValueError, match="each less than num_images"):
        multi_label_losses.DistributionBalancedLoss([5, 9], 9)


@pytest.mark.parametrize("name", multi_label_methods.names())
def test_what_is_unknown_has_no_part_in_the_loss(name):
    method = multi_label_methods.method(name, np.array([[90, 60], [10, 40]]))
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, (6, 2)).astype("float32")
    logits = tf.constant(generator.normal(size=(6, 2)), tf.float32)
    known = tf.constant([[1.0, 0.0]] * 5 + [[0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = method.loss(labels, logits, sample_weight=known)
    gradient = tape.gradient(value, logits).numpy()
    assert ((gradient != 0) <= (known.numpy() > 0)).all()
    assert (gradient != 0).any()
    # A mean over the six known entries, however many are unknown: with twice as many unknown
    # ones the same.
    padded = [tf.concat([x, x], 0) for x in (tf.constant(labels), logits)]
    weights = tf.concat([known, tf.zeros_like(known)], 0)
    if name != "distribution_balanced":
        np.testing.assert_allclose(
            method.loss(padded[0], padded[1], sample_weight=weights), value, rtol=1e-5
        )


@pytest.mark.parametrize(
    "loss",
    [
        multi_label_losses.BinaryCrossentropy(from_logits=True),
        multi_label_losses.AsymmetricLoss(),
        multi_label_losses.PositiveWeightedCrossentropy([2.0, 0.5, 1.0]),
        multi_label_losses.DistributionBalancedLoss([5, 3, 1], 9),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_loss_for_each_logit_can_be_balanced(loss):
    """With everything off, the balanced loss is the loss itself, value and gradient."""
    plain = GradientBalancedLoss(
        loss, density_exponent=0.0, prior_strength=0.0, noise_exponent=0.0, label_smoothing=0.0
    )
    labels = tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    logits = tf.constant([[0.5, -1.0, 2.0], [1.0, 0.1, -0.3]])
    values, gradients = [], []
    for each in (loss, plain):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = each(labels, logits)
        values.append(float(value))
        gradients.append(tape.gradient(value, logits).numpy())
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    np.testing.assert_allclose(*gradients, rtol=1e-5)
    balanced = GradientBalancedLoss(loss)
    assert balanced.base.multi_label
    assert np.isfinite(float(balanced(labels, logits)))
    again = keras.losses.deserialize(keras.losses.serialize(balanced))
    assert float(again(labels, logits)) == pytest.approx(float(balanced(labels, logits)))


def test_keras_and_the_entry_loss_agree():
    labels = tf.constant([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    logits = tf.constant([[0.5, -1.0, 2.0], [1.0, 0.1, -0.3]])
    entry = multi_label_losses.BinaryCrossentropy(from_logits=True)
    keras_one = keras.losses.BinaryCrossentropy(from_logits=True)
    assert float(entry(labels, logits)) == pytest.approx(float(keras_one(labels, logits)))


@pytest.mark.parametrize(("wrong", "share"), [(8.0, 1.0), (4.0, 0.25), (0.0, 0.0)])
def test_density_raises_no_negatives_that_are_suspected(wrong, share):
    # The model is sure of most positives: a crowd, so that density weighs, unless it is suspect.
    running = tf.constant([[90.0, 2.0, 4.0, 4.0], [30.0, 0.0, wrong / 2, wrong / 2]])
    weights = GradientBalancedLoss("binary_crossentropy", bins=4, max_weight=None)
    found = weights.bin_weights(running, running).numpy()[0]
    total = running.numpy().sum(axis=0)
    expected = total ** (-0.5 * share)
    negatives = running.numpy()[0]
    expected *= negatives.sum() / (expected * negatives).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
