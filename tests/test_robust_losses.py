import keras
import numpy as np
import pytest

from gb_keras import GradientBalancedLoss, baselines
from tests.gradients import differentiated
from tests.reference import softmax

LABELS = np.array([0, 1, 3, 2, 0, 3])
LOGITS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32") * 3
LOSSES = {
    "label_smoothed": baselines.LabelSmoothedCrossentropy,
    "generalised": baselines.GeneralisedCrossentropy,
    "symmetric": baselines.SymmetricCrossentropy,
}


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_gradients_follow_the_papers(mode):
    """Each is a factor times `p - target`; its mean over 6 samples is the gradient."""
    probabilities = softmax(LOGITS)
    one_hot = np.eye(4)[LABELS]
    own = (probabilities * one_hot).sum(axis=1, keepdims=True)
    expected = {
        "label_smoothed": probabilities - (0.9 * one_hot + 0.025),
        "generalised": own**0.7 * (probabilities - one_hot),
        "symmetric": (0.1 + 1.0 * 4.0 * own) * (probabilities - one_hot),
    }
    for name, make in LOSSES.items():
        _, gradient = differentiated(make(), mode)(LABELS, LOGITS)
        np.testing.assert_allclose(gradient, expected[name] / 6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_and_a_hopeless_sample_are_finite(name):
    step = differentiated(LOSSES[name](), "graph")
    value, gradient = step(np.array([0, 0]), np.array([[200.0, 0.0], [0.0, 200.0]], "float32"))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_label_smoothing_is_that_of_keras_for_one_hot_labels():
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(
        baselines.LabelSmoothedCrossentropy()(LABELS, LOGITS),
        keras_loss(np.eye(4, dtype="float32")[LABELS], LOGITS),
        rtol=1e-5,
    )


def test_generalised_cross_entropy_is_that_of_keras_for_probabilities():
    keras_loss = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.7)
    np.testing.assert_allclose(
        baselines.GeneralisedCrossentropy()(LABELS, LOGITS),
        keras_loss(LABELS, keras.ops.softmax(LOGITS)),
        rtol=1e-5,
    )
    absolute = baselines.GeneralisedCrossentropy(q=1.0)([0], [[0.0, 0.0]])
    np.testing.assert_allclose(absolute, 0.5)


def test_generalised_and_reverse_cross_entropy_are_bounded():
    hopeless = [[0.0, 500.0]]
    np.testing.assert_allclose(baselines.GeneralisedCrossentropy()([0], hopeless), 1 / 0.7)
    np.testing.assert_allclose(baselines.SymmetricCrossentropy(alpha=0.0)([0], hopeless), 4.0)


def test_symmetric_cross_entropy_knows_the_authors_program_by_its_product():
    """They clip one-hot labels at 1e-4, so the logarithm of 0 is that of 1e-4."""
    probabilities = softmax(LOGITS)
    clipped = np.clip(np.eye(4)[LABELS], 1e-4, 1.0)
    cross_entropy = -np.log(probabilities[np.arange(6), LABELS])
    expected = 0.1 * cross_entropy - (probabilities * np.log(clipped)).sum(axis=1)
    loss = baselines.SymmetricCrossentropy(beta=np.log(1e4) / 4)
    np.testing.assert_allclose(loss(LABELS, LOGITS), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_balance_can_balance_them(name):
    base = LOSSES[name]()
    neutral = GradientBalancedLoss(
        base, density_exponent=0, prior_strength=0, noise_exponent=0, label_smoothing=0
    )
    np.testing.assert_allclose(neutral(LABELS, LOGITS), base(LABELS, LOGITS), rtol=1e-5)
